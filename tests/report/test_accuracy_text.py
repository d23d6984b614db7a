"""The accuracy study: its text to the letter, and a picture in which nothing hides anything."""

import io
import itertools
from pathlib import Path

import msgspec
import pytest
from builders.records import make
from builders.runs import run
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.text import Text
from PIL import Image

from fastbench.core.errors import OutputError
from fastbench.records.accuracy import Accuracy, Published, Running
from fastbench.records.record import Record
from fastbench.records.speed import Throughput
from fastbench.report.columns.column import Row
from fastbench.report.columns.registry import COLUMNS
from fastbench.report.formats import accuracy_text
from fastbench.report.plots import accuracy, style
from fastbench.report.sheet.row_in_words import predictions

MODELS = [
    "alexnet",
    "vgg16",
    "resnet18",
    "googlenet",
    "squeezenet1_0",
    "shufflenet_v2_x0_5",
    "mobilenet_v3_large",
    "efficientnet_v2_m",
    "regnet_x_400mf",
    "convnext_large",
    "vit_h_14",
    "wide_resnet101_2",
]


def alexnet(**changes: object) -> Record:
    record = make(
        model="alexnet",
        weights="IMAGENET1K_V1",
        labels="mapped by ImageNet wnid",
        data={
            "root": "/data/imagenet/val",
            "num_samples": 50_000,
            "num_bytes": 6_300_000_000,
            "num_classes": 1000,
        },
        accuracy=Accuracy(num_samples=50_000, top1_correct=28_251, top5_correct=39_533),
        published=Published(top1=0.56522, top5=0.79066),
        throughput=Throughput(
            num_images=50_000,
            num_epochs=1,
            batch_size=32,
            wall_s=200.0,
            step_times_s=[200 / 1563] * 1563,
        ),
    )
    return msgspec.structs.replace(record, **changes)


def study_of(
    num_models: int, loaders: tuple[str, ...] = ("dali",), hits: int = 700
) -> list[Record]:
    accuracy = Accuracy(num_samples=1000, top1_correct=hits, top5_correct=min(1000, hits + 200))
    return [
        make(
            model=model,
            loader=loader,
            accuracy=accuracy,
            parity=None,
            published=Published(top1=0.71, top5=0.91),
        )
        for model in MODELS[:num_models]
        for loader in loaders
    ]


def test_the_text_to_the_letter() -> None:
    assert (
        accuracy_text.summary([alexnet()])
        == """\
Top-1 and top-5 accuracy
════════════════════════════════════════════════════════════════════════════════
data        /data/imagenet/val, 50,000 JPEGs, 126.0 kB each, 1,000 classes
machine     A CPU, 2 cores
conditions  cpu, float32, batch 32, eager
loader      dali
date        2026-01-02 03:04:05 UTC
command     fastbench run

alexnet
────────────────────────────────────────────────────────────────────────────────
weights     IMAGENET1K_V1
throughput  250 images/s, 2 threads
n           50,000 images, labels mapped by ImageNet wnid

                 %   95 % interval        hits    published %    Δ points
top-1        56.50     56.07–56.94      28,251          56.52       −0.02
top-5        79.07     78.71–79.42      39,533          79.07        0.00

95 % interval: Wilson's, of the share of hits among n.
Published: what the weights' publisher states for all of ImageNet's validation
set; Δ: measured less published, in percentage points.
"""
    )


def test_without_published_figures_nothing_is_compared() -> None:
    text = accuracy_text.summary([make(published=None)])
    assert "top-1        92.30     90.48–93.80         923\n" in text
    assert "top-5        99.00     98.17–99.46         990\n" in text
    assert "ublished" not in text
    assert "Δ" not in text


def test_top_5_of_five_classes_says_nothing() -> None:
    counts = {"num_samples": 1000, "top1_correct": 923, "top5_correct": 1000}
    running = [Running(**counts)]
    for num_classes, is_shown in ((5, False), (6, True), (None, True)):
        record = make(
            published=None, accuracy=Accuracy(**counts, num_classes=num_classes, running=running)
        )
        row = Row(record=record)
        assert ("top-5  " in accuracy_text.summary([record])) is is_shown
        assert ("% top-5" in accuracy_text.summary([record])) is is_shown
        assert (row.value(COLUMNS["top-5"]) is not None) is is_shown
        assert (row.bounds(COLUMNS["top-5"]) is not None) is is_shown
        bars = {bar.get_label() for bar in accuracy.figure([record]).axes[0].containers}
        assert ("top-5" in bars) is is_shown
        assert ("1,000 hits of top-1 and top-5" in predictions(row)) is is_shown


