"""What differs between two records: what makes them unlike, the settings, the machine.

Records that differ in batch size, ranks, images, dtype, TensorFloat-32, page cache, preprocessing
or reference are *unlike*: their ratio is not the effect of a change.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from fastbench.core.config import OPTIONS
from fastbench.core.loader_facts import VERSION_SETTINGS
from fastbench.core.options import spelt
from fastbench.core.units import format_value
from fastbench.records.facts import FACTS, MACHINE, PACKAGES, PREPROCESS, RUN

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from fastbench.records.fact import Fact
    from fastbench.records.record import Described, Record

MUST_BE_ALIKE: Final = (
    *("batch", "ranks", "dtype", "tf32", "images", "digest", "contents", "page-cache"),
    *(*PREPROCESS, "reference"),
)
"""The facts in which two records must not differ."""
_SETTINGS: Final = tuple(
    fact
    for name, fact in FACTS.items()
    if fact.topic == RUN
    and name not in {*MUST_BE_ALIKE, "device", "decoder", "reads-images", "preprocess-crop"}
)
"""The device is shown with the machine, the decoder with the loader's settings, the crop as image
size.
"""


@dataclass(frozen=True)
class Difference:
    """A fact that differs; None on the side that does not know it.

    If the runs of a side differ among themselves, the side is a tuple of their values.
    """

    name: str
    a: Any
    b: Any


def side_in_words(value: Any) -> str:
    """A side of a difference."""
    return "not known" if value is None else format_value(value)


def split_unlike(a: Described, b: Described) -> tuple[list[Difference], list[Difference]]:
    """The differences that make the two unlike, and those in what one of them does not know."""
    unlike: list[Difference] = []
    unknown: list[Difference] = []
    for name in MUST_BE_ALIKE:
        if name == "contents" and FACTS["digest"].of(a) != FACTS["digest"].of(b):
            continue  # other images hold something else
        for difference in _differences(FACTS[name], a, b):
            known = difference.a is not None and difference.b is not None
            (unlike if known else unknown).append(difference)
    return unlike, unknown


def setting_differences(a: Record, b: Record) -> list[Difference]:
    """The settings that differ: the row's, its options, and the loader's."""
    facts = [difference for fact in _SETTINGS for difference in _differences(fact, a, b)]
    return [*facts, *_later_options(a, b), *_loader_settings(a, b)]


def environment_differences(a: Sequence[Record], b: Sequence[Record]) -> list[Difference]:
    """The machine, its state and its software, if those of A's runs differ from B's."""
    of_a, of_b = ([facts_of_environment(record) for record in runs] for runs in (a, b))
    names = dict.fromkeys(name for facts in (*of_a, *of_b) for name in facts)
    return [
        difference
        for name in names
        for difference in _unequal(name, _values(of_a, name), _values(of_b, name))
    ]


def facts_of_environment(record: Record) -> dict[str, Any]:
    """The facts of a record's machine and software, by heading; None if it does not know one."""
    facts = (fact for fact in FACTS.values() if fact.name == "device" or fact.topic == MACHINE)
    packages = record.environment.get("packages", {})
    return {
        **{fact.heading: _shown(fact, record) for fact in facts},
        **{name: version for name, version in packages.items() if name not in PACKAGES},
    }


def _shown(fact: Fact, record: Described) -> Any:
    """A value for people and programs: a digest is shortened, a number stays one."""
    value = fact.of(record)
    return fact.show(value) if isinstance(value, str) else value


def _values(facts: Sequence[dict[str, Any]], name: str) -> Any:
    """The one value of the runs that know it, or a sorted tuple if there are several."""
    known = dict.fromkeys(value for each in facts if (value := each.get(name)) is not None)
    if len(known) > 1:
        return tuple(sorted(known, key=str))
    return next(iter(known), None)


def _differences(fact: Fact, a: Described, b: Described) -> Iterator[Difference]:
    if fact.of(a) != fact.of(b):
        yield Difference(fact.heading, _shown(fact, a), _shown(fact, b))


def _later_options(a: Record, b: Record) -> Iterator[Difference]:
    for name in sorted({*a.config, *b.config} - {*OPTIONS}):
        yield from _unequal(spelt(name), a.config.get(name), b.config.get(name))


def _loader_settings(a: Record, b: Record) -> Iterator[Difference]:
    """The loader's settings one by one, or all in one if the loaders differ."""
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
