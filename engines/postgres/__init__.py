"""PostgreSQL as a source: its tables and queries read over COPY into the same pipeline as files. Imports specs, state, and files."""
