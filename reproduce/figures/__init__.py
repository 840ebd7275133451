"""Drawing: the style, series with their kinds, and the parts that figure scripts share. Needs no torch."""

from reproduce import environ

environ.ignore_matplotlib_settings()  # before it is imported
