"""Where the wall time of a run went, in a line."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from fastbench.core.units import format_seconds

if TYPE_CHECKING:
    from collections.abc import Iterable

    from fastbench.records.record import Record

_LEAST: Final = 0.005
"""A share that is shown as 1 % or more."""


def in_words(records: Iterable[Record], wall_s: float) -> str:
    """`The run took 6 min 02 s: 70 % measuring, 16 % warming up, ...`; the largest shares first.

    `records` are of the rows that this run has measured. What no record knows, such as the time of
    a row that failed or of the tables, is the rest.
    """
    timed = [(record, record.stages) for record in records if record.stages is not None]
    measured_s = sum(record.measured_s for record, _ in timed)
    seconds = {
        "warming up": sum(stages.passes_s for _, stages in timed) - measured_s,
        "starting processes": sum(stages.start_s for _, stages in timed),
        "checking and reading images": sum(x.images_s + x.page_cache_s for _, x in timed),
        "loading models": sum(stages.model_s for _, stages in timed),
        "searching for settings": sum(stages.search_s for _, stages in timed),
        "comparing with the reference": sum(x.scoring_s + x.parity_s for _, x in timed),
    }
    seconds["else"] = wall_s - measured_s - sum(seconds.values())
    shares = {"measuring": measured_s / wall_s} | {
        what: its_s / wall_s
        for what, its_s in sorted(seconds.items(), key=lambda item: -item[1])
        if its_s / wall_s >= _LEAST
    }
    told = ", ".join(f"{100 * share:.0f} % {what}" for what, share in shares.items())
    return f"The run took {format_seconds(wall_s)}: {told}."
