"""Plots: nothing hides anything, nothing is cut off, and what is unlike is not mixed silently."""

import functools
import itertools
import random
import re
from pathlib import Path
from typing import Any

import matplotlib as mpl
import msgspec
import pytest
from builders.engines import grid
from builders.engines import row as engines_row
from builders.paths import RECORDS
from builders.plot_rows import failing, invalid, latency, real, row
from builders.ranks import of_ranks, scaled
from matplotlib.figure import Figure
from matplotlib.text import Text
from matplotlib.transforms import Bbox
from PIL import Image

from fastbench.cli.main import main
from fastbench.core.errors import OutputError, RecordError, UnknownNameError, UsageError
from fastbench.records.record import Record
from fastbench.report.html import page
from fastbench.report.plots import pareto, registry, style
from fastbench.report.plots.pareto import pareto_front
from fastbench.report.plots.registry import NothingToShowError

MODELS = ["alexnet", "vgg16", "resnet18", "googlenet", "squeezenet1_0", "shufflenet_v2_x0_5"]
LONG = "a_model_of_timm_with_a_really_long_name.in22k_ft_in1k_384"
GPUS = ["NVIDIA H200 (made up)", "NVIDIA H100 80GB HBM3 (made up)", "NVIDIA A100 (made up)"]


def many(num: int, *, spread: float = 2.0, long: bool = False) -> list[Record]:
    """Rows of other models and loaders, within `spread` decades of throughput."""
    numbers = random.Random(1)
    return [
        row(
            10 ** (2 + spread * numbers.random()),
            top1=800 + int(150 * numbers.random()),
            model=f"{LONG if long else MODELS[i % 6]}{i // 6 or ''}",
            weights=f"V{i}",
            loader=("dali", "torchvision", "torchvision-gpu")[i % 3],
        )
        for i in range(num)
    ]


def batches(sizes: tuple[int, ...] = (1, 8, 64, 256)) -> list[Record]:
    return [
        row(50 * size**0.5, batch_size=size, loader=loader, latency=latency(size, 0.01 * size))
        for size in sizes
        for loader in ("dali", "torchvision")
    ]


def on_gpus() -> list[Record]:
    return [
        row(rate, gpu=gpu, watts=watts, model=model, weights="V1", loader="dali")
        for model in ("resnet50", "vgg16")
        for gpu, rate, watts in zip(GPUS, (9000, 7000, 3000), (600, 500, 300), strict=True)
    ]


def unlike() -> list[Record]:
    """Rows that must not be mixed silently, beside two that may."""
    other = {**real().data, "digest": "of other images", "root": "/data/other/val"}
    return [
        row(100, model="vgg16", weights="V1"),
        row(300, top1=910, model="resnet18", weights="V1", num_threads=8),
        row(200, model="other_images", weights="V1", data=other),
        row(220, model="unlabelled", weights="V1", accuracy=None),
        invalid(model="contradicts_itself", weights="V1"),
        failing(400, top1=960, model="loses_images", weights="V1"),
    ]


CASES: dict[str, list[Record]] = {
    "one": [row()],
    "real": [real("torchvision"), real("dali")],
    "40": many(40),
    "40 close together": many(40, spread=0.04),
    "long names": many(12, spread=1.2, long=True),
    "batches": batches(),
    "close batches": batches((1, 2, 4, 8, 16, 32, 64, 96, 128, 192, 256)),
    "big batches": batches((960, 1000, 1024, 1100, 2000, 2048)),
    "wide names": [row(loader="M" * 26), row(loader="b")],
    "gpus": on_gpus(),
    "unlike": unlike(),
    "ranks": scaled(),
    "engines": grid(),
    "engines of a model": [*grid("resnet50"), engines_row(size=160)],
    "many ranks": scaled((1, 2, 3, 8, 16, 64, 100, 128, 512)),
}
SHOWN = {
    "accuracy-throughput": {
        *CASES.keys() - {"batches", "close batches", "big batches", "gpus", "ranks", "many ranks"}
    },
    "loaders": {"real", "long names", "gpus", "unlike"},
    "latency": {"one", "long names", "wide names"},
    "batches": {"batches", "close batches", "big batches"},
    "scaling": {"ranks", "many ranks"},
    "gpus": {"gpus"},
    "accuracy": {"unlike", "long names"},
}
ALL = [(plot, case) for plot, cases in SHOWN.items() for case in CASES if case in cases]


