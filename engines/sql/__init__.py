"""SQL over table snapshots, in worker processes that may be killed. Imports specs, state and engines; owns DataFusion."""
