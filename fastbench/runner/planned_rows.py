"""What options ask for, row by row: models x engines x number formats x batch sizes x loaders.

A row is one `RunConfig` with one model and one loader. The rows of a model are together, and of
rows that differ in the loader alone the reference's comes first; it has none where `--loader` names
others.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import itertools
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from fastbench.core.config import OPTIONS, SWEPT, RunConfig
from fastbench.core.engine_facts import BUILT_IN as ENGINES
from fastbench.core.engine_facts import COMPILE, QUANTIZED_BY, UNNAMED
from fastbench.core.errors import ModelError, UsageError
from fastbench.core.loader_facts import BUILT_IN
from fastbench.core.options import flag, parse_loader_option, parse_own_option
from fastbench.core.value_types import CALIBRATION_AUTO
from fastbench.engines import registry as engines
from fastbench.engines.mixes import engine_of_model
from fastbench.loaders import registry
from fastbench.runner.weights_by_model import weights_of

if TYPE_CHECKING:
    from collections.abc import Mapping

ALL: Final = "all"
_HALF: Final = ("float16", "bfloat16")
NOT_OF_THE_ROW: Final = frozenset(
    name for name, option in OPTIONS.items() if option.changes == "nothing"
)
"""Options that change nothing in a row's record."""


@dataclass(frozen=True)
class PlannedRow:
    """One configuration: one model, one loader.

    `only_if_here`: its loader was not asked for by name. `only_if_engine`: nor was its engine;
    `only_if_room`: nor its number of ranks. `number` is which of its repeats it is.
    """

    config: RunConfig
    only_if_here: bool = False
    only_if_engine: bool = False
    only_if_room: bool = False
    number: int = 1

    @property
    def model(self) -> str:
        """The row's model."""
        return self.config.model[0]

    @property
    def loader(self) -> str:
        """The row's loader; the configuration's `loaders` has the reference as well."""
        return self.config.timed_loader

    @property
    def digest(self) -> str:
        """What the row's result depends on, as a digest of its options."""
        return digest_of(self.config, self.model, self.loader)

    @property
    def key(self) -> tuple[str, int]:
        """What no other row of the plan has."""
        return self.digest, self.number

    @property
    def group(self) -> tuple[object, ...]:
        """Equal for rows that differ in the loader alone."""
        return self.model, *(getattr(self.config, name) for name in SWEPT)


def single(options: Mapping[str, Any]) -> RunConfig:
    """The options as one configuration. Raises `UsageError` if one has several values."""
    for name in SWEPT:
        if len(options.get(name, ())) > 1:
            raise UsageError(
                f"{flag(name)} is given {len(options[name])} times, and --ab compares two "
                f"configurations. Give it once."
            )
    config = _first(options, options.get("loader", ()))
    if any(text.startswith("quantize=") for text in config.ab):
        config = calibrated(config)
    several = {*weights_of(options, config.models).values()}
    if len(several) > 1:
        raise UsageError(
            "--weights has several values, and --ab compares two configurations. Give it once."
        )
    return dataclasses.replace(config, weights=several.pop())