def drawn(figure: Figure) -> list[Text]:
    """The texts that are drawn: not those of ticks beyond the limits, as `findobj` would find."""
    found: list[Text] = []
    draw = Text.draw

    def note(text: Text, renderer: Any) -> None:
        if text.get_visible() and text.get_text().strip():
            found.append(text)
        draw(text, renderer)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Text, "draw", note)
        figure.canvas.draw()
    return found


@functools.cache
def figure_of(plot: str, case: str) -> Figure:
    return registry.draw(plot, CASES[case])


def caption_of(figure: Figure) -> str:
    return " ".join(figure.get_supxlabel().split())


def labels_of(figure: Figure) -> dict[str, Text]:
    found = [text for text in figure.axes[0].texts if text.get_text()]
    return {text.get_text().replace("\n", ""): text for text in found}


@pytest.mark.parametrize(("plot", "case"), ALL, ids=[f"{a}: {b}" for a, b in ALL])
def test_no_text_meets_another_or_the_edge(plot: str, case: str) -> None:
    figure = figure_of(plot, case)
    boxes = [(text.get_text(), text.get_window_extent()) for text in drawn(figure)]
    assert len(boxes) > 5
    for text, box in boxes:
        assert box.x0 >= 0, text
        assert box.y0 >= 0, text
        assert box.x1 <= figure.bbox.x1, text
        assert box.y1 <= figure.bbox.y1, text
    for (one, its), (other, others) in itertools.combinations(boxes, 2):
        assert not its.overlaps(others), f"{one!r} meets {other!r}"


@pytest.mark.parametrize("case", ["one", "40", "40 close together", "long names"])
def test_every_point_has_a_label_that_hides_no_point(case: str) -> None:
    records = CASES[case]
    figure = figure_of("accuracy-throughput", case)
    axes, labels = figure.axes[0], labels_of(figure)
    assert len(labels) == len(records)
    for record in records:
        assert record.accuracy is not None
        x, y = axes.transData.transform(
            (record.throughput.images_per_s, 100 * record.accuracy.top1)
        )
        marker = Bbox.from_extents(x - 7, y - 7, x + 7, y + 7)
        for name, text in labels.items():
            assert not text.get_window_extent().overlaps(marker), f"{name} hides {record.model}"


def test_what_stands_on_the_front_is_bold_and_nothing_else() -> None:
    figure = registry.draw(
        "accuracy-throughput",
        [
            row(100, top1=950, model="slow"),
            row(300, top1=930, model="beaten"),
            row(400, top1=940, model="fast"),
            failing(900, top1=960, model="wrong"),
        ],
    )
    bold = [name for name, text in labels_of(figure).items() if text.get_weight() == "bold"]
    assert sorted(bold) == ["fast", "slow"]


def test_the_front_says_what_makes_its_points_and_not_what_all_share() -> None:
    figure = registry.draw("accuracy-throughput", grid("resnet50"))
    assert {name: text.get_weight() for name, text in labels_of(figure).items()} == {
        "openvino": "bold",
        "openvino, int8": "bold",
    }  # colour and marker say it of the others
    both = labels_of(registry.draw("accuracy-throughput", grid("resnet50", "resnet18")))
    assert {"resnet50,openvino, int8", "resnet18,openvino, int8"} <= {
        name.replace(", openvino", ",openvino") for name in both
    }


def test_the_usual_image_size_is_said_once() -> None:
    small = [engines_row(size=160), engines_row(engine="openvino", quantize="int8", size=160)]
    figure = registry.draw("accuracy-throughput", [*grid("resnet50"), *small])
    assert sorted(labels_of(figure)) == [
        "160 px", "openvino", "openvino, int8", "openvino, int8, 160 px",
    ]  # fmt: skip
    assert "224 px where no size is said." in caption_of(figure)
    half = registry.draw("accuracy-throughput", [engines_row(), engines_row(size=160)])
    assert sorted(labels_of(half)) == ["160 px", "224 px"]


