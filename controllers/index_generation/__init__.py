"""IndexGeneration: a recipe is built over the index's present corpus. `plan` decides (pure), `controller` acts."""
