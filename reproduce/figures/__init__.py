"""Drawing: the style, series with their kinds, and the parts that figure scripts share. Needs no torch."""

import os

# Before matplotlib is imported: it fails on a back-end that is not installed here, such as a notebook's own.
os.environ["MPLBACKEND"] = "Agg"