def test_a_row_without_accuracy_says_why() -> None:
    unlabelled = make(accuracy=None, labels="no labels: the images have no class folders")
    text = accuracy_text.summary([make(model="resnet18"), unlabelled])
    assert "accuracy    none: the images have no class folders\n" in text
    assert text.count("top-1   ") == 1


def test_what_differs_is_said_of_each_row() -> None:
    rows = [
        make(loader="torchvision", created="2026-01-02T03:00:00+00:00"),
        make(dtype="float16", compile_mode="default", created="2026-01-02T04:00:00+00:00"),
    ]
    text = accuracy_text.summary(rows)
    assert "\nsample · torchvision · float32 · eager\n" in text
    assert "\nsample · dali · float16 · compile\n" in text
    assert "conditions  cpu, float16, batch 32, compile\n" in text
    assert "date        2026-01-02 03:00:00 UTC to 2026-01-02 04:00:00 UTC\n" in text
    assert text.count("\nmachine ") == 1
    assert "\nloader " not in text


def test_what_is_in_doubt_is_said() -> None:
    text = accuracy_text.summary([run(100, weights="none")])
    assert "\ndoubt       accuracy in doubt: the model's weights are random, so its" in text


def test_two_weights_of_one_model_are_told_apart() -> None:
    text = accuracy_text.summary([make(weights="V1"), make(weights="V2")])
    assert "\nsample · weights V1\n" in text
    assert "\nsample · weights V2\n" in text


def test_doubts_are_repeated() -> None:
    text = accuracy_text.summary([make(notes=["hits differ"], config={"quick": True})])
    assert "note        hits differ\n" in text
    assert "--quick" in text


def test_a_row_that_does_not_count_says_so() -> None:
    few = Accuracy(num_samples=50_000, top1_correct=26_000, top5_correct=39_533)
    assert "\nFAIL        top-1 is 52.00 %, published 56.52 % (-4.52 points; gate: 0.3" in (
        accuracy_text.summary([alexnet(accuracy=few)])
    )
    more = msgspec.structs.replace(few, top1_correct=40_000)
    assert "INVALID     40,000 hits of top-1 and 39,533 of top-5 among 50,000 samples\n" in (
        accuracy_text.summary([alexnet(accuracy=more)])
    )
    for word in ("FAIL", "INVALID"):
        assert word not in accuracy_text.summary([alexnet()])


def test_the_gpu_is_the_machine_of_a_row_that_ran_on_it() -> None:
    environment = {"cpu": None, "num_cores": 16, "gpus": [{"name": "A GPU"}]}
    assert "A GPU, 16 cores" in accuracy_text.summary(
        [make(device="cuda:0", environment=environment)]
    )
    assert "A GPU" not in accuracy_text.summary([make(environment=environment)])


def test_the_text_has_80_columns() -> None:
    row = alexnet(
        data={"root": "/a-long-name" * 20, "num_samples": 50_000, "num_classes": 1000},
        command="fastbench run " + "--model alexnet " * 20,
        environment={"cpu": "A CPU of many words " * 9, "num_cores": 2, "gpus": []},
        notes=["word " * 40],
        weights="a" * 100,
    )
    for text in (accuracy_text.summary([row]), accuracy_text.summary([row, make(model="m" * 90)])):
        assert max(map(len, text.splitlines())) == 80
        assert not [line for line in text.splitlines() if line != line.rstrip()]
        assert "a" * 68 in text


@pytest.mark.parametrize("num_models", [1, 4, 12])
def test_the_picture_is_a_png_of_sane_size(num_models: int, tmp_path: Path) -> None:
    _, path = accuracy_text.write_study(study_of(num_models), tmp_path)
    with Image.open(path) as image:
        assert image.format == "PNG"
        width, height = image.size
        assert 800 <= width <= 2400
        assert 650 <= height <= 900
        assert len(image.convert("RGB").getcolors(1 << 20) or []) > 20
    assert path.stat().st_size < 500_000


def texts_of(figure: Figure) -> list[Text]:
    return [text for text in figure.findobj(Text) if text.get_visible() and text.get_text()]


