"""EvalSet: queries get exact answers in an index's corpus, and builds are measured by them. `plan` decides (pure), `controller` acts."""
