"""The engine: trains a config and emits events. Knows devices and the recipe; never the paper's results."""
