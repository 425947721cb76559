"""One module a command: what it says of itself, its options, and what it does. Named in `reconciler.lakectl.table`."""
