"""``python -m reproduce.config FILE`` prints a recipe with the source of every value; `load` is how to read one."""

import sys

from reproduce.recipe.load import load, main

__all__ = ["load", "main"]

if __name__ == "__main__":
    sys.exit(main())
