"""``python -m toolkit``."""

import sys

from toolkit.experiments.cli import main

if __name__ == "__main__":
    sys.exit(main())
