"""lakectl: the command line. Starts fast: a command's module, and what it needs, is imported when the command is called."""
