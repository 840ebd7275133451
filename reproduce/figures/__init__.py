"""Drawing: the style, series with their kinds, and the parts that figure scripts share. Needs no torch."""
