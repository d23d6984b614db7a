"""The program: `fastbench`, and `python -m fastbench`."""

import os
import signal
import sys

INTERRUPTS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

# `python -m` puts the current folder first, where a file may be named as a library is.
_ROOT = os.path.dirname(os.path.dirname(__file__))
if __name__ == "__main__" and not sys.flags.safe_path and sys.path[0] != _ROOT:
    del sys.path[0]


def main() -> int:
    """Run the command line; return its exit code. SIGTERM and SIGHUP are as Ctrl-C."""
    if signal.getsignal(signal.SIGINT) == signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)  # Ctrl-C while importing needs no traceback
    from fastbench.cli.main import main as run

    for number in INTERRUPTS:
        if signal.getsignal(number) == signal.SIG_DFL:  # nohup and shells have some ignored
            signal.signal(number, signal.default_int_handler)
    code = run()
    for number in INTERRUPTS:
        signal.signal(number, signal.SIG_IGN)  # the exit code is decided
    return code


if __name__ == "__main__":
    sys.exit(main())
