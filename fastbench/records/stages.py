"""Where the wall time of a row went."""

from __future__ import annotations

import msgspec

from fastbench.records.fields import Amount, Stored


class Stages(Stored, frozen=True, kw_only=True):
    """Seconds of wall time from a row's turn until its record was made; they add up to it.

    `start_s` is for the process, its imports, and the checks of names and options; `images_s` for
    drawing, listing and checking the images, `page_cache_s` for reading them into memory (or
    putting them out), `model_s` for loading and compiling the model and for its first runs,
    `search_s` for the search for the loader's settings, `passes_s` for the timed passes with their
    warm-ups and the loader's starts, `scoring_s` for a pass that is scored and not timed,
    `parity_s` for the comparison with the reference.
    """

    start_s: Amount = 0.0
    images_s: Amount = 0.0
    page_cache_s: Amount = 0.0
    model_s: Amount = 0.0
    search_s: Amount = 0.0
    passes_s: Amount = 0.0
    scoring_s: Amount = 0.0
    parity_s: Amount = 0.0

    @property
    def total_s(self) -> float:
        """All of them."""
        return sum(msgspec.structs.astuple(self))
