"""`python -m fastbench`."""

import os
import sys

# `python -m` puts the current folder first, where a file may be named as a library is.
if not sys.flags.safe_path and sys.path[0] != os.path.dirname(os.path.dirname(__file__)):
    del sys.path[0]

if __name__ == "__main__":
    from fastbench.cli.main import main

    sys.exit(main())
