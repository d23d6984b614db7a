"""A record with one thing changed is refused, INVALID, or says what it said; or it is known here.

Each mutation of the golden record is read and judged, and some are shown in every format. The sets
below name what has no other number to be held against: whatever else is accepted fails.
"""

import contextlib
import io
import json
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from builders.mutations import Mutation, mutations
from builders.paths import GOLDEN
from rich.console import Console

from fastbench.core.errors import RecordError
from fastbench.records.record import Record
from fastbench.records.stages import Stages
from fastbench.records.store import build_record, read_record
from fastbench.records.validity import find_contradictions
from fastbench.report.columns.column import INVALID, Row
from fastbench.report.compare.ci_gate import Gates
from fastbench.report.compare.show import compare_files
from fastbench.report.formats import accuracy_text, export, run_screen, terminal
from fastbench.report.html import page
from fastbench.report.plots.registry import draw
from fastbench.report.sheet.sheet import make_sheet
from fastbench.report.sheet.table import Sheet
from fastbench.report.sheet.view import View

FILE = GOLDEN / "record-v8.json"

STATED = {"config", "environment", "preprocess", "loader_settings", "tuning", "notes"}
"""All below these: what was set, and on what machine."""
FREE = {
    # counted or measured once
    *("num_threads", "num_parameters", "num_macs", "num_changed", "published.top1"),
    *(f"data.{name}" for name in ("num_classes", "num_bytes", "mean_pixels", "largest", "skipped")),
    *("data.skipped.loader", "tuning_s"),
    *(f"stages.{name}" for name in Stages.__struct_fields__),
    *(f"compilation.{name}" for name in ("num_graphs", "num_graph_breaks", "num_recompiles")),
    *(
        f"warm_up.{name}"
        for name in (
            *("model_load_s", "loader_start_s", "compile_s", "first_batch_s"),
            *("num_batches", "wall_s"),
        )
    ),
    *("latency.samples_s", "other_latencies.samples_s", "other_latencies"),
    "other_latencies.batch_size",
    # as many batches as there was time for
    *("loader_ceiling.cpu_s", "model_ceiling.cpu_s"),
    *("rounds.end_to_end.num_images", "rounds.end_to_end.wall_s"),
    *(
        f"rounds.{part}.{name}"
        for part in ("end_to_end", "loader", "model")
        for name in ("num_steps", "wait_s")
    ),
    # within a larger number
    *(f"telemetry.{name}" for name in ("num_cores", "cpu_quota", "num_periods", "num_throttled")),
    "throughput.windows.wait_s",
    *(
        "accuracy.num_classes",
        "accuracy.per_class.outputs",
        "accuracy.confusions.predicted",
        "accuracy.confusions.count",
    ),
    *("accuracy.running.top1_correct", "accuracy.running.top5_correct"),
    *("parity.num_agreeing", "parity.only_reference_correct", "parity.only_row_correct"),
    "parity.num_uncompared",
    *(
        f"parity.{of}.{name}"
        for of in ("pixels", "stood_out")
        for name in (
            *("num_samples", "num_agreeing", "max_levels", "mean_levels", "worst_mean_levels"),
            *("share_above_one", "max_logits", "mean_logits"),
        )
    ),
    # readings of sensors
    *(
        f"telemetry.{name}"
        for name in (
            *("wall_s", "interval_s", "cpu_s", "foreign_cpu_s", "rss_bytes"),
            *("kernel_cpu_s", "num_faults"),
        )
    ),
    *(
        f"telemetry.gpu.{name}"
        for name in (
            *("energy_j", "power_w", "power_limit_w", "sm_clock_mhz", "temperature_c"),
            *("sm_utilization_pct", "memory_utilization_pct", "jpeg_utilization_pct"),
            *("memory_used_bytes", "throttle_reasons", "num_foreign_processes"),
        )
    ),
}
SAYS_LESS = {
    "model_ceiling": {"of-ceiling", "bound"},
    "parity.pixels": {"compared"},
    "parity.stood_out": {"parity-max", "compared"},
}
"""Where one of several figures is gone, what is said of those that are left."""
GONE = ("null", "removed", "empty")
NOTHING = ("–", "")


@dataclass(frozen=True)
class Read:
    """A mutation that is not refused."""

    mutation: Mutation
    record: Record
    is_invalid: bool


@pytest.fixture(scope="module")
def mutated() -> list[Mutation]:
    return [*mutations(json.loads(FILE.read_text("utf-8")))]


@pytest.fixture(scope="module")
def read(mutated: list[Mutation]) -> list[Read]:
    found = []
    for mutation in mutated:
        with contextlib.suppress(RecordError):
            record = build_record(mutation.record, Path("a.json"))
            found.append(Read(mutation, record, bool(find_contradictions(record))))
    return found


