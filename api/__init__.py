"""Api: who sees it: HTTP. Imports specs, state and engines; of state it reads, and appends to streams and requests, nothing else."""