def test_colours_are_of_engines_and_markers_of_quantisation() -> None:
    records = grid("resnet50", "resnet18")
    figure = registry.draw("accuracy-throughput", records)
    legend = figure.axes[0].get_legend()
    assert legend is not None
    looks = {
        text.get_text(): (line.get_marker(), line.get_markerfacecolor())  # type: ignore[union-attr]
        for text, line in zip(legend.get_texts(), legend.legend_handles, strict=True)
    }
    engines = ("compile", "eager", "onnxruntime", "openvino")
    circle, square, *_ = style.MARKERS
    assert {name: looks[name] for name in engines} == {
        name: (circle, style.colour(number)) for number, name in enumerate(engines)
    }
    assert looks["int8"] == (circle, style.MUTED)
    assert looks["quantize none"] == (square, style.MUTED)
    drawn_points = {
        (x, y): (line.get_marker(), line.get_markerfacecolor())
        for line in figure.axes[0].get_lines()
        if line.get_marker() in style.MARKERS
        for x, y in zip(line.get_xdata(), line.get_ydata(), strict=True)  # type: ignore[arg-type]
    }
    assert len(drawn_points) == len(records)
    for record in records:
        x, y = record.throughput.images_per_s, 100 * (record.top1 or 0)
        engine, quantize = record.config["engine"], record.config["quantize"]
        marker = circle if quantize == "int8" else square
        assert drawn_points[x, y] == (marker, style.colour(engines.index(engine)))


def test_a_hollow_point_keeps_its_colour() -> None:
    figure = registry.draw("accuracy-throughput", grid("mobilenet_v3_large"))
    hollow = [x for x in figure.axes[0].get_lines() if x.get_markerfacecolor() == "white"]
    assert {line.get_markeredgecolor() for line in hollow} == {
        style.colour(number) for number in (0, 2, 3)
    }


def test_the_throughput_axis_is_logarithmic_beyond_a_decade() -> None:
    def scale(rates: tuple[float, ...]) -> str:
        records = [row(rate, model=f"m{rate}") for rate in rates]
        return registry.draw("accuracy-throughput", records).axes[0].get_xscale()

    assert scale((100, 900)) == "linear"
    assert scale((100, 1100)) == "log"


def test_unlike_rows_are_left_out_or_hollow_and_said() -> None:
    figure = figure_of("accuracy-throughput", "unlike")
    assert sorted(labels_of(figure)) == ["loses_images", "resnet18ᵃ", "vgg16"]
    caption = caption_of(figure)
    assert "ᵃ threads 8 (others: 2)." in caption
    assert "Left out as INVALID: contradicts_itself." in caption
    assert "Left out, without accuracy: 1 of 6 rows." in caption
    assert "Left out, of other images: 1 of 6 rows." in caption
    hollow = [x for x in figure.axes[0].lines if x.get_markerfacecolor() == "white"]
    assert [list(line.get_xdata()) for line in hollow] == [[400]]
    legend = figure.axes[0].get_legend()
    assert legend is not None
    assert "hollow: fails a gate" in [x.get_text() for x in legend.get_texts()]


def test_a_first_look_and_a_cold_cache_are_on_no_front() -> None:
    cold = {**real().data, "page_cache": "cold"}
    figure = registry.draw(
        "accuracy-throughput",
        [
            row(100, top1=950, model="slow"),
            row(400, top1=940, model="fast"),
            row(900, top1=960, model="quick", config={**real().config, "quick": True}),
            row(80, top1=970, model="cold", data=cold),
        ],
    )
    bold = [name for name, text in labels_of(figure).items() if text.get_weight() == "bold"]
    assert {name.partition(",")[0] for name in bold} == {"slow", "fast"}
    said = "Not held against the others, for their page cache or --quick: 2 of 4 points."
    assert said in caption_of(figure)


