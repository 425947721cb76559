"""Two versions: of the release, as `lakectl version` says it, and of what parsing makes of a file, for caches."""

VERSION = "0.1.0"

PARSER_VERSION = f"{VERSION}-19"
"""Names the code that parses: raised when a record, a digest or what a document may say changes, so that caches are left behind."""
