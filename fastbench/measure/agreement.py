"""A row's predictions, pixels and logits compared with the reference's, image by image.

At 1,000 images top-1 is known to 2.6 points only, but 10 changed predictions are plain to see, and
pixels show more than either. Predictions are compared by sample id. For pixels and logits both
loaders are read in step, one batch of each at a time; nothing is timed.

Shape suffixes: N batch, C channels, H height, W width, K classes.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from fastbench.core.errors import LoaderError, ModelError
from fastbench.loaders.shared.pixels import levels_of
from fastbench.records.accuracy import EXACT_LEVELS, Parity, Pixels

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    import torch

    from fastbench.loaders.base import Batch, Preprocess

NUM_WORST: Final = 8
"""Images that are kept to find the cause."""


def compare_predictions(
    predictions: Sequence[int],
    reference_predictions: Sequence[int],
    labels: Sequence[int] | None,
    *,
    reference: str,
    is_reference: bool,
    pixels: Pixels | None = None,
) -> Parity:
    """Compare top-1 predictions with the reference's, both by sample id."""
    pairs = list(zip(predictions, reference_predictions, strict=True))
    only_reference = only_row = None
    if labels is not None:
        judged = [
            (mine == label, theirs == label)
            for (mine, theirs), label in zip(pairs, labels, strict=True)
        ]
        only_reference = sum(theirs and not mine for mine, theirs in judged)
        only_row = sum(mine and not theirs for mine, theirs in judged)
    return Parity(
        reference=reference,
        is_reference=is_reference,
        num_samples=len(pairs),
        num_agreeing=sum(mine == theirs for mine, theirs in pairs),
        only_reference_correct=only_reference,
        only_row_correct=only_row,
        pixels=pixels,
    )


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """Two loaders in step: `pixels` is for the record, its cause not yet found.

    `predictions` and `reference_predictions` are top-1 in float32 by sample id. `worst` has the
    images with the largest mean difference, the worst first: the sample's id, and the image
    (C, H, W) of the loader and of the reference, in levels.
    """

    pixels: Pixels
    predictions: list[int]
    reference_predictions: list[int]
    worst: list[tuple[int, torch.Tensor, torch.Tensor]] = field(repr=False)


def compare_in_step(
    loader: Iterable[Batch],
    reference: Iterable[Batch],
    model: Callable[[torch.Tensor], torch.Tensor],
    preprocess: Preprocess,
    names: Sequence[str],
) -> Comparison:
    """Read one float32 epoch of both loaders in step; `names` are the samples', by id.

    Raises `LoaderError` if the two do not deliver the same samples, or if pixels are not finite,
    `ModelError` if logits are not: no record can hold them.
    """
    total = above = num_values = 0.0
    largest = largest_logit = logits = num_logits = 0.0
    mine: list[int] = []
    theirs: list[int] = []
    worst: list[tuple[float, int, torch.Tensor, torch.Tensor]] = []
    for ours, its in itertools.zip_longest(loader, reference):
        if ours is None or its is None or not _same_samples(ours, its):
            raise LoaderError(
                "The two loaders do not deliver the same samples in the same order. "
                "Nothing can be compared; report this to the loader's author."
            )
        valid = ours.num_valid
        levels, its_levels = (
            levels_of(batch.images_NCHW[:valid], preprocess) for batch in (ours, its)
        )
        difference = (levels - its_levels).abs()
        for faulty, whose in ((levels, "loader"), (its_levels, "reference")):
            if not faulty.isfinite().all():
                raise LoaderError(
                    f"The {whose} gives pixels that are no numbers (NaN or infinite). "
                    f"Nothing can be compared; report this to its author."
                )
        total += float(difference.double().sum())
        above += float((difference > EXACT_LEVELS).sum())
        num_values += difference.numel()
        largest = max(largest, float(difference.max()))
        for row, mean in enumerate(difference.flatten(1).double().mean(1).tolist()):
            images = (levels[row].cpu().clone(), its_levels[row].cpu().clone())
            worst.append((mean, len(mine) + row, *images))
        worst = sorted(worst, key=lambda each: (-each[0], each[1]))[:NUM_WORST]
        logits_NK, its_logits_NK = (
            model(batch.images_NCHW)[:valid].float().clone() for batch in (ours, its)
        )
        logit_difference = (logits_NK - its_logits_NK).abs()
        # A model rules classes out by minus infinity, and that less itself is NaN.
        logit_difference.masked_fill_(logits_NK == its_logits_NK, 0)
        if not logit_difference.isfinite().all() or bool((logits_NK == math.inf).any()):
            raise ModelError(
                "The model gives logits that are no numbers (NaN or infinite) in float32. "
                "Nothing can be compared; check its weights."
            )
        largest_logit = max(largest_logit, float(logit_difference.max()))
        logits += float(logit_difference.double().sum())
        num_logits += logit_difference.numel()
        mine += logits_NK.argmax(1).tolist()
        theirs += its_logits_NK.argmax(1).tolist()
    worst_mean, worst_sample, *_ = worst[0]
    return Comparison(
        pixels=Pixels(
            num_samples=len(mine),
            max_levels=largest,
            mean_levels=total / num_values,
            share_above_one=above / num_values,
            worst_sample=names[worst_sample],
            worst_mean_levels=worst_mean,
            max_logits=largest_logit,
            mean_logits=logits / num_logits,
            num_agreeing=sum(a == b for a, b in zip(mine, theirs, strict=True)),
            cause=None,
        ),
        predictions=mine,
        reference_predictions=theirs,
        worst=[(sample, levels, its_levels) for _, sample, levels, its_levels in worst],
    )


def _same_samples(a: Batch, b: Batch) -> bool:
    return a.num_valid == b.num_valid and bool(
        (a.ids_N[: a.num_valid].cpu() == b.ids_N[: b.num_valid].cpu()).all()
    )
