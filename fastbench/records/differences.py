"""What is not the same in two records? What makes them unlike, what was set, what it ran on.

Records that differ in batch size, images, dtype, page cache, preprocessing or reference are
*unlike*: a ratio of theirs says nothing of the rest. Everything else that differs is what changed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from fastbench.core.config import OPTIONS
from fastbench.core.loader_facts import VERSION_SETTINGS
from fastbench.core.options import spelt
from fastbench.records.facts import FACTS, MACHINE, PACKAGES, PREPROCESS, RUN

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from fastbench.records.facts import Fact
    from fastbench.records.record import Record

MUST_BE_ALIKE: Final = (
    *("batch", "dtype", "images", "digest", "page-cache"),
    *(*PREPROCESS, "reference"),
)
"""The facts in which two records must not differ."""
_SETTINGS: Final = tuple(
    fact
    for name, fact in FACTS.items()
    if fact.topic == RUN and name not in {*MUST_BE_ALIKE, "device", "decoder", "reads-images"}
)
"""The device is told with the machine, the decoder with the loader's settings."""


@dataclass(frozen=True)
class Difference:
    """Something that is not the same in both records; None where a record does not know it.

    Of several runs that are not alike among themselves, a side is the tuple of what they know.
    """

    name: str
    a: Any
    b: Any


def split_unlike(a: Record, b: Record) -> tuple[list[Difference], list[Difference]]:
    """What must be alike and is not: what makes the two unlike, and what one does not know.

    What a record does not know, as one of an old version, is not known to be unlike.
    """
    unlike: list[Difference] = []
    unknown: list[Difference] = []
    for name in MUST_BE_ALIKE:
        for difference in _differences(FACTS[name], a, b):
            known = difference.a is not None and difference.b is not None
            (unlike if known else unknown).append(difference)
    return unlike, unknown


def setting_differences(a: Record, b: Record) -> list[Difference]:
    """What was set otherwise: the row, its options, and the loader's settings."""
    facts = [difference for fact in _SETTINGS for difference in _differences(fact, a, b)]
    return [*facts, *_later_options(a, b), *_loader_settings(a, b)]


def environment_differences(a: Sequence[Record], b: Sequence[Record]) -> list[Difference]:
    """The machine, its state and its software, where the runs of A have others than those of B."""
    of_a, of_b = ([facts_of_environment(record) for record in runs] for runs in (a, b))
    names = dict.fromkeys(name for facts in (*of_a, *of_b) for name in facts)
    return [
        difference
        for name in names
        for difference in _unequal(name, _values(of_a, name), _values(of_b, name))
    ]


def facts_of_environment(record: Record) -> dict[str, Any]:
    """What a record was measured on, by what people call it; None where it does not know."""
    facts = (fact for fact in FACTS.values() if fact.name == "device" or fact.topic == MACHINE)
    packages = record.environment.get("packages", {})
    return {
        **{fact.heading: _shown(fact, record) for fact in facts},
        **{name: version for name, version in packages.items() if name not in PACKAGES},
    }


def _shown(fact: Fact, record: Record) -> Any:
    """A value for people and programs: a digest is shortened, a number stays one."""
    value = fact.of(record)
    return fact.show(value) if isinstance(value, str) else value


def _values(facts: Sequence[dict[str, Any]], name: str) -> Any:
    """The one value of the runs that know it, or all there are, in an order that is not theirs."""
    known = dict.fromkeys(value for each in facts if (value := each.get(name)) is not None)
    if len(known) > 1:
        return tuple(sorted(known, key=str))
    return next(iter(known), None)


def _differences(fact: Fact, a: Record, b: Record) -> Iterator[Difference]:
    if fact.of(a) != fact.of(b):
        yield Difference(fact.heading, _shown(fact, a), _shown(fact, b))


def _later_options(a: Record, b: Record) -> Iterator[Difference]:
    """Options that a later version has, and this one does not."""
    for name in sorted({*a.config, *b.config} - {*OPTIONS}):
        yield from _unequal(spelt(name), a.config.get(name), b.config.get(name))


def _loader_settings(a: Record, b: Record) -> Iterator[Difference]:
    """The loader's settings: one by one, or all of them in one where the loaders differ."""
    if a.loader != b.loader:
        yield from _unequal("loader settings", a.loader_settings, b.loader_settings)
        return
    seen = {("num_threads", a.num_threads, b.num_threads)}
    for name in sorted({*a.loader_settings, *b.loader_settings} - VERSION_SETTINGS):
        of_a, of_b = a.loader_settings.get(name), b.loader_settings.get(name)
        if (name, of_a, of_b) not in seen:
            yield from _unequal(f"{a.loader}: {name}", of_a, of_b)


def _unequal(name: str, a: Any, b: Any) -> Iterator[Difference]:
    if a != b:
        yield Difference(name, a, b)
