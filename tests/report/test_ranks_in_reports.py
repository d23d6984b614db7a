"""Rows of several ranks in reports: never mixed with others, and held against one rank."""

import csv
import io
from pathlib import Path

import msgspec
import pytest
from builders.ranks import DATA, of_ranks, scaled
from builders.runs import broken, folder_of, run
from builders.sheets import rows_of, sheet_of

from fastbench.core.errors import RecordError
from fastbench.records.differences import split_unlike
from fastbench.records.record import Record
from fastbench.records.store import read_record, write_record
from fastbench.records.validity import find_contradictions
from fastbench.report.columns.column import Row
from fastbench.report.columns.registry import COLUMNS
from fastbench.report.compare.pairing import pair_up
from fastbench.report.formats.export import to_csv
from fastbench.report.html.content import describe
from fastbench.report.html.row_panel import panel_of
from fastbench.report.plots import registry
from fastbench.report.sheet.row_in_words import how_it_ran
from fastbench.report.sheet.scaling import with_scaling
from fastbench.report.sheet.table import Sheet

ONE = of_ranks(100)
FOUR = of_ranks(100, 100, 100, 80, hosts=("node0", "node1"))


def names_of(sheet: Sheet) -> list[str]:
    return [column.name for column in sheet.columns]


def texts(sheet: Sheet, name: str) -> list[tuple[str, str]]:
    index = names_of(sheet).index(name)
    return [(line.cells[index].text, line.cells[index].detail) for line in sheet.lines]


def scaling_of(*records: Record) -> list[float | None]:
    return [row.scaling and row.scaling.efficiency for row in with_scaling(rows_of(*records))]


def test_what_was_made_up_can_be(tmp_path: Path) -> None:
    for record in (ONE, FOUR, *scaled((1, 2, 3, 8))):
        assert find_contradictions(record) == []
        assert read_record(write_record(record, tmp_path)) == record


def test_ranks_are_a_column_where_rows_differ_in_them() -> None:
    sheet = sheet_of(ONE, FOUR)
    assert names_of(sheet)[:3] == ["ranks", "images/s", "scaling"]
    assert texts(sheet, "ranks") == [("1", ""), ("4", "")]
    assert texts(sheet, "scaling") == [("–", ""), ("80", "waiting 15, other 5")]
    same = sheet_of(FOUR, of_ranks(90, 90, 90, 90, loader="torchvision"))
    assert not {"ranks", "scaling"} & {*names_of(same)}
    assert "4 ranks" in same.common[0]
    alone = sheet_of(ONE, of_ranks(90, loader="torchvision"))
    assert not {"ranks", "scaling"} & {*names_of(alone)}
    assert "rank" not in alone.common[0]


def test_a_record_of_an_older_version_has_one_rank() -> None:
    older = msgspec.structs.replace(ONE, config={"quick": False})
    sheet = sheet_of(older, of_ranks(90, loader="torchvision"))
    assert "ranks" not in names_of(sheet)
    assert scaling_of(older, FOUR) == [None, pytest.approx(0.8)]


@pytest.mark.parametrize(
    "changes",
    [
        {"loader": "torchvision"},
        {"dtype": "float16"},
        {"data": {**DATA, "digest": "b" * 64}},
        {"data": {**DATA, "page_cache": "cold"}},
        {"config": {"ranks": 1, "quick": True}},
        {"config": {"ranks": 1, "quick": False, "num_threads": 2}},
        {"environment": {"cpu": "B CPU", "num_cores": 8, "gpus": []}},
    ],
)
def test_one_rank_of_another_configuration_is_no_ideal(changes: dict[str, object]) -> None:
    assert scaling_of(msgspec.structs.replace(ONE, **changes), FOUR) == [None, None]


def test_an_invalid_row_has_no_scaling_and_is_no_ideal() -> None:
    assert scaling_of(broken(ONE), FOUR) == [None, None]
    assert scaling_of(ONE, broken(FOUR)) == [None, None]


