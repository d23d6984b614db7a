"""Imports torch and torchvision in the server that children are forked from, or ends the server.

A second attempt, by a child, to import what could not be imported would hide the reason. So
`child_process.py` starts a server without them, and the child's own import says what is wrong.
"""

import os

try:
    import torch  # noqa: F401
    import torchvision  # noqa: F401
except ImportError:
    os._exit(1)
