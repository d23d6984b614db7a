"""What the server of `child_process.py` imports for the rows, so that they need not.

That is torch, and what a row needs whatever is measured. It takes seconds, does not initialise
CUDA, and starts no threads but OpenBLAS's, which that library ends before a fork. A failure is
kept: a second import of torch would not say the reason.
"""

import importlib

from fastbench.core.child_process import import_failures

try:
    for name in ("torch", "torchvision", "fastbench.runner.measure_row"):
        importlib.import_module(name)
except Exception as error:  # noqa: BLE001 - each child raises it
    import_failures.append(error)
