"""Benchmarks and trials that start many processes: `python -m reproduce.bench NAME`."""