def expand(options: Mapping[str, Any]) -> tuple[PlannedRow, ...]:
    """The rows that options ask for.

    Raises `UsageError` for a wrong value, `UnknownNameError` for an unknown loader or engine.
    """
    asked = tuple(options.get("loader", ()))
    named = tuple(name for name in asked if name != ALL)
    every = (*BUILT_IN, *sorted(registry.installed())) if ALL in asked else ()
    whole = _first(options, (*named, *every))
    if "int8" in options.get("quantize", ()):
        whole = calibrated(whole)
    values = {name: dict.fromkeys(options.get(name, (getattr(whole, name),))) for name in SWEPT}
    if "compile" in options and "engine" in options:
        raise UsageError(
            "--compile and --engine are both given, and compile is an engine. "
            "Give --engine compile beside the others."
        )
    compiled = True in values["compile"] or COMPILE in values["engine"]
    if len(values["compile_mode"]) > 1 and not compiled:
        raise UsageError(
            "--compile-mode is given more than once, and no row is compiled. Give --compile too, "
            "or leave it out."
        )
    every_kind = [
        dict(zip(SWEPT, each, strict=True)) for each in itertools.product(*values.values())
    ]
    # Without compilation rows cannot differ in its mode, beside float32 rows the others not in
    # TensorFloat-32, and an engine that does not quantise has its rows without that.
    beside_float32 = "float32" in values["dtype"]
    beside_none = "none" in values["quantize"]
    kinds = [
        {
            **kind,
            **({} if _is_compiled(kind) else {"compile_mode": "default"}),
            **({"tf32": False} if beside_float32 and kind["dtype"] in _HALF else {}),
            **({"quantize": "none"} if beside_none and not _can_quantize(kind) else {}),
        }
        for kind in every_kind
    ]
    kinds = [kind for number, kind in enumerate(kinds) if kind not in kinds[:number]]
    # The reference scores a model once for all rows; it is timed where somebody asks for that.
    timed = [x for x in whole.loaders if x != whole.reference or not asked or x in (*named, *every)]
    by_name = {*named, whole.reference, *(() if every else whole.loaders)}
    weights = weights_of(options, whole.models)
    rows = tuple(
        PlannedRow(
            row_of(whole, model, loader, weights=weights[model], **kind),
            only_if_here=loader not in by_name,
        )
        for model, kind, loader in itertools.product(whole.models, kinds, timed)
    )
    for name in whole.loaders:
        registry.check_name(name)
        registry.check_options(name, whole.options_of(name))
    _check_engines(whole, rows)
    # Not next to each other: what changes with time changes all rows alike.
    return tuple(
        dataclasses.replace(row, number=number)
        for number in range(1, whole.repeat + 1)
        for row in rows
    )


def digest_of(config: RunConfig, model: str, loader: str) -> str:
    """A digest of the options that a row's result depends on."""
    told = dataclasses.asdict(config)
    for name in NOT_OF_THE_ROW:
        del told[name]
    told["engine"] = config.engine_name
    del told["compile"]
    if config.engine_name != COMPILE:
        del told["compile_mode"]
    concerned = {loader, told["reference"]}
    parsed = map(parse_loader_option, told["loader_option"])
    told["loader_option"] = {
        f"{name}.{key}": value for name, (key, value) in parsed if name in concerned
    }
    told["model"], told["loader"] = model, loader
    return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()[:16]


def _check_engines(whole: RunConfig, rows: tuple[PlannedRow, ...]) -> None:
    """Raise for an engine that nobody registered, and an option that no row's engine has."""
    run: dict[str, None] = {}
    for row in rows:
        with contextlib.suppress(ModelError):  # an engine that does not run this file
            run[engine_of_model(row.config.engine_name, row.model)] = None
    for text in whole.engine_option:
        engine, (name, value) = parse_own_option("engine_option", text)
        engines.check_name(engine)
        engines.check_options(engine, {name: value})
        if engine not in run:
            raise UsageError(
                f"--engine-option {text} is for the engine {engine!r}, which is not run. "
                f"Run: {', '.join(run)}."
            )


def calibrated(config: RunConfig) -> RunConfig:
    """With images to calibrate with: all rows of a run score the same others."""
    return dataclasses.replace(config, calibration=config.calibration or CALIBRATION_AUTO)


def _can_quantize(kind: Mapping[str, Any]) -> bool:
    engine = COMPILE if kind["compile"] else kind["engine"]
    by = QUANTIZED_BY.get(kind["quantize"])
    return by is None or engine in by or engine not in (UNNAMED, *ENGINES)


def _is_compiled(kind: Mapping[str, Any]) -> bool:
    return kind["compile"] or kind["engine"] == COMPILE


def _first(options: Mapping[str, Any], names: tuple[str, ...]) -> RunConfig:
    """One configuration with the first value of each swept option, and these loaders."""
    firsts = {name: options[name][0] for name in SWEPT if name in options}
    of_one = {name: value for name, value in options.items() if not OPTIONS[name].by_model}
    return RunConfig(**{**of_one, **firsts, "loader": names})


def row_of(whole: RunConfig, model: str, loader: str, **kind: Any) -> RunConfig:
    """One row of a configuration with several."""
    concerned = (loader, whole.reference)
    options = tuple(
        text for text in whole.loader_option if parse_loader_option(text)[0] in concerned
    )
    row = dataclasses.replace(
        whole, model=(model,), loader=(loader,), loader_option=options, **kind
    )
    if row.engine_name == UNNAMED:
        return row
    own = tuple(x for x in row.engine_option if x.partition(".")[0] == row.engine_name)
    return dataclasses.replace(row, engine_option=own)
