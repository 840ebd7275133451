"""``python -m reproduce.report.page``: writes the report page of a tier."""

import sys

from reproduce.artefacts import ARTEFACTS, script
from reproduce.page import build

SECTIONS = {one.name: made for one in ARTEFACTS if (made := getattr(script(one.name), "section", None))}


def main(argv=None) -> int:
    return build.main(argv, ARTEFACTS, SECTIONS)


if __name__ == "__main__":
    sys.exit(main())
