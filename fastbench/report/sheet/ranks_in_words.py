"""How the ranks of a row ran, in words: together, and one by one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from fastbench.core.units import and_more, counted, format_rate
from fastbench.records.scaling import expected_efficiency, slowest_rank
from fastbench.report.columns.registry import COLUMNS

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from fastbench.records.ranks import RankPart
    from fastbench.records.record import Record
    from fastbench.report.columns.column import Row

_MORE_RANKS: Final = (8, 64, 512)
_MOST_LISTED: Final = 64
_MOST_NAMED: Final = 4


def ranks_in_words(row: Row) -> Iterator[str]:
    """How fast they were, which was the slowest, how the row scales; nothing for one rank."""
    record, rate = row.record, COLUMNS["rank-rate"]
    if (slowest := slowest_rank(record)) is None:
        return
    hosts = list(dict.fromkeys(part.host for part in record.ranks))
    where = f" on {len(hosts):,} machines ({and_more(hosts, _MOST_NAMED)})"
    bounds = row.bounds(rate)
    scope = f" ({' to '.join(map(format_rate, bounds))})" if bounds else ""
    yield (
        f"{counted(len(record.ranks), 'rank')}{where if len(hosts) > 1 else ''} of "
        f"{rate.text(row.value(rate))} images/s each in the median{scope}"
    )
    yield str(slowest)
    if row.scaling is not None:
        yield str(row.scaling)
    kept = [expected_efficiency(record, num) or 1 for num in _MORE_RANKS]
    yield (
        f"by their scatter alone, {_and(map(str, _MORE_RANKS))} ranks would keep at most "
        f"{_and(f'{100 * share:.0f}' for share in kept)} % of their rates"
    )


def _and(texts: Iterable[str]) -> str:
    *first, last = texts
    return f"{', '.join(first)} and {last}"


def list_ranks(record: Record) -> str:
    """Each rank: where it ran, its share, its rate and its ceilings."""
    more = len(record.ranks) - _MOST_LISTED
    rest = [f"and {more:,} more"] if more > 0 else []
    return "; ".join([*map(_one, record.ranks[:_MOST_LISTED]), *rest])


def _one(part: RankPart) -> str:
    alone = [
        f"{name} alone {format_rate(ceiling.images_per_s)}"
        for name, ceiling in (("loader", part.loader_ceiling), ("model", part.model_ceiling))
        if ceiling is not None
    ]
    rate = [f"{format_rate(part.images_per_s)} images/s"] if part.windows else []
    return ", ".join(
        [
            f"rank {part.rank} on {part.host}",
            part.device_name or part.device,
            *(counted(part.num_samples, "image"), counted(part.num_threads, "thread")),
            f"{counted(len(part.cores), 'core')}",
            *rate,
            *alone,
        ]
    )
