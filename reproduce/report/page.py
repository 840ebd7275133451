"""``python -m reproduce.report.page``: writes the report page of a tier."""

import sys

from reproduce.page.build import main

if __name__ == "__main__":
    sys.exit(main())
