"""The surfaces: every module here with a function ``scenes()`` is one. What they share is in `stock`."""
