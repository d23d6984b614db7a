"""Every option of a run is a fact of one name, in tables, plots, pages, compare and the plan."""

from typing import Any

import pytest
from builders.records import parity
from builders.runs import DATA, environment, on_gpu, run
from builders.sheets import rows_of

from fastbench.core.config import OPTIONS, RunConfig
from fastbench.core.options import Option
from fastbench.records.differences import (
    environment_differences,
    setting_differences,
    split_unlike,
)
from fastbench.records.engine import Engine
from fastbench.records.fact import Fact
from fastbench.records.facts import FACTS, OF_OPTIONS
from fastbench.records.naming import in_order, names, varying
from fastbench.records.record import Record
from fastbench.report.columns.registry import COLUMNS, SETS
from fastbench.report.html.row_panel import panel_of
from fastbench.report.sheet.footnotes import facts, make_footnotes
from fastbench.runner.plan import Plan
from fastbench.runner.planned_rows import PlannedRow

OF_A_ROW = {
    name: option
    for name, option in OPTIONS.items()
    if option.changes in ("pipeline", "measurement")
}
RESOLVED: dict[str, dict[str, Any]] = {
    "data": {"data": {**DATA, "digest": "b" * 64}},
    "data_root": {"data": {**DATA, "digest": "b" * 64}},
    "classes": {"data": {**DATA, "digest": "b" * 64}},
    "limit": {"data": {**DATA, "num_samples": 8}},
    "page_cache": {"data": {**DATA, "page_cache": "cold"}},
    "model": {"model": "other"},
    "weights": {"weights": "other"},
    "loader": {"loader": "other"},
    "loader_option": {"config": {"loader_option": ["dali.prefetch=3"]}},
    "reference": {"parity": parity(reference="other")},
    "device": on_gpu("NVIDIA H200"),
    "dtype": {"dtype": "float16"},
    "engine": {"engine": Engine(name="openvino")},
    "compile": {"compile_mode": "default"},
    "compile_mode": {"compile_mode": "max-autotune"},
    "batch_size": {"batch_size": 8},
    "image_size": {"preprocess": {"crop": 160}},
    "num_threads": {"num_threads": 8},
}
"""What another value of an option changes in a record that has its outcome in a field of its own;
the outcome of any other option is its value.
"""


def other(option: Option) -> Any:
    """A value that is not the default."""
    values: dict[str, Any] = {
        "tolerance": "1.5",
        "device": "cuda",
        "loader_option": ("dali.prefetch=3",),
        "engine": "openvino",
        "engine_option": ("openvino.hint=throughput",),
        "compile_mode": "max-autotune",
        "crop_pct": 0.5,
        "preprocess": ("mean=0.5",),
    }
    if option.name in values:
        return values[option.name]
    if option.kind is bool:
        return not option.default
    if option.choices:
        return next(choice for choice in option.choices if choice != option.default)
    value = option.kind("7")
    return (value,) if option.is_tuple else value


def fact_of(option: Option) -> Fact:
    (found,) = (fact for fact in FACTS.values() if option.name in fact.options)
    return found


def pair(option: Option) -> tuple[Record, Record]:
    """Two records that differ in the outcome of the option."""
    changes = RESOLVED.get(option.name)
    # As JSON has it.
    value = list(other(option)) if option.is_tuple else other(option)
    both: dict[str, Any] = {"parity": parity(), "preprocess": {"crop": 224}}
    return run(100, **both), run(100, **{**both, **(changes or {"config": {option.name: value}})})


@pytest.mark.parametrize("option", OF_A_ROW.values(), ids=OF_A_ROW)
def test_an_option_has_one_name_everywhere(option: Option) -> None:
    fact = fact_of(option)
    a, b = pair(option)
    assert fact.name in COLUMNS
    assert fact.name in SETS["all"]
    assert COLUMNS[fact.name].heading == fact.heading
    first, second = map(" · ".join, names([a, b]))
    assert first != second
    differences = [
        *(x for part in split_unlike(a, b) for x in part),
        *setting_differences(a, b),
        *environment_differences([a], [b]),
    ]
    assert fact.heading in {difference.name for difference in differences}
    notes, of_rows = make_footnotes([facts(each) for each in (a, a, b)], (), [[]] * 3)
    assert any(note.text.startswith(f"{fact.heading} ") for note in notes) or option.name in (
        "model",  # whose weights say it, too
        "quick",
    )
    assert of_rows[0] == []
    assert of_rows[2]
    if fact in OF_OPTIONS:
        (row,) = rows_of(b)
        assert fact.text(b).startswith(fact.name)
        assert fact.text(b) in second
        assert fact.text(b) in dict(panel_of(row))["configuration"]


@pytest.mark.parametrize("option", OF_A_ROW.values(), ids=OF_A_ROW)
def test_a_plan_calls_its_rows_by_it(option: Option) -> None:
    base: dict[str, Any] = {"model": ("m",), "loader": ("dali",)}
    if option.name == "compile_mode":
        base["compile"] = True
    if option.name == "quantize":
        base["engine"] = "openvino"
    changed = {**base, option.name: other(option)}
    rows = tuple(PlannedRow(RunConfig(**config)) for config in (base, changed))
    plan = Plan(options={}, rows=rows, output=None, finished={}, resumed=False)
    assert fact_of(option).text(rows[1].config) in plan.title(rows[1])
    assert plan.title(rows[0]) != plan.title(rows[1])


def test_the_engine_is_spelt_in_one_way() -> None:
    modes = (None, "default", "max-autotune")
    texts = [FACTS["engine"].text(run(100, compile_mode=mode)) for mode in modes]
    assert texts == ["eager", "compile", "compile max-autotune"]
    planned = [
        RunConfig(),
        RunConfig(compile=True),
        RunConfig(compile=True, compile_mode="max-autotune"),
    ]
    assert [FACTS["engine"].text(config) for config in planned] == texts


def test_a_default_goes_without_saying() -> None:
    rows = [run(100), run(100, config={"resize": "exact"}), run(100, config={"resize": "fast"})]
    assert varying(rows) == ["resize"]
    assert [name[0] for name in names(rows)] == ["run 1", "resize exact", "run 2"]


def test_what_a_record_does_not_know_is_not_another() -> None:
    unknown = run(100, environment={**environment(0), "driver": None})
    assert names([run(100, environment=environment(0)), unknown])[0] == ["run 1"]


def test_values_are_in_order() -> None:
    """Numbers in texts as numbers, whatever the case, and what is not known last."""
    texts = ["NVIDIA H100", None, "nvidia A100", "NVIDIA H20", "NVIDIA H20"]
    assert in_order(texts) == ["nvidia A100", "NVIDIA H20", "NVIDIA H100", None]
    assert in_order([128, 8, 32]) == [8, 32, 128]
    assert in_order([]) == []
