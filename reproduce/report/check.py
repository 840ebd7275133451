"""``python -m reproduce.report.check FOLDER``: do runs still give the stored curves?"""

import sys

from reproduce.judge.check import main

if __name__ == "__main__":
    sys.exit(main())
