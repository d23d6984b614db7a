"""What plots are made of: the front, the rows' names, and where labels go. Nothing is drawn."""

import itertools
from typing import Any

import pytest
from builders.plot_rows import failing, invalid, real, row, throughput
from matplotlib.transforms import Bbox

from fastbench.records.gates import failures_of
from fastbench.records.naming import names, varying
from fastbench.records.record import Record
from fastbench.records.validity import find_contradictions
from fastbench.report.plots import style
from fastbench.report.plots.caption import caption_of
from fastbench.report.plots.label_placement import place_labels
from fastbench.report.plots.pareto import pareto_front


@pytest.mark.parametrize(
    ("x", "y", "front"),
    [
        ([1], [1], [0]),
        ([1, 2, 3], [3, 2, 1], [0, 1, 2]),
        ([3, 2, 1], [1, 2, 3], [2, 1, 0]),
        ([1, 2, 3], [1, 2, 3], [2]),
        ([1, 2, 2, 3], [5, 4, 3, 4], [0, 3]),
        ([1, 1, 2], [5, 5, 1], [0, 1, 2]),
        ([], [], []),
    ],
)
def test_the_pareto_front(x: list[float], y: list[float], front: list[int]) -> None:
    assert sorted(pareto_front(x, y)) == sorted(front)
    assert [x[i] for i in pareto_front(x, y)] == sorted(x[i] for i in front)


@pytest.mark.parametrize(
    ("rows", "fields", "called"),
    [
        ([row()], [], [[]]),
        ([row(loader="a"), row(loader="b")], ["loader"], [["a"], ["b"]]),
        # Weights differ between models anyhow.
        ([row(model="a", weights="1"), row(model="b", weights="2")], ["model"], [["a"], ["b"]]),
        ([row(weights="1"), row(weights="2")], ["weights"], [["weights 1"], ["weights 2"]]),
        ([row(compile_mode="default"), row()], ["engine"], [["compile"], ["eager"]]),
        ([row(gpu="G"), row()], ["device"], [["G"], ["AMD EPYC"]]),
        # The same images lie elsewhere on another machine.
        ([row(), row(data={**real().data, "root": "/else"})], [], [["run 1"], ["run 2"]]),
        (
            [row(loader_settings={"load": 0.5}), row(loader_settings={"load": 1})],
            [],
            [["load 0.5"], ["load 1"]],
        ),
    ],
)
def test_what_rows_are_called(
    rows: list[Record], fields: list[str], called: list[list[str]]
) -> None:
    assert varying(rows) == fields
    found = names(rows)
    assert [
        name[-1:] if name[-1:] == end[-1:] else name
        for name, end in zip(found, called, strict=True)
    ] == called


def test_what_differs_beside_the_names_is_a_footnote_at_the_few() -> None:
    packages = real().environment["packages"]
    older = {**real().environment, "packages": {**packages, "torch": "2.6.0"}}
    said = caption_of([row(), row(), row(environment=older, num_threads=1)])
    assert said.marks == ["", "", "ᵃᵇ"]
    shared, *footnotes = said.paragraphs
    assert footnotes == ["ᵃ threads 1 (others: 2).", "ᵇ torch 2.6.0 (others: 2.15.0)."]
    assert "torch 2" not in shared
    assert shared.startswith("sample-v2/val-1000 · 1,000 JPEGs, 110.7 kB each, 24 classes · ")
    assert "torchvision 0.29.2 · DALI 2.4.0" in shared


def test_the_host_of_a_gpu_is_not_said_of_rows_on_a_cpu() -> None:
    beside = row(gpu="G", environment={"cpu": "HOST", "num_cores": 16, "gpus": [{"name": "G"}]})
    said = caption_of([beside, row()])
    assert " · HOST · " in said.paragraphs[0]
    assert names([beside, row()]) == [["G"], ["AMD EPYC"]]


def test_rare_conditions_are_footnotes_and_do_not_lengthen_all_names() -> None:
    cold = row(model="cold", weights="V1", data={**real().data, "page_cache": "cold"})
    warm = [
        row(model=f"m{i}", weights="V1", data={**real().data, "page_cache": "warm"})
        for i in range(4)
    ]
    assert names([cold, *warm]) == [["cold"], ["m0"], ["m1"], ["m2"], ["m3"]]
    said = caption_of([cold, *warm])
    assert said.marks == ["ᵃ", "", "", "", ""]
    assert said.paragraphs[1:] == ["ᵃ page cache cold (others: warm); not ranked with the others."]
    assert names([cold, *warm[:2]])[0] == ["cold", "cold page cache"]


def test_many_ways_of_being_unlike_are_one_footnote() -> None:
    said = caption_of([row(num_threads=n) for n in range(1, 13)])
    assert said.marks == ["", *["ᵃ"] * 11]
    assert said.paragraphs[1:] == ["ᵃ threads 2, 3, 4, 5, 6, 7 and 5 more (others: 1)."]


def test_labels_are_placed_beside_their_points_where_all_is_free() -> None:
    options: dict[str, Any] = {"line_height": 10, "radius": 3}
    bounds = (0, 0, 200, 200)
    (place,) = place_labels([(100, 100)], [(40, 10)], bounds, **options)
    assert place is not None
    assert place.leader is None
    assert (place.x, place.y) == pytest.approx((104.5, 95))
    # At the right edge it goes to the other side; where it cannot fit, it is left out.
    (place,) = place_labels([(195, 100)], [(40, 10)], bounds, **options)
    assert place is not None
    assert place.x + 40 < 192
    assert place_labels([(100, 100)], [(400, 10)], bounds, **options) == [None]


def test_labels_of_one_spot_are_led_away_and_the_first_come_first() -> None:
    options: dict[str, Any] = {"line_height": 10, "radius": 3}
    places = place_labels([(50, 50)] * 9, [(40, 10)] * 9, (0, 0, 100, 100), **options)
    boxes = [Bbox.from_bounds(p.x, p.y, 40, 10) for p in places if p]
    assert not any(a.overlaps(b) for a, b in itertools.combinations(boxes, 2))
    assert any(place and place.leader for place in places)
    assert places[0] is not None
    few = place_labels([(50, 50)] * 9, [(40, 10)] * 9, (0, 0, 100, 100), num_far=1, **options)
    for place in few[1:]:  # only the first may be far from its point
        assert place is None or abs(place.y + 5 - 50) <= 3 + 2.5 * 10 + 5
    assert few.count(None) > places.count(None)


@pytest.mark.parametrize(
    ("text", "lines"),
    [("a b", ["a b"]), ("word " * 8, ["word word word", "word word word", "word word"])],
)
def test_text_is_wrapped_by_its_width_in_print(text: str, lines: list[str]) -> None:
    assert style.wrap(text.strip(), 1.2, 8) == lines


def test_what_is_made_up_does_not_contradict_itself() -> None:
    assert throughput(100).images_per_s == pytest.approx(100)
    assert [find_contradictions(record) for record in (row(), failing(), row(batch_size=256))] == [
        []
    ] * 3
    assert failures_of(failing())
    assert find_contradictions(invalid())
