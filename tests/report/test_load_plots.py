"""The plots of rows under load: what they show, and what they say where there is nothing to."""

import msgspec
import pytest
from builders.load_records import make_load_record
from builders.runs import run

from fastbench.records.load import LoadRecord
from fastbench.report.plots import load_latency
from fastbench.report.plots.registry import draw, write_plots
from fastbench.report.plots.style import NothingToShowError, encode

SEARCH = make_load_record()
SINGLE = make_load_record("single-stream")


def texts(name: str, *records: LoadRecord) -> str:
    figure = draw(name, records)
    (axes, *_) = figure.axes
    legends = [x.get_legend() for x in figure.axes if x.get_legend()]
    found = [axes.get_xlabel(), axes.get_ylabel(), *(x.get_text() for x in axes.texts)]
    found += [x.get_text() for legend in legends for x in legend.get_texts()]
    return " | ".join([*found, *(x.get_text() for x in figure.texts)]).replace("\n", " ")


def test_latency_against_the_rate_with_its_limit_and_its_knee() -> None:
    figure = draw("latency-rate", [SEARCH])
    axes = figure.axes[0]
    assert axes.get_yscale() == "log"
    p99, p90, p50 = (line.get_ydata() for line in axes.lines[:3])
    rates = [run.offered_per_s for run in SEARCH.by_rate]
    assert list(axes.lines[0].get_xdata()) == rates
    points = [float(line.get_xdata()[0]) for line in axes.lines if line.get_marker() == "o"]
    assert points == rates
    assert all(a > b > c for a, b, c in zip(p99, p90, p50, strict=True))
    said = texts("latency-rate", SEARCH)
    assert "441/s" in said
    assert "limit 15 ms at p99" in said
    assert encode(figure, "png").startswith(b"\x89PNG")


def test_repeats_at_about_the_same_rate_are_one_place_of_the_line() -> None:
    repeats = [make_load_record(rate=rate, seed=seed) for seed, rate in enumerate((300, 302, 305))]
    other = make_load_record(rate=100.0)
    axes = draw("latency-rate", [other, *repeats]).axes[0]
    assert list(axes.lines[0].get_xdata()) == [100.0, 302.0]
    assert sum(line.get_marker() == "o" for line in axes.lines) == 4


def test_a_line_a_configuration_also_of_runs_at_a_rate_of_their_own() -> None:
    rates = [make_load_record(rate=rate) for rate in (100.0, 300.0)]
    other = make_load_record(slowness=0.6, loader="opencv")
    said = texts("latency-rate", SEARCH, *rates, other)
    assert "dali" in said
    assert "opencv" in said
    (axes, *_) = draw("latency-rate", rates).axes
    assert list(axes.lines[0].get_xdata()) == [100.0, 300.0]
    lone = make_load_record(rate=100.0, loader="opencv")
    assert "configurations of one rate (1)" in texts("latency-rate", SEARCH, lone)


def test_the_tail_is_that_of_the_latencies() -> None:
    latencies_ms, shares = load_latency._tail(SEARCH.latencies_s)
    ordered = sorted(SEARCH.latencies_s)
    assert (latencies_ms[0], shares[0]) == (1e3 * ordered[0], 1.0)
    assert (latencies_ms[-1], shares[-1]) == (1e3 * ordered[-1], 1 / len(ordered))
    for latency_ms, share in zip(latencies_ms, shares, strict=True):
        above, not_below = (
            sum(1e3 * x > latency_ms for x in ordered),
            sum(1e3 * x >= latency_ms for x in ordered),
        )
        assert above < share * len(ordered) <= not_below + 1e-9


def test_the_distribution_of_several_scenarios() -> None:
    said = texts("latency-cdf", SEARCH, SINGLE, make_load_record("offline"))
    assert "single-stream" in said
    assert "limit 15 ms at p99" in said
    assert "Left out: rows of offline, whose queries come at once (1)" in said


@pytest.mark.parametrize(
    ("name", "records", "said"),
    [
        ("latency-rate", [SINGLE], "No configuration has several rates of queries"),
        (
            "latency-cdf",
            [make_load_record("offline")],
            "No row has 10 queries that arrive",
        ),
        ("latency-rate", [run(100)], "of rows of `fastbench loadtest`, and there is none"),
        ("loaders", [SEARCH], "of rows of `fastbench run`, and there is none"),
    ],
)
def test_what_cannot_be_drawn_says_why(name: str, records: list[LoadRecord], said: str) -> None:
    with pytest.raises(NothingToShowError, match=said):
        draw(name, records)


def test_what_is_invalid_is_left_out() -> None:
    broken = msgspec.structs.replace(SEARCH, batches={"1": 1})
    with pytest.raises(NothingToShowError):
        draw("latency-rate", [broken])
    assert "Left out as INVALID: single-stream" not in texts("latency-cdf", SEARCH)
    assert "Left out as INVALID: sample · server" in texts("latency-cdf", SINGLE, broken)


def test_all_plots_are_those_of_the_records_that_there_are(tmp_path: object) -> None:
    skipped: list[str] = []
    paths = write_plots([SEARCH], tmp_path, on_skip=skipped.append)  # type: ignore[arg-type]
    assert [path.name for path in paths] == ["latency-rate.png", "latency-cdf.png"]
    assert skipped == []
