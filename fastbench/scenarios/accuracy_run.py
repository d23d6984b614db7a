"""The accuracy of what is asked for: LoadGen's accuracy mode, in which each image comes once."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import torch

from fastbench.core.errors import FastbenchError
from fastbench.loaders.base import Batch
from fastbench.measure.tally import Scores, check_finite
from fastbench.scenarios import loadgen

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from fastbench.runner.prepare import Bench, Workbench
    from fastbench.scenarios.batcher import Batcher, Query

_LOG = logging.getLogger(__name__)


def score_each_once(
    workbench: Workbench, bench: Bench, batcher: Batcher, folder: Path
) -> tuple[Scores, float]:
    """Ask for every image once, all at the same time; the scores, and images/s meanwhile.

    Raises the error of an image that cannot be answered, and `FastbenchError` where LoadGen was
    told another class than the model gave.
    """
    tally = workbench.tally(bench)
    tally.begin_epoch()

    def score(logits_NK: torch.Tensor, queries: Sequence[Query]) -> None:
        ids_N = torch.tensor([query.sample for query in queries], device=workbench.device)
        # A tally reads a batch's ids, and none of its images.
        tally.add(logits_NK, Batch(logits_NK, ids_N, len(queries)))

    names = workbench.manifest.names
    rules = loadgen.Rules(
        scenario="offline", duration_s=0, min_queries=1, rate_per_s=1, each_once=True
    )
    max_queued, batcher.max_queued, batcher.scored = batcher.max_queued, None, score
    try:
        outcome = loadgen.run(rules, batcher, len(names), folder)
    finally:
        batcher.max_queued, batcher.scored = max_queued, None
    for error in batcher.errors.values():
        raise error
    scores = tally.read()
    check_finite(scores, 1, bench.model.name, workbench.dtype)
    wrong = [
        names[sample]
        for sample, times in enumerate(scores.times_seen)
        if times != 1 or outcome.answers.get(sample) != scores.predictions[sample]
    ]
    if wrong:
        raise FastbenchError(
            f"LoadGen has {len(wrong):,} answers that are not the model's, {wrong[0]} first. That "
            f"is a bug of fastbench or of this LoadGen: report it."
        )
    rate_per_s = len(names) / outcome.times.wall_s
    _LOG.debug("each image once: %.1f images/s", rate_per_s)
    return scores, rate_per_s
