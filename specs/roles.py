"""The one role that no spec gives."""

OPERATOR = "operator"
"""Of whoever holds the machine: given by a token, and by nothing that is committed."""
