"""Packages of engines send nothing of what is run with them.

ONNX Runtime and OpenVINO's converter do, as they are set up by themselves: the latter some dozen
requests a model, to Google Analytics, of processes and threads that take time from the cores. They
also leave files in the user's home and cache.
"""

from __future__ import annotations

import os
import sys


def send_nothing() -> None:
    """Switch that off, before one of them is imported; what the user has set stays."""
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
    # OpenVINO and NNCF have no switch, and do without the package.
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
