"""Work in threads, given up when it is interrupted."""

from __future__ import annotations

import contextlib
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

Item = TypeVar("Item")
Result = TypeVar("Result")


@contextlib.contextmanager
def thread_map(
    work: Callable[[Item], Result], items: Iterable[Item], num_threads: int, name: str
) -> Iterator[Iterator[Result]]:
    """The results of `work` in the items' order, made in threads of this name.

    What has not begun when the block is left is not done any more. A plain `ThreadPoolExecutor`
    does all of it before it lets Ctrl-C through.
    """
    pool = ThreadPoolExecutor(num_threads, name)
    try:
        yield pool.map(work, items)
    finally:
        pool.shutdown(cancel_futures=True)
