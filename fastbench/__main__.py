"""`python -m fastbench`."""

import sys

from fastbench.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
