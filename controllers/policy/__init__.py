"""Policy: what it governs, checked against the columns that are there."""