def busy(rate: float, **changes: Any) -> Record:
    """A row whose model alone is said to be slower than model and loader together."""
    return row(rate, **{"model_alone": rate / 1.3, **changes})


def legend_of(figure: Figure, axes: int = 0) -> list[str]:
    legend = figure.axes[axes].get_legend()
    return [] if legend is None else [text.get_text() for text in legend.get_texts()]


def test_what_is_in_doubt_is_on_no_front() -> None:
    """Neither too fast a row nor random weights; both are hollow, with the words below."""
    rows = [row(100, top1=950, model="slow", weights="V1")]
    rows += [busy(900, top1=960, model="busy", weights="V1")]
    rows += [row(400, top1=970, model="random", weights="none")]
    rows += [row(300, top1=940, model="fast", weights="V1")]
    figure = registry.draw("accuracy-throughput", rows)
    bold = [name for name, text in labels_of(figure).items() if text.get_weight() == "bold"]
    assert sorted(bold) == ["fast", "slow"]
    hollow = [x for x in figure.axes[0].lines if x.get_markerfacecolor() == "white"]
    assert sorted(x for line in hollow for x in line.get_xdata()) == [400, 900]
    assert "hollow: in doubt" in legend_of(figure)
    assert "ᵃ throughput in doubt, not ranked by it: end to end is" in caption_of(figure)
    assert "ᵇ accuracy in doubt, not ranked by it: the model's weights" in caption_of(figure)
    chance = registry.draw("accuracy-throughput", [row(rate, weights="none") for rate in (1, 2)])
    assert "Pareto front" not in legend_of(chance)
    assert "There is no Pareto front: no point is free of doubt" in caption_of(chance)


def test_doubts_are_in_every_plot() -> None:
    """A bar or a dot is hollow, a point of a line has a ring; and each row has its mark."""
    rows = [row(100, loader="calm"), busy(300, loader="busy")]
    for plot in ("loaders", "latency"):
        figure = registry.draw(plot, rows)
        ticks = [text.get_text() for text in figure.axes[0].get_yticklabels()]
        assert sorted(ticks) == ["busyᵃ", "calm"]
        assert "hollow: in doubt" in legend_of(figure)
        assert "ᵃ throughput in doubt, not ranked by it: end to end is" in caption_of(figure)
    sizes = [row(100, batch_size=8), busy(300, batch_size=16), busy(350, batch_size=32)]
    # Of random weights the accuracy is in doubt, which has no point here.
    sizes = [msgspec.structs.replace(record, weights="none") for record in sizes]
    figure = registry.draw("batches", sizes)
    (ring,) = (x for x in figure.axes[0].lines if x.get_markersize() == 12 and len(x.get_xdata()))
    assert list(ring.get_ydata()) == pytest.approx([300, 350])
    assert legend_of(figure, -1) == ["sampleᵇᵃ", "ring: in doubt"]  # each mark once
    figure = registry.draw("accuracy", [row(weights="none"), row(model="other", weights="V1")])
    ticks = [text.get_text() for text in figure.axes[0].get_xticklabels()]
    assert [tick.split("\n")[-1] for tick in ticks if "in doubt" in tick] == ["(in doubt)"]
    gpus = [row(gpu=GPUS[0]), busy(300, gpu=GPUS[1])]
    assert legend_of(registry.draw("gpus", gpus)) == ["hollow: in doubt"]


def test_a_gpu_has_one_colour_everywhere() -> None:
    """By its name among all rows, in whichever order they come and whatever is left out."""
    blue, red, green = style.PALETTE[:3]
    in_order = dict(zip(sorted(GPUS), (blue, red, green), strict=True))
    records = [
        row(1000 * (i + 1) * size**0.1, gpu=gpu, batch_size=size)
        for size in (8, 16)
        for i, gpu in enumerate(GPUS)
    ]
    for given in (records, records[::-1]):
        bars = registry.draw("gpus", given).axes[0].patches
        found = {mpl.colors.to_hex(bar.get_facecolor()) for bar in bars}
        assert found == {blue, red, green}
        batches = registry.draw("batches", given).axes[-1].get_legend()
        assert batches is not None
        lines = zip(batches.get_texts(), batches.legend_handles, strict=True)
        assert {text.get_text(): line.get_color() for text, line in lines} == in_order  # type: ignore[union-attr]
        # A row that has no point, but a name before all others', has a colour all the same.
        first = row(gpu="A GPU", accuracy=None)
        points = registry.draw("accuracy-throughput", [*given, first]).axes[0].get_legend()
        assert points is not None
        markers = zip(points.get_texts(), points.legend_handles, strict=True)
        its = {text.get_text(): line.get_markerfacecolor() for text, line in markers}  # type: ignore[union-attr]
        assert [its[gpu] for gpu in sorted(GPUS)] == [red, green, style.PALETTE[3]]
    assert pages_colours() == list(style.PALETTE)


