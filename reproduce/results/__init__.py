"""Reading what was produced: our runs, the paper's numbers, public runs and curves, benchmark files. Needs no torch."""
