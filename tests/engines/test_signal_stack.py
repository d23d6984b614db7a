"""Engines leave the stack alone on which Python handles signals."""

import faulthandler
from pathlib import Path

import pytest
import torch
from builders.classifiers import make_classifier

from fastbench.core import signal_stack


def place() -> int:
    return signal_stack.current().ss_sp or 0


def test_two_of_openvino_do_not_change_it(tmp_path: Path) -> None:
    """OpenVINO's plugin sets one of its own, which is gone when the other of two is closed."""
    pytest.importorskip("openvino")
    if not faulthandler.is_enabled():
        faulthandler.enable()
    before = place()
    assert before
    net = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.Flatten(), torch.nn.Linear(144, 5))
    how = {"engine": "openvino", "batch_size": 2, "crop": 8, "num_threads": 1, "cache": tmp_path}
    first, second = (make_classifier(net.eval(), **how) for _ in range(2))
    for classifier in (first, second):
        assert place() == before
        classifier(torch.zeros(2, 3, 8, 8))
        assert place() == before
    first.close()
    del first, classifier
    assert place() == before
    second.close()
    del second
    assert place() == before
