"""Jobs: CPU-heavy steps in spawned, niced worker processes, their progress, results and past durations. Imports specs and state."""
