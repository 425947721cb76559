"""What a column's values are about: personal, medical, financial or secret data, found by names, patterns, check digits and context.

It sees a sample of a column's distinct values and never a table; who may read what is decided elsewhere. Next: `finding.py`, `entities.py`.
"""
