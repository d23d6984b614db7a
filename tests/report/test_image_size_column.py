"""Rows of one model at several image sizes are told apart; each model's own size goes unsaid."""

from typing import Any

import pytest
from builders.runs import run
from builders.sheets import sheet_of

from fastbench.records.differences import split_unlike
from fastbench.records.naming import names, varying
from fastbench.records.record import Record
from fastbench.report.columns.registry import find
from fastbench.report.formats.accuracy_text import summary
from fastbench.report.formats.terminal import render
from fastbench.report.html.content import describe
from fastbench.report.plots.caption import caption_of
from fastbench.report.sheet.sheet import Sheet


def at(size: int, rate: float = 100, **changes: Any) -> Record:
    """A row at a size, as `--image-size` gives it."""
    config = {"image_size": size, **changes.pop("config", {})}
    return own(size, rate, config=config, **changes)


def own(size: int, rate: float = 100, **changes: Any) -> Record:
    """A row at the model's own size."""
    preprocess = {"resize": size * 256 // 224, "crop": size, "interpolation": "bilinear"}
    return run(rate, **{"preprocess": preprocess, **changes})


def columns(sheet: Sheet) -> list[str]:
    return [column.name for column in sheet.columns if column.is_label]


SWEEP = [at(160, 200), at(224, 100)]
MODELS = [own(224, model="a"), own(299, model="b")]
BOTH = [at(size, model=model) for model in ("a", "b") for size in (160, 224)]


def test_names() -> None:
    assert names(SWEEP) == [["160 px"], ["224 px"]]
    assert varying(SWEEP) == ["image-size"]
    assert names(MODELS) == [["a"], ["b"]]
    assert names(BOTH) == [["a", "160 px"], ["a", "224 px"], ["b", "160 px"], ["b", "224 px"]]
    # A row at the model's own size beside one at another.
    assert names([own(224), at(160)]) == [["224 px"], ["160 px"]]


def test_columns() -> None:
    sheet = sheet_of(*SWEEP)
    assert columns(sheet) == ["image-size"]
    assert [line.cells[0].text for line in sheet.lines] == ["160", "224"]
    assert sheet.footnotes == []  # the resize follows from it
    assert columns(sheet_of(*MODELS)) == ["model"]
    assert columns(sheet_of(*BOTH)) == ["model", "image-size"]
    # Though the batch tells them apart already.
    assert columns(sheet_of(at(160, batch_size=8), at(224))) == ["batch", "image-size"]


@pytest.mark.parametrize("width", [80, 120])
def test_a_table(width: int) -> None:
    lines = [line.plain for line in render(sheet_of(*BOTH), width)]
    assert max(map(len, lines)) <= width
    rows = [line.split()[:3] for line in lines if line.lstrip().startswith(("a ", "b "))]
    assert [(model, size) for model, size, _ in rows] == [
        ("a", "160"), ("a", "224"), ("b", "160"), ("b", "224"),
    ]  # fmt: skip


def test_what_all_rows_have_is_above_if_it_was_asked_for() -> None:
    assert "160 px" in sheet_of(at(160), at(160, loader="other")).common[0]
    assert "px" not in sheet_of(own(224), own(224, loader="other")).common[0]
    assert "px" not in sheet_of(*SWEEP).common[0]


def test_groups_and_ratios() -> None:
    rows = [at(size, rate, loader=x) for size in (160, 224) for x, rate in (("a", 100), ("b", 50))]
    by_loader = sheet_of(*rows, across=find("loader"))
    assert [group.heading for group in by_loader.groups] == ["160 px", "224 px"]
    by_size = sheet_of(*SWEEP, across=find("image-size"), baseline="224")
    assert [line.row.ratio for line in by_size.lines] == [
        pytest.approx(1.0), pytest.approx(2.0),
    ]  # fmt: skip
    # No ratio between sizes unless that is what is asked for.
    mixed = sheet_of(at(160, loader="a"), at(224, loader="b"), across=find("loader"))
    assert all(line.row.ratio is None for line in mixed.lines)
    rows = [own(x, model=m, loader=y) for x, m in ((224, "a"), (299, "b")) for y in "cd"]
    models = sheet_of(*rows, across=find("loader"))
    assert [group.heading for group in models.groups] == ["a", "b"]


def test_the_page() -> None:
    assert "image-size" in describe(sheet_of(*SWEEP))["facets"]
    assert "image-size" in describe(sheet_of(*SWEEP))["shown"]
    assert "image-size" not in describe(sheet_of(*MODELS))["facets"]
    assert "image-size" not in describe(sheet_of(*MODELS))["shown"]


def test_the_accuracy_study() -> None:
    (line,) = (x for x in summary([at(160)]).splitlines() if x.startswith("conditions"))
    assert line.endswith(", 160 px")
    (line,) = (x for x in summary([own(224)]).splitlines() if x.startswith("conditions"))
    assert "px" not in line
    config = {"crop_pct": 1.0, "preprocess": ["mean=0.5"]}
    text = " ".join(summary([own(224, config=config)]).split())
    assert ", crop-pct 1, preprocess mean=0.5 loader" in text


def test_below_a_plot() -> None:
    (line,) = caption_of(MODELS).paragraphs
    assert line.endswith("each model's own resize and crop")
    for records in (SWEEP, [at(224), at(224, config={"crop_pct": 1.0})]):
        paragraphs = caption_of(records).paragraphs
        assert not any("own resize" in text for text in paragraphs)


def test_crop_pct_says_the_resize() -> None:
    rows = [
        own(224, config={"crop_pct": pct}, preprocess={"resize": resize, "crop": 224})
        for pct, resize in ((0.875, 256), (1.0, 224))
    ]
    assert names(rows) == [["crop-pct 0.875"], ["crop-pct 1"]]
    sheet = sheet_of(*rows)
    assert columns(sheet) == ["loader", "crop-pct"]
    assert sheet.footnotes == []


def test_other_sizes_are_unlike() -> None:
    unlike, unknown = split_unlike(*SWEEP)
    assert [(x.name, x.a, x.b) for x in unlike] == [
        ("image size", 160, 224), ("preprocess: resize", 182, 256),
    ]  # fmt: skip
    assert unknown == []
