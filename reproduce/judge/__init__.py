"""Comparing: bands of stored curves, the comparator, rows of the paper, claims and their verdicts. Needs no torch."""
