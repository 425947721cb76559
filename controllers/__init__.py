"""Controllers: how one kind gets there: observe (reads), plan (pure), act (writes). Imports specs, state and engines."""
