"""``python -m reproduce.report.page``: writes the report page of a tier."""

import sys

from reproduce.artefacts import ARTEFACTS
from reproduce.page import build


def main(argv=None) -> int:
    return build.main(argv, ARTEFACTS)


if __name__ == "__main__":
    sys.exit(main())
