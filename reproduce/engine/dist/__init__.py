"""Processes: where each one is, how they start, talk, sum their gradients, and notice that one is gone."""
