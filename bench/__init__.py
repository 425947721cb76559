"""Bench: how fast, measured. Each module runs by `python -m bench.NAME` and writes `bench/results/NAME.json`. May import every room."""
