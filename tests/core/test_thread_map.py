"""Work in threads: in order, and given up when it is interrupted."""

import time

import pytest

from fastbench.core.thread_map import thread_map


def test_results_are_in_order() -> None:
    def late(item: int) -> int:
        time.sleep(0.02 if item % 2 else 0)
        return 2 * item

    with thread_map(late, range(8), 4, "test") as results:
        assert list(results) == [2 * item for item in range(8)]


def test_what_has_not_begun_when_it_is_interrupted_is_given_up() -> None:
    done: list[int] = []

    def slow(item: int) -> None:
        time.sleep(0.01)
        done.append(item)

    def interrupted() -> None:
        with thread_map(slow, range(1000), 2, "test") as results:
            for _ in results:
                raise KeyboardInterrupt  # not while it waits for a result

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    num = len(done)
    assert num < 20
    time.sleep(0.05)
    assert len(done) == num
