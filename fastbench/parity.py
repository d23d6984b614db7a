"""Does a row predict what the reference predicts, image by image?

Two loaders that see the same images can be told apart long before their top-1 differs: at 1,000
images top-1 is known to 1.5 points, while 10 changed predictions are plain to see.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from fastbench.results import Parity

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["compare_predictions"]


def compare_predictions(
    predictions: Sequence[int],
    reference_predictions: Sequence[int],
    labels: Sequence[int] | None,
    *,
    reference: str,
    is_reference: bool,
) -> Parity:
    """Hold top-1 predictions against the reference's, both by sample id.

    Raises `ValueError` for lists of different lengths.
    """
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
    )