def test_scaling_is_in_doubt_where_one_rank_is() -> None:
    def is_doubted(one: Record, four: Record) -> bool:
        return with_scaling(rows_of(one, four))[1].is_doubted(COLUMNS["scaling"])

    noisy = of_ranks(100, factors=[[1.0], [1.3], [1.0]])
    noisy_too = of_ranks(100, 100, factors=[[1.0] * 2, [1.3] * 2, [1.0] * 2])
    assert [is_doubted(noisy, FOUR), is_doubted(ONE, noisy_too)] == [True, True]
    assert not is_doubted(ONE, FOUR)


def test_what_the_columns_of_ranks_say() -> None:
    sheet = sheet_of(ONE, FOUR, columns="rank-rate,slowest-rank")
    assert texts(sheet, "rank-rate") == [("–", ""), ("100", "80.0–100")]
    assert texts(sheet, "slowest-rank") == [
        ("–", ""),
        ("rank 3 on node1, 25 % slower, model-bound", ""),
    ]


def test_by_and_across_ranks() -> None:
    rows = (ONE, FOUR, of_ranks(50, loader="torchvision"), of_ranks(45, 45, loader="torchvision"))
    by = sheet_of(*rows, by=COLUMNS["ranks"])
    assert [group.heading for group in by.groups] == ["ranks 1", "2 ranks", "4 ranks"]
    assert [row.ratio for row in (line.row for line in by.lines)] == pytest.approx([1, 1, 1.8, 3.2])
    assert "Ratios are to ranks 1." in by.remarks[0]
    across = sheet_of(*rows, across=COLUMNS["ranks"])
    assert [len(group.lines) for group in across.groups] == [2, 2]
    assert "ranks" in names_of(across)


def test_groups_across_another_column_do_not_mix_ranks() -> None:
    rows = [of_ranks(*[50] * num, loader=x) for x in ("dali", "torchvision") for num in (1, 2)]
    groups = sheet_of(*rows, across=COLUMNS["loader"]).groups
    assert [[line.row.record.num_ranks for line in group.lines] for group in groups] == [
        [1, 1], [2, 2],
    ]  # fmt: skip


def test_csv_has_ranks_and_scaling_in_any_case() -> None:
    for records in ((ONE,), (ONE, FOUR)):
        sheet = sheet_of(*records, is_data=True)
        one, *four = csv.DictReader(io.StringIO(to_csv(sheet)))
        assert (one["ranks"], one["scaling [share]"]) == ("1", "")
        assert [(x["ranks"], float(x["scaling [share]"])) for x in four] == [
            ("4", pytest.approx(0.8)) for _ in records[1:]
        ]


def test_how_ranks_ran_in_words() -> None:
    one, four = with_scaling(rows_of(ONE, FOUR))
    assert "rank" not in how_it_ran(one)
    said = how_it_ran(four)
    where = "4 ranks on 2 machines (node0, node1)"
    assert f"{where} of 100 images/s each in the median (80.0 to 100)" in said
    assert "rank 3 on node1 is 25 % slower than the median rank: model-bound" in said
    assert "scaling efficiency 80 % (lost: 15 % waiting for stragglers, 5 % other)" in said
    assert "by their scatter alone, 8, 64 and 512 ranks would keep at most 87, 85 and 85 %" in said
    here = how_it_ran(Row(record=of_ranks(100, 80)))
    assert "2 ranks of 90.0 images/s each in the median (80.0 to 100)" in here
    assert "scaling efficiency" not in here


def test_the_page_has_the_ranks_one_by_one() -> None:
    panel = dict(panel_of(Row(record=FOUR)))
    first, *_, last = panel["ranks"].split("; ")
    assert first == (
        "rank 0 on node0, cpu, 200 images, 2 threads, 8 cores, 100 images/s, loader alone 120, "
        "model alone 110"
    )
    assert last.startswith("rank 3 on node1, cpu, 200 images")
    assert "4 ranks" in panel["configuration"]
    assert "ranks" not in dict(panel_of(Row(record=ONE)))
    data = describe(sheet_of(ONE, FOUR))
    assert data["facets"]["ranks"] == ["1", "4"]
    assert {"scaling", "rank-rate", "slowest-rank"} < {x["name"] for x in data["columns"]}


