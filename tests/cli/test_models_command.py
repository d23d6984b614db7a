"""`fastbench models`: a table of plain text, whose first word in a line is a name."""

import pytest

from fastbench.cli.main import main
from fastbench.cli.models import render
from fastbench.models.catalogue import Named, is_pattern

pytestmark = pytest.mark.usefixtures("server")


def test_what_torchvision_states(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["models", "resnet[15]*"]) == 0
    shown = capsys.readouterr()
    lines = shown.out.splitlines()
    assert all(len(line) <= 80 for line in lines)
    head, *rows = [line.split() for line in lines]
    assert head == ["model", "params", "M", "GMACs", "pixels", "top-1", "%", "top-5", "%"]
    assert [row[0] for row in rows] == ["resnet101", "resnet152", "resnet18", "resnet50"]
    assert rows[2] == ["resnet18", "11.7", "1.81", "224", "69.76", "89.08"]
    assert "Also: timm:NAME" in shown.err


def test_the_sample_model_and_all_others(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["models"]) == 0
    rows = {line.split()[0]: line.split() for line in capsys.readouterr().out.splitlines()}
    assert {"sample", "vit_b_16", "swin_t"} <= {*rows}
    _, params, macs, pixels, *published = rows["sample"]
    assert float(params) > 0
    assert float(macs) > 0
    assert int(pixels) > 0
    assert published == ["–", "–"]


def test_an_unknown_pattern(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["models", "resnext999*"]) == 2
    assert "fastbench: No model has a name like 'resnext999*'" in capsys.readouterr().err


def test_a_long_name_is_never_cut() -> None:
    name = "timm:" + "x" * 90
    _, line = render([Named(name=name, input_size=224)]).splitlines()
    assert line.split() == [name, "224"]  # the rest is not known of any
    assert not is_pattern(name)
