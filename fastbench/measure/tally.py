"""The results of a pass: hits, predictions and how often each sample came, kept on the device.

Shape suffixes: N batch, C classes, K classes kept, M samples, V valid rows.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import torch

from fastbench.core.errors import LoaderError, ModelError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fastbench.loaders.base import Batch

NUM_BEST: Final = 5


@dataclass(frozen=True, kw_only=True)
class Scores:
    """What a `Tally` counted, on the host.

    `best[i]` has at most five classes predicted for sample i, the likeliest first,
    `probabilities[i]` their softmax values, if they were asked for. `times_seen[i]` is how often
    the sample came in all epochs, `places[i]` its place in the last one. `hits` has (top-1, top-5)
    for each epoch, and is None without labels. `num_broken` logits had no finite largest value: the
    model gave NaN or infinity. `is_constant` says that every image of the last epoch had the same
    largest logit.
    """

    best: list[list[int]]
    probabilities: list[list[float]] | None
    times_seen: list[int]
    places: list[int]
    hits: list[tuple[int, int]] | None
    num_broken: int
    is_constant: bool

    @property
    def predictions(self) -> list[int]:
        """The class predicted for each sample."""
        return [classes[0] for classes in self.best]


class Tally:
    """Counts hits and keeps predictions by sample id, on the device and without a sync.

    Rows behind a batch's `num_valid` are padding and are cut off before anything is counted.
    """

    def __init__(
        self,
        num_samples: int,
        labels: tuple[int, ...] | None,
        device: str,
        *,
        probabilities: bool = False,
    ) -> None:
        self._has_labels = labels is not None
        # Without labels every sample has the label -1, which no model predicts.
        self._labels_M = torch.tensor(labels or [-1] * num_samples, device=device)
        self._num_best = NUM_BEST
        self._best_MK = torch.full((num_samples, NUM_BEST), -1, device=device)
        self._probabilities_MK = (
            torch.zeros((num_samples, NUM_BEST), device=device) if probabilities else None
        )
        self._seen_M = torch.zeros(num_samples, dtype=torch.int64, device=device)
        self._places_M = torch.full((num_samples,), -1, device=device)
        self._place = 0
        self._hits: list[torch.Tensor] = []
        self._largest_M = torch.zeros(num_samples, device=device)
        self._num_broken = torch.zeros((), dtype=torch.int64, device=device)

    def begin_epoch(self) -> None:
        """Count the following batches as a new epoch."""
        self._hits.append(torch.zeros(2, dtype=torch.int64, device=self._labels_M.device))
        self._place = 0

    def add(self, logits: torch.Tensor, batch: Batch) -> None:
        """Score (N, classes) logits of a batch, of which `num_valid` rows count."""
        with torch.inference_mode():
            num_valid = batch.num_valid
            ids_V = batch.ids_N[:num_valid]
            self._num_best = num_best = min(NUM_BEST, logits.shape[1])
            # NaN is the largest to torch. Minus infinity may be meant: a class that is ruled out.
            largest_VK, best_VK = logits[:num_valid].topk(num_best)
            self._num_broken += num_valid - largest_VK[:, 0].isfinite().sum()
            self._largest_M[ids_V] = largest_VK[:, 0].float()
            matches_VK = best_VK == self._labels_M[ids_V, None]
            self._hits[-1][0] += matches_VK[:, 0].sum()
            self._hits[-1][1] += matches_VK.sum()
            self._best_MK[ids_V, :num_best] = best_VK
            if self._probabilities_MK is not None:
                probabilities_VC = logits[:num_valid].float().softmax(1)
                self._probabilities_MK[ids_V, :num_best] = probabilities_VC.gather(1, best_VK)
            self._seen_M.index_add_(0, ids_V, torch.ones_like(ids_V))
            place, self._place = self._place, self._place + num_valid
            self._places_M[ids_V] = torch.arange(place, self._place, device=ids_V.device)

    def read(self) -> Scores:
        """Copy the counts to the host, once in a pass."""
        hits = [(int(top1), int(top5)) for top1, top5 in torch.stack(self._hits).tolist()]
        kept = self._probabilities_MK
        return Scores(
            best=self._best_MK[:, : self._num_best].tolist(),
            probabilities=None if kept is None else kept[:, : self._num_best].tolist(),
            times_seen=self._seen_M.tolist(),
            places=self._places_M.tolist(),
            hits=hits if self._has_labels else None,
            num_broken=int(self._num_broken),
            is_constant=len(self._largest_M) > 1
            and bool((self._largest_M == self._largest_M[0]).all()),
        )


def check_finite(scores: Scores, num_epochs: int, model: str, dtype: str) -> None:
    """Raise `ModelError` for a model whose logits are no numbers, of whichever image."""
    if scores.num_broken == 0:
        return
    advice = "Check its weights" if dtype == "float32" else "Try --dtype float32 or bfloat16"
    raise ModelError(
        f"The model {model} gave logits that are no numbers (NaN or infinite) for "
        f"{scores.num_broken:,} of {num_epochs * len(scores.best):,} images in {dtype}. "
        f"Nothing that it predicts can be scored. {advice}."
    )


def check_each_once(scores: Scores, num_epochs: int, names: Sequence[str], loader: str) -> None:
    """Raise `LoaderError` unless every sample came exactly once an epoch, in order.

    A scored epoch may begin within one of the loader's; then all places are shifted alike.
    """
    for name, times in zip(names, scores.times_seen, strict=True):
        if times != num_epochs:
            raise LoaderError(
                f"The loader {loader!r} delivered {name} {times} times in {num_epochs} epochs. "
                f"Nothing that it delivered can be scored; report this to its author."
            )
    places = scores.places
    for sample, place in enumerate(places):
        expected = (places[0] + sample) % len(places)
        if place != expected:
            raise LoaderError(
                f"The loader {loader!r} delivered {names[sample]} out of order, at place {place} "
                f"of an epoch and not {expected}. Loaders are compared sample by sample; report "
                f"this to its author."
            )
