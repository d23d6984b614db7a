"""Data sets for worker processes, which import them by name: each has one fault."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from typing import Any

import torch
from torch.utils.data import Dataset, IterableDataset


class _NoRoom:
    """Cannot be sent: as a tensor, for which there is no shared memory."""

    def __reduce__(self) -> Any:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


class Unsent(Dataset[Any]):
    """The batches cannot be sent to the loader's process."""

    def __getitem__(self, ids: list[int]) -> Any:
        return _NoRoom(), torch.tensor(ids)


class EndsEarly(IterableDataset[Any]):
    """There is one batch, of two samples."""

    def __iter__(self) -> Iterator[Any]:
        yield torch.zeros(2, 3, 224, 224), torch.tensor([0, 1])