def pages_colours() -> list[str]:
    """Those of the page on white paper."""
    found: list[str] = re.findall(r"--group-\d: light-dark\((#\w{6})", page._part("page.css"))
    return found


def test_rows_predicted_among_other_classes_are_on_no_front() -> None:
    present = row(900, top1=990, model="few classes", config={**real().config, "among": "present"})
    records = [row(100, model="a"), row(300, model="b"), present]
    figure = registry.draw("accuracy-throughput", records)
    assert sorted(labels_of(figure)) == ["a", "b"]
    said = "Left out, predicted among other classes: 1 of 3 rows."
    assert said in caption_of(figure)


def test_no_room_for_labels_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pareto, "_MOST_LABELS", 5)
    records = many(20)
    front = pareto_front(
        [r.throughput.images_per_s for r in records],
        [r.accuracy.top1 for r in records if r.accuracy],
    )
    figure = registry.draw("accuracy-throughput", records)
    names = {f"{records[i].model}, {records[i].loader}" for i in front}
    assert {label.replace(",", ", ").replace("  ", " ") for label in labels_of(figure)} == names
    assert 0 < len(front) < 6
    said = f"Without a label, for want of room: {20 - len(front)} of 20 points."
    assert said in caption_of(figure)


def columns_of(figure: Figure) -> list[str]:
    return [text.get_text() for text in figure.axes[0].texts]


def test_loaders_fastest_first_alone_end_to_end_and_their_predictions() -> None:
    figure = registry.draw(
        "loaders",
        [
            row(100, loader="torchvision", cpu_s=18.4, loader_alone=120, model_alone=5000),
            row(300, loader="dali", cpu_s=5.9, loader_alone=700, model_alone=5000),
            row(310, loader="memory", cpu_s=5.8, loader_alone=30_000, model_alone=5000),
        ],
    )
    alone, end_to_end = figure.axes
    labels = [x.get_text() for x in alone.get_yticklabels()]
    assert labels == ["memoryᵃ", "dali", "torchvision"]  # its ceiling is above what cores can do
    texts = [text.get_text() for axes in figure.axes for text in axes.texts]
    assert {"5.90", "18.4", "43", "83"} < set(texts)
    assert "30,000 ▸" in texts
    assert "300, 4,883 ▸" in texts  # 1,000 of 1,024 places count
    assert alone.get_xlim()[1] < 1400
    assert end_to_end.get_xlim()[1] < 3000


def test_predictions_equal_to_the_references_stand_beside_the_throughput() -> None:
    figure = registry.draw("loaders", [real("torchvision"), real("dali")])
    panels = [" ".join(axes.get_title(loc="left").split()) for axes in figure.axes]
    assert panels == [
        "loader alone images/s",
        "end to end images/s",
        "predictions equal to the reference's, %",
    ]
    assert {"reference", "99.90"} < {text.get_text() for text in figure.axes[2].texts}
    assert "CPU s: CPU seconds of all processes for 1,000 images." in caption_of(figure)


def test_loaders_stand_together_where_all_else_is_alike() -> None:
    records = [
        row(loader=loader, model=model, weights="V1", dtype=dtype)
        for model, dtype in (("vgg16", "float32"), ("resnet18", "float16"))
        for loader in ("dali", "torchvision")
    ]
    figure = registry.draw("loaders", records)
    headings = [text.get_text() for text in figure.texts]
    assert {"vgg16 · float32", "resnet18 · float16"} < set(headings)
    ticks = [text.get_text() for text in figure.axes[0].get_yticklabels()]
    assert ticks == ["dali", "torchvision"] * 2


