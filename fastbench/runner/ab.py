"""`fastbench run --ab`: windows of two configurations in turn, and one ratio.

Nothing is scored: run each of the two by itself to see whether the predictions are right. The pairs
are saved as they come, and those of a comparison that was cut off are kept.
"""

from __future__ import annotations

import dataclasses
import math
import time
from typing import TYPE_CHECKING, Final

import msgspec

from fastbench.core.device import mapped_errors
from fastbench.core.errors import FastbenchError, UsageError
from fastbench.loaders.base import LoaderTraits
from fastbench.measure.clock import make_clock
from fastbench.measure.interleave import NUM_PAIRS, NUM_PAIRS_QUICK, Side, interleave
from fastbench.models.classifier import forget_compiled
from fastbench.records.record import AbRecord, FailedRow
from fastbench.records.store import replace_record, write_record
from fastbench.runner.build_record import describe_run
from fastbench.runner.prepare import Bench, Workbench, open_loader

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from fastbench.loaders.base import LoaderSpec

SAVE_S: Final = 5.0
"""How many seconds of pairs may be lost when the process is killed."""


def ab_rows(a: Workbench, b: Workbench) -> Iterator[AbRecord | FailedRow]:
    """A row for each model, the unfinished one too if that is interrupted. It is on disk then.

    Raises `OutputError` if it cannot be written, `UsageError` if the two cannot be compared.
    """
    if a.device != b.device:
        raise UsageError("--ab cannot compare two devices. Run each, and use fastbench compare.")
    for name, other in zip(a.config.models, b.config.models, strict=True):
        pairs = _Pairs(a.folder)
        try:
            _measure(a, b, name, other, pairs)
        except FastbenchError as error:
            if pairs.keep():
                a.progress.note(f"The pairs before that are in {pairs.path}")
            yield FailedRow(name, a.config.timed_loader, error)
        except KeyboardInterrupt:
            if (record := pairs.keep()) is not None:
                yield record
            raise
        else:
            record = pairs.keep()
            assert record is not None
            yield record


class _Pairs:
    """The pairs of a comparison so far, and the file in which they are from the first on."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.path: Path | None = None
        self.blank: AbRecord | None = None
        self._rates: list[tuple[float, float]] = []
        self._saved_s = -math.inf

    def add(self, rates: tuple[float, float]) -> None:
        """One more. Between windows: what runs next is the batches that wait in the queues."""
        self._rates.append(rates)
        if time.monotonic() > self._saved_s + SAVE_S:
            self.keep()

    def keep(self) -> AbRecord | None:
        """Write them; None if there are none. Raises `OutputError`."""
        if not self._rates:
            return None
        assert self.blank is not None
        a, b = map(list, zip(*self._rates, strict=True))
        record = msgspec.structs.replace(self.blank, a_images_per_s=a, b_images_per_s=b)
        if self.path is None:
            self.path = write_record(record, self.folder)
        else:
            replace_record(record, self.path)
        self._saved_s = time.monotonic()
        return record


def _measure(a: Workbench, b: Workbench, name: str, other: str, pairs: _Pairs) -> None:
    a.progress.say(f"{name}: making both sides ready")
    forget_compiled()
    (bench, spec), (other_bench, other_spec) = _prepare(a, name), _prepare(b, other)
    loader, other_loader = a.config.timed_loader, b.config.timed_loader
    with (
        mapped_errors(f"the comparison of {name}", a.batch_size),
        open_loader(loader, a.factories[loader], spec) as opened,
        open_loader(other_loader, b.factories[other_loader], other_spec) as other_opened,
    ):
        num_pairs = NUM_PAIRS_QUICK if a.config.quick else NUM_PAIRS
        pairs.blank = AbRecord(
            **describe_run(a, bench, loader, opened.settings),
            dtype=a.dtype,
            compile_mode=a.compile_mode,
            changes=list(a.config.ab),
            other_config=dataclasses.asdict(b.config),
            other_loader_settings=dict(other_opened.settings),
            a_images_per_s=[],
            b_images_per_s=[],
            num_planned=num_pairs,
        )
        sides = (
            Side(opened, bench.classifier, LoaderTraits.of(opened).num_queued(spec.prefetch)),
            Side(
                other_opened,
                other_bench.classifier,
                LoaderTraits.of(other_opened).num_queued(other_spec.prefetch),
            ),
        )
        count = a.progress.count(f"{name} · {loader}: pairs of windows")
        measured = interleave(*sides, make_clock(a.device), num_pairs)
        for number, rates in enumerate(measured, start=1):
            pairs.add(rates)
            count(number, num_pairs)


def _prepare(workbench: Workbench, name: str) -> tuple[Bench, LoaderSpec]:
    model, labels = workbench.load(name)
    for note in model.notes:
        workbench.progress.note(f"{name}: {note}.")
    with mapped_errors(f"the warm-up of {name}", workbench.batch_size):
        classifier = workbench.rows_classifier(model)
        classifier.warm_up(model.preprocess.crop)
    return Bench(model, labels, classifier), workbench.spec(model, workbench.config.timed_loader)
