"""The report page of a tier, one HTML file. Needs no torch."""