def test_percentiles_that_the_samples_do_not_support_are_refused() -> None:
    few, enough = row(latency=latency(32, 0.2, 10)), row(latency=latency(32, 0.2, 700))
    texts = columns_of(registry.draw("latency", [few]))
    assert texts == ["n", "10", "p50", "199", "p90", "–", "p99", "–"]
    texts = columns_of(registry.draw("latency", [enough]))
    assert texts[:2] == ["n", "700"]
    assert "–" not in texts


def test_latency_of_other_batch_sizes_in_one_record() -> None:
    record = row(other_latencies=[latency(1, 0.02), latency(128, 0.9)])
    figure = registry.draw("batches", [record])
    (axes,) = figure.axes
    assert axes.get_ylabel() == "latency ms"
    assert [x.get_text() for x in axes.get_xticklabels()] == ["1", "32", "128"]
    assert "batch 32" not in caption_of(figure)


def test_a_later_row_replaces_an_earlier_one_of_the_same_batch_size() -> None:
    records = [
        row(100, batch_size=8, created="2026-01-02T00:00:00+00:00"),
        row(500, batch_size=8, created="2026-01-01T00:00:00+00:00"),
        row(200, batch_size=16),
    ]
    figure = registry.draw("batches", records)
    line = figure.axes[0].lines[0]
    assert list(line.get_ydata()) == pytest.approx([100, 200])
    assert "Left out: earlier rows of the same configuration and batch size (1)." in caption_of(
        figure
    )


def test_a_sweep_of_other_threads_is_another_line() -> None:
    records = [
        row(rate * size, batch_size=size, num_threads=num_threads)
        for num_threads, rate in ((1, 10), (8, 50))
        for size in (8, 16)
    ]
    figure = registry.draw("batches", records)
    legend = figure.axes[-1].get_legend()
    assert legend is not None
    assert [text.get_text() for text in legend.get_texts()] == ["1 thread", "8 threads"]
    lines = [list(x.get_ydata()) for x in figure.axes[0].lines if len(x.get_ydata()) == 2]
    assert pytest.approx([80, 160]) in lines
    assert pytest.approx([400, 800]) in lines
    assert "thread" not in caption_of(figure)
    assert "Left out" not in caption_of(figure)


def test_gpus_with_images_per_joule_and_no_lone_configuration() -> None:
    lone = row(gpu=GPUS[0], model="alexnet", weights="V1")
    figure = registry.draw("gpus", [*on_gpus(), lone, row()])
    texts = columns_of(figure)
    assert {"15.0", "14.0", "10.0", "0.78x", "0.33x", "1.00x", "600"} < set(texts)
    assert "ratio toNVIDIA H200(made up)" in {text.replace("\n", "") for text in texts}
    mean = "over the 2 models that every device has (resnet50, vgg16): NVIDIA H200 (made up) 1.00x"
    said = f"Ratios are to {GPUS[0]}. Geometric mean of the ratios, {mean}, {GPUS[1]} 0.78x, "
    assert said in caption_of(figure)
    assert {"resnet50", "vgg16"} < {text.get_text() for text in figure.texts}
    assert "Left out: rows whose configuration one GPU alone ran (1)." in caption_of(figure)


@pytest.mark.parametrize(
    ("plot", "records", "reason"),
    [
        ("accuracy-throughput", [row(accuracy=None)], "No valid row has an accuracy"),
        ("accuracy-throughput", [invalid()], "No valid row has an accuracy"),
        ("accuracy", [row(accuracy=None)], "No row has an accuracy"),
        ("loaders", [invalid()], "No row is valid"),
        ("latency", [invalid()], "No row is valid"),
        (
            "batches",
            [row(), row(batch_size=8, model="other")],
            "No configuration has several batch",
        ),
        ("scaling", [row()], "No configuration has several numbers of ranks"),
        ("scaling", [of_ranks(9), of_ranks(9, 9, loader="b")], "several numbers of ranks"),
        ("gpus", [row()], "No valid row ran on a GPU"),
        ("gpus", [row(gpu=GPUS[0]), row(gpu=GPUS[1], dtype="float16")], "measured on two GPUs"),
        ("gpus", [], "There is no record"),
    ],
)
def test_refusals_say_what_is_missing(plot: str, records: list[Record], reason: str) -> None:
    with pytest.raises(NothingToShowError, match=reason):
        registry.draw(plot, records)


