"""Whether NVIDIA DALI is installed, and what installs it, found without importing it."""

from __future__ import annotations

import importlib.util
import os
import platform
import sys
from typing import Final

_PACKAGES: Final = ("nvidia-dali-cuda120", "nvidia-dali-cuda130")
_EMPTY: Final = "0.0.0"
"""The version that the extra `cuda130` puts in the other package's place: it has no files."""
_MACHINES: Final = ("x86_64", "aarch64")


def is_installed() -> bool:
    """Whether there is something to import, which may still fail."""
    # To look for nvidia.dali itself would import nvidia. A folder alone is what is left of a
    # package that was uninstalled.
    parent = importlib.util.find_spec("nvidia")
    paths = (parent and parent.submodule_search_locations) or ()
    return any(os.path.isfile(os.path.join(path, "dali", "__init__.py")) for path in paths)


def how_to_install() -> str:
    """A line for the shell, or why there is none."""
    if sys.platform != "linux" or platform.machine() not in _MACHINES:
        return f"DALI has no package for {platform.system()} on {platform.machine()}"
    for_cuda12, for_cuda13 = _PACKAGES
    is_empty = _version(for_cuda12) == _EMPTY
    return f"pip install {for_cuda13 if is_empty else for_cuda12}"


def _version(package: str) -> str | None:
    import importlib.metadata

    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None
