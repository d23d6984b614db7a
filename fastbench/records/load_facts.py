"""The facts of a row under load: how its queries arrive, and what limits it.

They are facts as those of `facts.py`, which rows of `fastbench run` do not have.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from fastbench.core.load_options import LOAD_OPTIONS, LoadConfig
from fastbench.core.units import format_quantity
from fastbench.records.fact import Fact
from fastbench.records.load import SERVER, Limit, LoadRecord

if TYPE_CHECKING:
    from collections.abc import Callable

    from fastbench.core.config import RunConfig

LOAD: Final = "how queries arrive"
SEARCHED: Final = "highest rate"
"""The rate of a row that searched for it."""
_NONE: Final = "none"
"""What a fact is of a scenario that does not have it; a record that does not know it is another."""
_MULTI_STREAM: Final = "multi-stream"


def format_limit_s(seconds: float) -> str:
    """`15 ms`, `0 ms`."""
    return f"{1000 * seconds:g} ms"


def _fact(
    option: str,
    meaning: str,
    read: Callable[[LoadRecord], Any],
    plan: Callable[[LoadConfig], Any],
    **more: Any,
) -> Fact:
    """A fact of this option; of rows and configurations that are not under load it is not said."""
    name = more.pop("name", option.replace("_", "-"))
    return Fact(
        **{
            "name": name,
            "heading": name.replace("-", " "),
            "meaning": meaning,
            "topic": LOAD,
            "read": lambda row: read(row) if isinstance(row, LoadRecord) else None,
            "plan": lambda config: _planned(config, plan),
            "default": _NONE,
            "unsaid": _NONE,
            **more,
        }
    )


def _planned(config: RunConfig, plan: Callable[[LoadConfig], Any]) -> Any:
    value = plan(config) if isinstance(config, LoadConfig) else None
    return _NONE if value is None else value


def _planned_rate(config: LoadConfig) -> Any:
    return (config.rate or SEARCHED) if config.scenario == SERVER else None


def _rate(record: LoadRecord) -> Any:
    if record.scenario != SERVER:
        return None
    return SEARCHED if record.is_search else record.result.offered_per_s


def _planned_limit(config: LoadConfig) -> str | None:
    seconds, pct = config.latency_limit
    return str(Limit(seconds=seconds, pct=pct)) if config.scenario == SERVER else None


OF_LOAD: Final = (
    _fact(
        "scenario",
        LOAD_OPTIONS["scenario"].help,
        lambda record: record.scenario,
        lambda config: config.scenario,
    ),
    _fact(
        "images_per_query",
        "images of a query of multi-stream",
        lambda record: record.images_per_query if record.scenario == _MULTI_STREAM else None,
        lambda config: config.images_per_query if config.scenario == _MULTI_STREAM else None,
        template="{} images a query",
        within=("scenario",),
    ),
    _fact(
        "rate",
        "queries a second that were to arrive; or that the highest rate was searched for",
        _rate,
        _planned_rate,
        show=lambda rate: rate if isinstance(rate, str) else f"{format_quantity(rate)} queries/s",
        within=("scenario",),
    ),
    _fact(
        "latency",
        "what the query latency may be at a percentile, from the scheduled arrival to the answer",
        lambda record: str(record.limit) if record.limit else None,
        _planned_limit,
        name="latency-limit",
        template="limit {}",
        within=("scenario",),
    ),
    _fact(
        "max_wait",
        LOAD_OPTIONS["max_wait"].help,
        lambda record: record.max_wait_s,
        lambda config: config.max_wait_s,
        show=format_limit_s,
        template="max wait {}",
    ),
    _fact(
        "source",
        LOAD_OPTIONS["source"].help,
        lambda record: record.source,
        lambda config: config.source,
        show=lambda source: "files" if source == "file" else source,
        template="JPEGs from {}",
    ),
)
"""The facts of a row under load, in the order in which its name has them."""
