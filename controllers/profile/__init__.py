"""Profile: what a reader binds is there, at the moment that it reads, and warm. `plan` decides (pure), `controller` looks and asks."""
