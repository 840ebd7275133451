"""``python -m reproduce.runner``: what run_all.sh calls."""

import sys

from reproduce.runner.main import main

sys.exit(main())
