"""What policies say once they are read: which rows and values of a Dataset a role may see. Pure; `engines/reading.py` asks."""