def test_a_page_of_very_many_ranks_names_the_first_ones() -> None:
    listed = dict(panel_of(Row(record=of_ranks(*[100] * 70))))["ranks"]
    assert listed.endswith("; and 6 more")
    assert "rank 63 on" in listed
    assert "rank 64 on" not in listed


# ------------------------------------------------------------------------------- compare


def with_ranks(rate: float, num: int, **changes: object) -> Record:
    return run(rate, config={"ranks": num, "quick": False}, **changes)


def test_rows_of_other_ranks_are_no_pair(tmp_path: Path) -> None:
    a = folder_of(tmp_path / "a", x=with_ranks(100, 1), y=with_ranks(190, 2))
    b = folder_of(tmp_path / "b", x=with_ranks(101, 1), y=with_ranks(390, 4))
    found = pair_up(a, b)
    assert [([x.path.name for x in p.a], [x.path.name for x in p.b]) for p in found.pairs] == [
        (["x.json"], ["x.json"])
    ]
    assert [lone.differs_in for lone in (*found.only_a, *found.only_b)] == [["ranks"]] * 2
    folder_of(tmp_path / "c", z=with_ranks(100, 1), w=with_ranks(1, 1, model="m"))
    folder_of(tmp_path / "d", z=with_ranks(100, 2), w=with_ranks(1, 2, model="m"))
    with pytest.raises(RecordError, match="differs from the nearest in ranks"):
        pair_up(tmp_path / "c", tmp_path / "d")


def test_two_records_of_other_ranks_are_unlike() -> None:
    unlike, unknown = split_unlike(with_ranks(100, 1), with_ranks(200, 2))
    assert [(x.name, x.a, x.b) for x in unlike] == [("ranks", 1, 2)]
    assert unknown == []
    assert split_unlike(run(100), with_ranks(100, 1)) == ([], [])


# ---------------------------------------------------------------------------------- plot


def test_the_plot_has_the_ideal_and_what_is_lost() -> None:
    figure = registry.draw("scaling", [ONE, FOUR])
    throughput, efficiency, below = figure.axes
    assert list(throughput.lines[0].get_ydata()) == pytest.approx([100, 320])
    (ideal,) = (x for x in throughput.lines if len(x.get_xdata()) == 65)
    assert list(ideal.get_ydata())[::64] == pytest.approx([100, 400])
    assert throughput.get_xscale() == "linear"
    heights = [bar.get_height() for bar in efficiency.patches]
    assert heights == pytest.approx([80, 15, 5])
    assert [text.get_text() for text in efficiency.texts] == ["80"]
    legend = below.get_legend()
    assert legend is not None
    assert [text.get_text() for text in legend.get_texts()] == [
        "ideal: as many times one rank", "waiting for stragglers", "ranks slower: other",
    ]  # fmt: skip


def test_the_plot_without_one_rank_has_no_efficiency() -> None:
    figure = registry.draw("scaling", [of_ranks(100, 100), FOUR])
    assert [axes.get_ylabel() for axes in figure.axes if axes.get_ylabel()] == ["images/s"]
    assert figure.get_suptitle() == "Throughput against ranks"
    caption = " ".join(figure.get_supxlabel().split())
    assert "Without one rank of the same configuration there is no efficiency." in caption


def test_the_plot_rings_what_is_in_doubt_and_takes_the_latest_row() -> None:
    noisy = of_ranks(90, 90, factors=[[1.0] * 2, [1.3] * 2, [1.0] * 2])
    earlier = msgspec.structs.replace(ONE, created="2026-01-01T00:00:00+00:00")
    figure = registry.draw("scaling", [earlier, ONE, noisy])
    for axes, y in zip(figure.axes, (180, 90), strict=False):
        (ring,) = (x for x in axes.lines if x.get_markersize() == 12 and len(x.get_xdata()))
        assert list(ring.get_ydata()) == pytest.approx([y])
    assert "Left out: earlier rows of the same configuration and ranks (1)." in " ".join(
        figure.get_supxlabel().split()
    )


def test_very_many_ranks_are_in_logarithms() -> None:
    figure = registry.draw("scaling", scaled((1, 8, 64)))
    assert figure.axes[0].get_xscale() == figure.axes[0].get_yscale() == "log"