@pytest.mark.parametrize(
    "rows",
    [
        study_of(1),
        study_of(4),
        study_of(12),
        study_of(12, ("torchvision-gpu", "dali")),
        study_of(7, ("torchvision-gpu", "dali")),
        study_of(12, hits=1000),
        study_of(2, hits=0),
        [*study_of(3), make(model="a_model_whose_name_is_long_and_withoutabreakforawhile")],
    ],
    ids=["1", "4", "12", "two rows", "uneven rows", "all right", "all wrong", "long name"],
)
def test_no_text_of_the_picture_meets_another(rows: list[Record]) -> None:
    figure = accuracy.figure(rows)
    canvas = figure.canvas
    assert isinstance(canvas, FigureCanvasAgg)
    canvas.draw()
    boxes = [(text.get_text(), text.get_window_extent()) for text in texts_of(figure)]
    for text, box in boxes:
        assert box.x0 >= 0, text
        assert box.y0 >= 0, text
        assert box.x1 <= figure.bbox.x1, text
        assert box.y1 <= figure.bbox.y1, text
    for (one, its), (other, others) in itertools.combinations(boxes, 2):
        assert not its.overlaps(others), f"{one!r} meets {other!r}"


@pytest.mark.parametrize(
    ("name", "lines"),
    [
        ("alexnet", ["alexnet"]),
        ("torchvision-gpu", ["torchvision-gpu"]),
        ("wide_resnet101_2", ["wide_", "resnet101_2"]),
        ("mobilenet_v3_large", ["mobilenet_", "v3_large"]),
        ("a" * 20, ["a" * 15, "a" * 5]),
        ("-", ["-"]),
    ],
)
def test_names_fold_into_lines_of_like_length(name: str, lines: list[str]) -> None:
    assert style.fold(name, 15) == lines


def test_the_legend_names_what_is_drawn() -> None:
    def entries(rows: list[Record]) -> list[str]:
        legend = accuracy.figure(rows).axes[0].get_legend()
        assert legend is not None
        return [text.get_text() for text in legend.get_texts()]

    assert entries([make(published=None)]) == ["top-1", "top-5", "95 % interval (Wilson)"]
    assert entries([make(published=None), alexnet()])[-1] == "published"


def test_the_picture_says_what_was_run_and_what_is_not_in_it() -> None:
    unlabelled = make(model="vgg16", accuracy=None, data={"root": "/b", "num_samples": 7})
    figure = accuracy.figure([alexnet(), unlabelled])
    (caption,) = [text.get_text() for text in texts_of(figure) if "n=" in text.get_text()]
    assert " ".join(caption.split()) == (
        "imagenet/val · 50,000 JPEGs, 126.0 kB each, 1,000 classes · alexnet · "
        "weights IMAGENET1K_V1 · dali · A CPU · float32 · batch 32 · eager · 2 threads · 2 cores · "
        "2026-01-02 · n=50,000 Without accuracy: vgg16."
    )
    ticks = [label.get_text() for label in figure.axes[0].get_xticklabels()]
    assert ticks == ["alexnet"]


def test_names_that_matplotlib_would_take_for_mathematics(tmp_path: Path) -> None:
    data = {"root": "/$x_{$/\udc80/画像", "num_samples": 1000}
    paths = accuracy_text.write_study([make(model="$a$_b", data=data)], tmp_path)
    assert "/$x_{$/\\udc80/画像" in paths[0].read_text()
    figure = accuracy.figure([make(model="$a$_b", data=data)])
    assert any(text.get_text().startswith("$a$_b") for text in texts_of(figure))


def test_what_is_written(tmp_path: Path) -> None:
    rows = study_of(1)
    paths = [path for _ in range(2) for path in accuracy_text.write_study(rows, tmp_path)]
    assert [path.name for path in paths] == [
        "accuracy.txt",
        "accuracy.png",
        "accuracy-2.txt",
        "accuracy-2.png",
    ]
    assert paths[0].read_text("utf-8") == accuracy_text.summary(rows)
    with Image.open(io.BytesIO(paths[1].read_bytes())) as image:
        assert image.format == "PNG"


def test_text_and_picture_bear_one_number(tmp_path: Path) -> None:
    (tmp_path / "accuracy.png").touch()
    paths = accuracy_text.write_study(study_of(1), tmp_path)
    assert [path.name for path in paths] == ["accuracy-2.txt", "accuracy-2.png"]
    assert not (tmp_path / "accuracy.txt").exists()


def test_without_any_accuracy_nothing_is_written(tmp_path: Path) -> None:
    assert accuracy_text.write_study([make(accuracy=None)], tmp_path) == []
    assert accuracy_text.write_study([], tmp_path) == []
    assert not list(tmp_path.iterdir())


def test_a_folder_that_went_away(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match=r"cannot be written to .*gone \(No such file"):
        accuracy_text.write_study([make()], tmp_path / "gone")