def test_a_refusal_names_the_file_and_the_field(mutated: list[Mutation], read: list[Read]) -> None:
    accepted = [id(each.mutation) for each in read]
    for mutation in mutated:
        if id(mutation) in accepted:
            continue
        with pytest.raises(RecordError, match=r"^a\.json (is|has)") as refusal:
            build_record(mutation.record, Path("a.json"))
        # A file without throughput may be a record of another command.
        fields = [*mutation.name.split(".")[-2:], "fastbench parity"]
        assert any(field in str(refusal.value) for field in fields), refusal.value


def test_numbers_that_change_without_a_word_are_known(
    mutated: list[Mutation], read: list[Read]
) -> None:
    assert len(mutated) > 2000
    assert len(read) < len(mutated) / 2
    golden = read_record(FILE)
    accepted = {
        each.mutation.name
        for each in read
        if not each.is_invalid and each.mutation.what not in GONE and each.record != golden
    }
    unknown = {name for name in accepted if name.partition(".")[0] not in STATED}
    assert unknown - {name for name in unknown if name.endswith(".unknown")} == FREE


def test_what_is_gone_changes_no_other_figure(read: list[Read]) -> None:
    whole = cells(read_record(FILE))
    for each in read:
        if each.is_invalid or each.mutation.what not in GONE:
            continue
        changed = {
            name
            for name, text in cells(each.record).items()
            if text not in (*NOTHING, whole.get(name))
        }
        assert changed <= SAYS_LESS.get(each.mutation.name, set()), each.mutation


def cells(record: Record) -> dict[str, str]:
    sheet = sheet_of(record, FILE)
    return {
        column.name: cell.text
        for column, cell in zip(sheet.columns, sheet.lines[0].cells, strict=True)
    }


def sheet_of(record: Record, path: Path) -> Sheet:
    sheet, complaints = make_sheet([Row(record=record, path=path)], View(columns="all"))
    assert sheet is not None, complaints
    return sheet


def run_text(record: Record, path: Path) -> str:
    console = Console(file=io.StringIO(), width=100)
    run_screen.print_run([Row(record=record, path=path)], console)
    assert isinstance(console.file, io.StringIO)
    # A row that fails a gate has a legend with the word.
    lines = console.file.getvalue().splitlines()
    return "\n".join(line for line in lines if not line.startswith("status  "))


def compared(form: str, *, is_b: bool) -> Callable[[Record, Path], str]:
    gates = Gates(fail_below=0.9, fail_accuracy=True, require_all=True, allow_unlike=True)

    def text(_: Record, path: Path) -> str:
        pair, output = (FILE, path) if is_b else (path, FILE), path.with_suffix(".txt")
        compare_files(*pair, gates, form=form, output=output)
        return output.read_text("utf-8")

    return text


def exported(write: Callable[[Sheet], str]) -> Callable[[Record, Path], str]:
    return lambda record, path: write(sheet_of(record, path))


FORMATS = (
    exported(terminal.to_text),
    exported(export.to_markdown),
    exported(export.to_csv),
    exported(export.to_jsonl),
    exported(export.to_latex),
    exported(page.render),
    lambda record, _: accuracy_text.summary([record]),
    run_text,
    compared("table", is_b=True),
    compared("markdown", is_b=False),
    compared("json", is_b=True),
)


@pytest.mark.parametrize("number", range(len(FORMATS)))
def test_every_format_says_invalid(
    number: int, read: list[Read], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each format has its share of the mutations."""
    path = tmp_path / "a.json"
    invalid = [each for each in read if each.is_invalid]
    sound = [each for each in read if not each.is_invalid][::4]
    seen = Counter[bool]()
    path.write_bytes(FILE.read_bytes())
    usual = FORMATS[number](read_record(path), path).count(INVALID)  # a legend explains it
    for each in (*invalid[number :: len(FORMATS)], *sound[number :: len(FORMATS)]):
        path.write_text(json.dumps(each.mutation.record), "utf-8")
        text = FORMATS[number](each.record, path)
        assert (text.count(INVALID) > usual) == each.is_invalid, each.mutation
        seen[each.is_invalid] += 1
    assert min(seen[True], seen[False]) > 10
    capsys.readouterr()


def test_a_plot_leaves_out_hits_that_cannot_be(read: list[Read]) -> None:
    (odd,) = [
        each.record
        for each in read
        if (each.mutation.name, each.mutation.what) == ("accuracy.top1_correct", "x1000")
    ]
    draw("accuracy-throughput", [read_record(FILE), odd])
    texts = [text.get_text() for text in draw("accuracy", [read_record(FILE), odd]).texts]
    assert any("INVALID: " in text for text in texts)


@pytest.mark.parametrize("constant", ["NaN", "Infinity", "-Infinity"])
def test_what_is_no_number_of_json_is_refused(constant: str, tmp_path: Path) -> None:
    text = FILE.read_text("utf-8").replace('"first_batch_s": 0.4', f'"first_batch_s": {constant}')
    assert constant in text
    (tmp_path / "a.json").write_text(text, "utf-8")
    with pytest.raises(RecordError, match=f"{constant} is no number"):
        read_record(tmp_path / "a.json")
