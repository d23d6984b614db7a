"""Do engines send anything, or leave files of their own, when a model is made ready?"""

import os
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = """
import sys, urllib.request
from pathlib import Path

def sent(request, *_, **__):
    print("sent to", request.full_url)
    raise OSError

urllib.request.urlopen = sent
import torch
from builders.classifiers import make_classifier
from builders.models import Net, noise

batches = (noise(4),)
for engine in ("onnxruntime", "openvino"):
    options = {"engine": engine, "batch_size": 4, "crop": 48, "num_threads": 1}
    make_classifier(Net().eval(), **options, cache=Path(sys.argv[1]))
print("done")
"""


def test_nothing_is_sent_and_nothing_is_left(tmp_path: Path) -> None:
    for package in ("onnxruntime", "onnxscript", "openvino"):
        pytest.importorskip(package)
    home, made = tmp_path / "home", tmp_path / "made"
    home.mkdir()
    ran = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(made)],
        env={
            **os.environ,
            "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
            "HOME": str(home),
            "XDG_CACHE_HOME": str(home / "cache"),
            "TORCHINDUCTOR_CACHE_DIR": str(tmp_path / "torch"),
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.stdout == "done\n", ran.stderr
    assert ran.returncode == 0
    assert [*made.glob("*.onnx")]
    assert [path for path in home.rglob("*") if path.is_file()] == []
