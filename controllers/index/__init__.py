"""Index: texts of a dataset become a corpus of vectors, and one build over it answers. `plan` decides (pure), `controller` acts."""
