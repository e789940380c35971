"""``python -m certssb`` is the command line."""

import sys

from certssb.cli import main

if __name__ == "__main__":
    sys.exit(main())
