"""What users, plug-ins and scripts can see stays as it is, wherever it lives in the package.

`golden/surface.json` holds every command, option, choice, default, column, plot, format, loader,
exit code, field of a record and public import path. After a change that is meant, write it anew and
look at the diff: `uv run python -m test_surface` in this folder.
"""

from __future__ import annotations

import argparse
import dataclasses
import importlib
import json
import types
import typing
from typing import Any

import msgspec
import pytest
from builders.paths import GOLDEN

from fastbench.cli.main import make_parser
from fastbench.cli.report import ENDINGS, FORMATS
from fastbench.core import command_options, config, errors
from fastbench.core.loader_facts import BUILT_IN
from fastbench.loaders.base import GENERAL_OPTIONS
from fastbench.loaders.contract.rules import ON_DEMAND, RULES
from fastbench.records.advice import NAMES
from fastbench.records.load import LoadRecord
from fastbench.records.record import AbRecord, ParityRecord, Record
from fastbench.records.store import SCHEMA_VERSION, read_record
from fastbench.report.columns.registry import COLUMNS, OF_LOAD, SETS
from fastbench.report.plots.registry import KINDS, PLOTS
from fastbench.runner.options_file import read_preset

SURFACE = GOLDEN / "surface.json"
PUBLIC = {
    "fastbench": ["FastbenchError", "Records", "compare", "loadtest", "read_records", "run"],
    "fastbench.loaders.base": [
        *(
            "Batch",
            "CorruptImageError",
            "Loader",
            "LoaderSpec",
            "Preprocess",
            "Setting",
            "take_options",
        ),
    ],
    "fastbench.models.base": ["IMAGENET", "Model"],
}
"""What plug-ins and programs import."""


def options(parser: argparse.ArgumentParser) -> dict[str, Any]:
    """Options and arguments of a command, and those of its sub-commands, by name."""
    found: dict[str, Any] = {}
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            found |= {name: options(sub) for name, sub in action.choices.items()}
            continue
        kind = getattr(action.type, "__name__", None)
        found["/".join(action.option_strings) or action.dest] = {
            "choices": list(action.choices) if action.choices else None,
            "default": None if action.default == argparse.SUPPRESS else action.default,
            "metavar": action.metavar,
            "nargs": action.nargs,
            "repeatable": "Append" in type(action).__name__ or "Both" in type(action).__name__,
            "type": kind,
        }
    return found


def fields(kind: type[Any]) -> dict[str, Any]:
    """The fields of a record, those of its parts in turn."""
    hints = typing.get_type_hints(kind)
    return {name: _shape(hints[name]) for name in kind.__struct_fields__}


def _shape(hint: Any) -> Any:
    if typing.get_origin(hint) is list:
        return [_shape(typing.get_args(hint)[0])]
    if typing.get_origin(hint) in (types.UnionType, typing.Union):
        return {"optional": _shape(typing.get_args(hint)[0])}
    if isinstance(hint, type) and issubclass(hint, msgspec.Struct):
        return fields(hint)
    return str(getattr(hint, "__name__", hint))


KINDS_OF_RECORDS = (Record, AbRecord, ParityRecord, LoadRecord)


def surface() -> dict[str, Any]:
    """All of it, as JSON has it."""
    kinds = [
        kind
        for kind in vars(errors).values()
        if isinstance(kind, type) and issubclass(kind, errors.FastbenchError)
    ]
    found = {
        "commands": options(make_parser()),
        "defaults of a run": {
            kind.__name__: {field.name: field.default for field in dataclasses.fields(kind)}
            for kind in (config.RunConfig, command_options.PlanOptions, command_options.TuneOptions)
        },
        "swept": config.SWEPT,
        "presets": {name: read_preset(name) for name in typing.get_args(command_options.Preset)},
        "columns": {
            name: [
                *(column.heading, column.unit),
                None if column.text_unit == column.unit else column.text_unit,
                *(column.topic, column.best),
                *column.aliases,
            ]
            for name, column in (COLUMNS | OF_LOAD).items()
        },
        "sets of columns": SETS,
        "plots": {name: plot.meaning for name, plot in PLOTS.items()},
        "kinds of plot files": KINDS,
        "formats": FORMATS,
        "endings": ENDINGS,
        "loaders": {
            name: {
                field.name: getattr(entry, field.name)
                for field in dataclasses.fields(entry)
                if field.name != "target"
            }
            for name, entry in BUILT_IN.items()
        },
        "options of every loader": GENERAL_OPTIONS,
        "rules of the contract": [rule.name for rule in (*RULES, *ON_DEMAND)],
        "advice": NAMES,
        "exit codes": {
            **{
                kind.__name__: kind.exit_code
                for kind in sorted(kinds, key=lambda kind: kind.__name__)
            },
            "wrong predictions": errors.EXIT_WRONG,
            "interrupted": errors.EXIT_INTERRUPTED,
        },
        "schema version": SCHEMA_VERSION,
        "records": {kind.__name__: fields(kind) for kind in KINDS_OF_RECORDS},
        "golden records": sorted(path.name for path in GOLDEN.glob("record-*.json")),
        "public": PUBLIC,
    }
    return json.loads(json.dumps(found))  # tuples are lists there


def test_nothing_that_users_see_was_lost_or_changed() -> None:
    held, found = json.loads(SURFACE.read_text("utf-8")), surface()
    for part in held:
        assert found[part] == held[part], part
    assert found.keys() == held.keys()


@pytest.mark.parametrize("name", [f"record-v{number}.json" for number in range(1, 5)])
def test_golden_records_are_still_read(name: str) -> None:
    record = read_record(GOLDEN / name)
    assert record.throughput.images_per_s > 0
    assert record.schema_version == SCHEMA_VERSION


@pytest.mark.parametrize("module", PUBLIC)
def test_what_plug_ins_import_is_there(module: str) -> None:
    found = importlib.import_module(module)
    for name in PUBLIC[module]:
        assert hasattr(found, name), name


if __name__ == "__main__":
    text = json.dumps(surface(), indent=1, ensure_ascii=False) + "\n"
    SURFACE.write_text(text, "utf-8")
