"""Bucket: a place for objects is opened, tried, and remembered. `plan` decides (pure), `controller` reads and writes."""
