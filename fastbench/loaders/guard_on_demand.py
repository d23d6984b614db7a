"""What a loader gives on demand is checked as it passes, as `guard.py` checks batches.

All that is looked at lies on the host. It is called at every request, so no more than types,
shapes and strides is.

Shape suffixes: N batch, C channels, H height, W width.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

import torch

from fastbench.core import watchdog
from fastbench.core.errors import FastbenchError
from fastbench.loaders.guard import (
    OPEN_S,
    BrokenContractError,
    Expected,
    explain,
    explained,
    kind_of,
    missing,
    named,
)
from fastbench.loaders.registry import on_demand_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy as np

    from fastbench.loaders.base import LoaderSpec, OnDemand, OnDemandFactory, Setting


def make_on_demand(
    make: OnDemandFactory, spec: LoaderSpec, in_memory: Sequence[np.ndarray] | None
) -> OnDemand:
    """Call what makes a loader's side on demand, and check what it returns.

    Raises `BrokenContractError` where it fails, or returns something else; an error of ours that it
    raises is passed on.
    """
    with explained("while it was opened on demand", spec.batch_size):
        made = make(spec, in_memory)
    fault = missing(made, "decode", "collate", "close")
    for name in ("num_callers", "most_at_once"):
        number = getattr(made, name, None)
        if fault is None and (type(number) is not int or number < 1):
            fault = f"its {name} is {number!r}, not a whole number of at least 1"
    if fault is not None:
        with contextlib.suppress(Exception):  # it need not close
            made.close()
        raise BrokenContractError(f"cannot take requests: on_demand gives {kind_of(made)}; {fault}")
    return made


def check_images(images: Any, size: int, expected: Expected) -> None:
    """Raise `BrokenContractError` where what `collate` returned is no batch of this size."""
    fault: str | None = None
    if type(images) is not torch.Tensor:
        fault = f"collate gives {kind_of(images)}, not a plain torch.Tensor"
    elif images.ndim != 4 or len(images) != size:
        fault = f"collate gives the shape {tuple(images.shape)}, not ({size}, 3, H, W)"
    else:
        fault = next((said for _, said in expected.image_faults(images)), None)
    if fault is not None:
        raise BrokenContractError(f"breaks the contract on demand: {fault}")


class CheckedOnDemand:
    """A loader's side on demand, whose batches are checked, and whose errors name it.

    `decode` and `collate` raise `LoaderError` for what the loader raises, but errors of ours as
    they are, and `collate` for what is not as the spec asks. Raises `LoaderError` for a loader that
    cannot take requests.
    """

    def __init__(
        self,
        name: str,
        factory: object,
        spec: LoaderSpec,
        in_memory: Sequence[np.ndarray] | None = None,
    ) -> None:
        make = on_demand_of(name, factory)
        self._name, self._expected = name, Expected(spec)
        # A loader may decode or pack all images when it is opened.
        limit_s = OPEN_S + len(spec.paths)
        with named(name), watchdog.limited(f"the loader {name!r} to open", limit_s):
            self._made = made = make_on_demand(make, spec, in_memory)
        self.num_callers: int = made.num_callers
        self.most_at_once: int = min(made.most_at_once, spec.batch_size)
        self.reads_images: bool = made.reads_images
        self.settings: Mapping[str, Setting] = dict(made.settings)

    def decode(self, samples: Sequence[int]) -> Any:
        """What `collate` takes of these samples."""
        try:
            return self._made.decode(samples)
        except FastbenchError:
            raise
        except Exception as error:
            raise self._ours(error, "to decode") from error

    def collate(self, decoded: Sequence[Any], size: int) -> torch.Tensor:
        """(size, 3, H, W) images of what `decode` returned."""
        try:
            images_NCHW = self._made.collate(decoded, size)
            check_images(images_NCHW, size, self._expected)
        except FastbenchError:
            raise
        except Exception as error:
            raise self._ours(error, "to collate") from error
        return images_NCHW

    def close(self) -> None:
        """Close the loader."""
        with named(self._name), explained("while it was closed", self._expected.size):
            self._made.close()

    def _ours(self, error: Exception, what: str) -> FastbenchError:
        try:
            with named(self._name):
                if isinstance(error, BrokenContractError):
                    raise error
                raise explain(error, what, self._expected.size) from error
        except FastbenchError as ours:
            return ours
