"""Sources: where specs come from: a git ref or a plain directory. Each yields revisions, the files that changed and their text."""