def test_every_plot_that_applies_is_written_and_the_others_are_explained(tmp_path: Path) -> None:
    skipped: list[str] = []
    paths = registry.write_plots(
        [real("torchvision"), real("dali")],
        tmp_path / "new",
        kinds=("png", "svg"),
        on_skip=skipped.append,
    )
    assert [path.name for path in paths] == [
        f"{name}.{kind}"
        for name in ("accuracy-throughput", "loaders", "latency", "accuracy")
        for kind in ("png", "svg")
    ]
    named = [text.split(":")[0] for text in skipped]
    assert named == ["No plot 'batches'", "No plot 'scaling'", "No plot 'gpus'"]
    for path in paths:
        if path.suffix == ".svg":
            assert "<svg" in path.read_text()
            continue
        with Image.open(path) as image:
            assert image.format == "PNG"
            assert 800 <= image.size[0] <= 1800


def test_the_same_records_give_the_same_bytes_whatever_style_is_set(tmp_path: Path) -> None:
    def write(folder: Path) -> list[bytes]:
        named = ("accuracy-throughput", "loaders")
        paths = registry.write_plots([real("torchvision"), real()], folder, named, ("png", "svg"))
        assert len(paths) == 4
        return [path.read_bytes() for path in paths]

    first = write(tmp_path)
    changed = {"font.size": 23, "axes.facecolor": "red", "lines.linewidth": 9, "savefig.dpi": 20}
    with mpl.rc_context(changed):
        assert write(tmp_path) == first
        assert mpl.rcParams["font.size"] == 23


def test_what_cannot_be_asked_for(tmp_path: Path) -> None:
    with pytest.raises(UnknownNameError, match="Did you mean 'loaders'"):
        registry.write_plots([row()], tmp_path, ["loader"])
    with pytest.raises(UsageError, match=r"cannot be 'gif'\. Write png or svg"):
        registry.write_plots([row()], tmp_path, kinds=["gif"])
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="cannot be written"):
        registry.write_plots([row()], tmp_path / "file", ["loaders"])
    damaged = msgspec.structs.replace(row(), data={"root": "/x"})
    with pytest.raises(RecordError, match="damaged"):
        registry.write_plots([damaged], tmp_path, ["loaders"])


def test_all_plots_are_registered_and_explained() -> None:
    folder = Path(registry.__file__).parent
    for plot in registry.PLOTS.values():
        assert (folder / f"{plot.module}.py").exists()
        assert plot.meaning


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "plots"
    assert (
        main(["report", str(RECORDS / "cpu-2-cores"), "--plots", str(folder), "--plot", "loaders"])
        == 0
    )
    assert capsys.readouterr().out == f"{folder / 'loaders.png'}\n"
    assert [path.name for path in folder.iterdir()] == ["loaders.png"]
    # A plot that was named and cannot be drawn is a failure; of all there are, it is not.
    assert (
        main(["report", str(RECORDS / "cpu-2-cores"), "--plots", str(folder), "--plot", "gpus"])
        == 1
    )
    assert "No plot 'gpus': No valid row ran on a GPU." in capsys.readouterr().err
    assert main(["report", str(RECORDS / "cpu-2-cores"), "--plots", str(folder), "--svg"]) == 0
    assert len(list(folder.glob("*.svg"))) == 4
    assert "No plot 'gpus'" in capsys.readouterr().err
    assert main(["report", str(RECORDS / "cpu-2-cores"), "--svg"]) == 2
    assert "Name one with --plots." in capsys.readouterr().err
