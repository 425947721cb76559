"""State: where it is kept. Everything that outlives the process, all of it on object storage. Imports specs."""
