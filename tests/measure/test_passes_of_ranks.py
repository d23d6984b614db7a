"""Ranks' windows: nobody counts while another is waited for, and all have the same epochs."""

from __future__ import annotations

import math
from collections.abc import Iterator

import pytest
import torch
from builders.meeting import Scripted

from fastbench.loaders.base import Batch, Setting
from fastbench.measure.clock import Clock
from fastbench.measure.durations import Durations
from fastbench.measure.passes import end_to_end
from fastbench.measure.ranks import Arrival
from fastbench.measure.rounds import Rounds
from fastbench.measure.tally import Scores, Tally, check_each_once
from fastbench.records.speed import Throughput

NUM_SAMPLES, BATCH_SIZE, NUM_BATCHES = 10, 4, 3
NAMES = [f"{i}.jpg" for i in range(NUM_SAMPLES)]


class Echo(Scripted):
    """The first of two; the other says the same, unless it is asked for epochs.

    It comes to each meeting after the first one has asked `late` times.
    """

    def __init__(self, late: int, num_epochs: int = 1, num_short: int = 0) -> None:
        super().__init__("aa")
        self.late, self.num_epochs, self.num_short = late, num_epochs, num_short
        self.met: list[str] = []

    def arrive(self) -> Arrival:
        self.met.append("arrive")
        left = iter(range(self.late))

        class Late(Arrival):
            def all_there(self) -> bool:
                return next(left, None) is None

        return Late()

    def gather(self, value: object) -> list[object]:  # type: ignore[override]
        self.met.append("gather")
        return [value, value]

    def max(self, value: float) -> float:
        return max(super().max(value), self.num_epochs)

    def any(self, value: bool) -> bool:
        self.num_short -= 1
        return super().any(value) or self.num_short >= 0


class Counting:
    """Batches whose images say which sample they are."""

    reads_images = True
    settings: dict[str, Setting] = {}  # noqa: RUF012
    num_asked = 0

    def __iter__(self) -> Iterator[Batch]:
        for ids_N in torch.arange(NUM_SAMPLES).split(BATCH_SIZE):
            self.num_asked += 1
            yield Batch(ids_N.view(-1, 1, 1, 1).float(), ids_N, len(ids_N))

    def close(self) -> None:
        pass


class OneHot:
    batch_size = BATCH_SIZE

    def __call__(self, images_NCHW: torch.Tensor) -> torch.Tensor:
        return torch.eye(NUM_SAMPLES)[images_NCHW.flatten().long()]


def time_with(ranks: Echo, loader: Counting, num_windows: int = 1) -> tuple[Throughput, Scores]:
    tally = Tally(NUM_SAMPLES, tuple(range(NUM_SAMPLES)), "cpu")
    durations = Durations(
        min_seconds=0, warm_up_batches=2, warm_up_seconds=0, latency_batches=1, latency_seconds=0,
        num_windows=num_windows,
    )  # fmt: skip
    _, throughput, walls_s = end_to_end(
        loader, OneHot(), tally, Clock(), durations, NUM_BATCHES, ranks=ranks
    )
    assert len(walls_s) == num_windows
    return throughput, tally.read()


def test_batches_while_another_is_waited_for_do_not_count() -> None:
    loader, prompt = Counting(), Counting()
    throughput, scores = time_with(Echo(late=5), loader)
    time_with(Echo(late=0), prompt)
    assert loader.num_asked == prompt.num_asked + 2 * 5  # it waits twice
    assert (throughput.num_images, throughput.num_epochs) == (NUM_SAMPLES, 1)
    assert len(throughput.step_times_s) == NUM_BATCHES
    check_each_once(scores, 1, NAMES, "counting")


def test_nobody_stands_still_before_a_window_but_next_to_the_others() -> None:
    """A rank that waits for a value has come there with all others, and meets them again after."""
    ranks = Echo(late=1)
    time_with(ranks, Counting(), num_windows=2)
    before = ranks.met[:4]
    assert before[:3] == ["arrive", "gather", "arrive"]
    second = ranks.met.index("arrive", 3)
    assert ranks.met[second : second + 3] == ["arrive", "gather", "arrive"]


@pytest.mark.parametrize(("num_epochs", "num_short"), [(3, 0), (1, 2), (2, 1)])
def test_a_window_has_the_epochs_that_any_rank_needs(num_epochs: int, num_short: int) -> None:
    throughput, scores = time_with(Echo(1, num_epochs, num_short), Counting())
    assert throughput.num_epochs == 3
    assert [window.num_steps for window in throughput.windows] == [9]
    assert len(throughput.step_times_s) == 9
    assert sum(throughput.step_times_s) <= throughput.wall_s
    check_each_once(scores, 3, NAMES, "counting")


def test_batches_of_rounds_do_not_count_while_another_is_waited_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # Else it depends on the machine how many batches are taken from a queue before a window.
    monkeypatch.setattr("fastbench.measure.rounds._WAITED", math.inf)
    loader, prompt = Counting(), Counting()
    for each, late in ((loader, 4), (prompt, 0)):
        rounds = Rounds(
            OneHot(), Tally(NUM_SAMPLES, None, "cpu"), torch.zeros(BATCH_SIZE, 1, 1, 1), Clock(),
            seconds=0.0, for_seconds=0.0, num_queued=0, num_workers=1, ranks=Echo(late),
        )  # fmt: skip
        end_to_end(
            each, OneHot(), Tally(NUM_SAMPLES, None, "cpu"), Clock(),
            Durations(
                min_seconds=0, warm_up_batches=2, warm_up_seconds=0, latency_batches=1,
                latency_seconds=0, num_windows=1,
            ),
            NUM_BATCHES, rounds=rounds, ranks=Echo(0),
        )  # fmt: skip
        assert len(rounds.rounds) == 2
        for one in rounds.rounds:
            assert one.end_to_end.num_steps == one.model.num_steps == 2
            assert one.loader is not None
            assert one.loader.num_steps == 2
    # Two windows of the pipeline and two of the loader alone, each with a wait before and after.
    assert loader.num_asked == prompt.num_asked + 4 * 2 * 4
