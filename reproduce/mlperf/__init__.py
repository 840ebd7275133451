"""Public MLPerf Training results of ResNet-50: any log of rounds v0.5 to v4.0, and the table of all of them.

formats.py reads the lines, summary.py says what a log means, table.py holds the 1,834 public runs, draw.py draws both.
Everything but draw.py is standard library only.
"""
