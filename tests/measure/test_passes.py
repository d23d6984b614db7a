"""The passes, on loaders and clocks made for the test: what is timed is what is scored."""

import dataclasses
import itertools
import math
import time
from collections.abc import Iterator

import pytest
import torch

from fastbench.core.errors import LoaderError
from fastbench.loaders.base import Batch, Setting
from fastbench.measure.clock import Clock
from fastbench.measure.durations import Durations
from fastbench.measure.passes import end_to_end, probe_latency
from fastbench.measure.tally import Tally, check_each_once
from fastbench.measure.warm_up import has_settled

NUM_SAMPLES, BATCH_SIZE = 10, 4
NAMES = [f"{i}.jpg" for i in range(NUM_SAMPLES)]


class CountingLoader:
    """Batches whose images say which sample they are; `order` may lose or repeat some."""

    reads_images = True
    settings: dict[str, Setting] = {}  # noqa: RUF012

    def __init__(self, order: list[int] | None = None) -> None:
        self.order = order or list(range(NUM_SAMPLES))
        self.num_asked = 0

    def __iter__(self) -> Iterator[Batch]:
        for ids in (
            itertools.batched(self.order, BATCH_SIZE)
            if hasattr(itertools, "batched")
            else (self.order[i : i + BATCH_SIZE] for i in range(0, len(self.order), BATCH_SIZE))
        ):
            self.num_asked += 1
            ids_N = torch.tensor(ids)
            yield Batch(ids_N.view(-1, 1, 1, 1).float(), ids_N, len(ids))

    def close(self) -> None:
        pass


class OneHot:
    """Predicts the sample's own id."""

    batch_size = BATCH_SIZE

    def __call__(self, images_NCHW: torch.Tensor) -> torch.Tensor:
        return torch.eye(NUM_SAMPLES)[images_NCHW.flatten().long()]


class ScriptedClock(Clock):
    """A window of ten seconds an epoch: `elapsed` is asked once after each but the first."""

    def __init__(self) -> None:
        super().__init__()
        self.num_marks = 0

    def start(self) -> None:
        super().start()
        self.num_marks = 0

    def mark(self) -> None:
        super().mark()
        self.num_marks += 1

    def elapsed(self) -> float:
        return self.num_marks / 3 * 10

    def stop(self) -> float:
        return self.elapsed()


def durations(**changes: float) -> Durations:
    values: dict[str, float] = {
        "min_seconds": 0,
        "warm_up_batches": 2,
        "warm_up_seconds": 0,
        "latency_batches": 5,
        "latency_seconds": 0,
        **changes,
    }
    return Durations(**values)  # type: ignore[arg-type]


@pytest.mark.parametrize("warm_up_batches", [1, 2, 3, 4, 7])
def test_an_epoch_is_scored_wherever_the_window_begins(warm_up_batches: int) -> None:
    tally = Tally(NUM_SAMPLES, tuple(range(NUM_SAMPLES)), "cpu")
    warm_up, throughput, _ = end_to_end(
        CountingLoader(),
        OneHot(),
        tally,
        Clock(),
        durations(warm_up_batches=warm_up_batches),
        3,
    )
    scores = tally.read()
    assert scores.times_seen == [1] * NUM_SAMPLES
    assert scores.hits == [(NUM_SAMPLES, NUM_SAMPLES)]
    assert (throughput.num_images, throughput.num_epochs) == (NUM_SAMPLES, 1)
    assert warm_up.num_batches == warm_up_batches
    assert len(throughput.step_times_s) == 3


def test_whole_epochs_until_the_time_is_up() -> None:
    tally = Tally(NUM_SAMPLES, None, "cpu")
    _, throughput, _ = end_to_end(
        CountingLoader(), OneHot(), tally, ScriptedClock(), durations(min_seconds=25), 3
    )
    assert (throughput.num_epochs, throughput.num_images) == (3, 3 * NUM_SAMPLES)
    assert throughput.wall_s == 30
    assert throughput.kernel_s is not None
    assert throughput.kernel_s < 5  # which the script does not change
    check_each_once(tally.read(), 3, NAMES, "counting")


@pytest.mark.parametrize(
    ("order", "culprit"),
    [
        ([0, 1, 2, 3, 4, 5, 6, 7, 8, 8], "8.jpg 2 times in 1 epochs"),
        ([0, 1, 2, 3, 5, 5, 6, 7, 8, 9], "4.jpg 0 times in 1 epochs"),
    ],
)
def test_a_lost_or_repeated_sample_fails_the_run(order: list[int], culprit: str) -> None:
    tally = Tally(NUM_SAMPLES, None, "cpu")
    end_to_end(CountingLoader(order), OneHot(), tally, Clock(), durations(warm_up_batches=3), 3)
    with pytest.raises(LoaderError, match=culprit):
        check_each_once(tally.read(), 1, NAMES, "counting")


def test_a_sample_out_of_order_fails_the_run() -> None:
    """Wherever the scored epoch begins: it may be in the middle of one of the loader's."""
    for warm_up_batches in (2, 3):
        tally = Tally(NUM_SAMPLES, None, "cpu")
        order = [0, 1, 2, 3, 5, 4, 6, 7, 8, 9]
        wanted = durations(warm_up_batches=warm_up_batches)
        end_to_end(CountingLoader(order), OneHot(), tally, Clock(), wanted, 3)
        with pytest.raises(LoaderError, match=r"4\.jpg out of order, at place \d"):
            check_each_once(tally.read(), 1, NAMES, "counting")


def test_windows_are_warmed_up_each_and_counted_together() -> None:
    tally = Tally(NUM_SAMPLES, tuple(range(NUM_SAMPLES)), "cpu")
    loader, told = CountingLoader(), []

    class Watching:
        def look_around(self) -> None:
            told.append(("look", loader.num_asked))

        def begin(self) -> None:
            told.append(("begin", loader.num_asked))

        def end(self, num_images: int) -> None:
            told.append(("end", num_images))

    _, throughput, _ = end_to_end(
        loader, OneHot(), tally, ScriptedClock(), durations(num_windows=3, min_batches=4), 3,
        num_queued=3, watch=Watching(),
    )  # fmt: skip
    # Two batches of warm-up; then two epochs of three batches: four steps at least. The watch looks
    # around within the warm-up: a pause would give the window batches for free.
    assert told == [
        ("look", 1), ("begin", 2), ("end", 20),
        ("look", 9), ("begin", 10), ("end", 20),
        ("look", 17), ("begin", 18), ("end", 20),
    ]  # fmt: skip
    assert [window.num_steps for window in throughput.windows] == [6, 6, 6]
    assert throughput.wall_s == 60
    assert throughput.num_images == 60
    assert throughput.num_epochs == 6
    assert len(throughput.step_times_s) == 18
    check_each_once(tally.read(), 6, NAMES, "counting")


class DrawnClock(ScriptedClock):
    """Each window takes as long as the list says; then as long as its last."""

    def __init__(self, walls_s: list[float]) -> None:
        super().__init__()
        self.walls_s, self.num_stops = walls_s, 0

    def stop(self) -> float:
        self.num_stops += 1
        return self.walls_s[min(self.num_stops, len(self.walls_s)) - 1]


@pytest.mark.parametrize(
    ("walls_s", "max_interval", "num_windows"),
    [
        ([10.0, 11.0, 10.5], None, 3),
        ([10.0, 10.0, 10.0], 0.02, 3),
        # Ever more windows of 10 s after two that were slow: 10 of them, by scipy.stats.t.
        ([11.0, 11.0, 10.0], 0.03, 10),
        ([10.0, 12.0] * 20, 0.02, 30),
    ],
)
def test_windows_until_the_interval_is_narrow(
    walls_s: list[float], max_interval: float | None, num_windows: int
) -> None:
    wanted = durations(num_windows=3)
    wanted = dataclasses.replace(wanted, max_interval=max_interval, max_windows=30)
    _, throughput, _ = end_to_end(
        CountingLoader(), OneHot(), Tally(NUM_SAMPLES, None, "cpu"), DrawnClock(walls_s), wanted, 3
    )
    assert len(throughput.windows) == num_windows
    if max_interval is not None and num_windows < 30:
        assert throughput.reach is not None
        assert throughput.reach <= max_interval


def test_the_time_spent_waiting_is_the_loaders() -> None:
    class Slow(CountingLoader):
        def __iter__(self) -> Iterator[Batch]:
            for batch in super().__iter__():
                time.sleep(0.01)
                yield batch

    _, throughput, _ = end_to_end(
        Slow(), OneHot(), Tally(NUM_SAMPLES, None, "cpu"), Clock(), durations(), 3
    )
    (window,) = throughput.windows
    assert 0.03 <= window.wait_s <= window.wall_s
    assert window.waits


def test_what_a_loader_may_have_gained_is_run_off() -> None:
    """Where it is waited for: three batches in its queue, and two more."""
    begun: list[int] = []

    class Slow(CountingLoader):
        def __iter__(self) -> Iterator[Batch]:
            for batch in super().__iter__():
                time.sleep(0.001)
                yield batch

    loader = Slow()

    class Watching:
        def look_around(self) -> None:
            pass

        def begin(self) -> None:
            begun.append(loader.num_asked)

        def end(self, num_images: int) -> None:
            pass

    end_to_end(
        loader, OneHot(), Tally(NUM_SAMPLES, None, "cpu"), Clock(), durations(num_windows=2), 3,
        num_queued=3, watch=Watching(),
    )  # fmt: skip
    assert begun == [2, 2 + 3 + 5]


def test_cold_files_are_put_out_of_memory_before_each_window() -> None:
    evicted_after: list[int] = []
    loader = CountingLoader()
    tally = Tally(NUM_SAMPLES, None, "cpu")
    _, throughput, _ = end_to_end(
        loader, OneHot(), tally, ScriptedClock(), durations(num_windows=2, min_seconds=99), 3,
        evict=lambda: evicted_after.append(loader.num_asked),
    )  # fmt: skip
    # After each warm-up of two batches; and one epoch a window, however short.
    assert evicted_after == [2, 2 + 3 + 2]
    assert throughput.num_epochs == 2


@pytest.mark.parametrize(
    ("steps", "settled"),
    [
        ([1.0] * 12, True),
        ([1.0] * 9, False),  # too few
        ([2.0] * 6 + [1.0] * 12, False),
        ([2.0] * 6 + [1.0] * 36, True),
        ([10 - i / 10 for i in range(50)], False),  # a slow drift
    ],
)
def test_when_the_step_time_has_settled(steps: list[float], settled: bool) -> None:
    assert has_settled(steps) is settled


def test_a_warm_up_goes_on_until_the_steps_are_steady() -> None:
    class Slowing(CountingLoader):
        """Its first twelve batches take ever longer."""

        def __iter__(self) -> Iterator[Batch]:
            for batch in super().__iter__():
                time.sleep(0.004 * min(self.num_asked, 12))
                yield batch

    wanted = durations(settle_seconds=30)
    tally = Tally(NUM_SAMPLES, None, "cpu")
    warm_up, throughput, _ = end_to_end(Slowing(), OneHot(), tally, Clock(), wanted, 3)
    assert throughput.is_settled
    assert warm_up.num_batches > 12
    hurried = durations(settle_seconds=0.001)
    warm_up, throughput, _ = end_to_end(Slowing(), OneHot(), tally, Clock(), hurried, 3)
    assert throughput.is_settled is False


def test_step_times_add_up_to_the_window() -> None:
    tally = Tally(NUM_SAMPLES, None, "cpu")
    _, throughput, _ = end_to_end(CountingLoader(), OneHot(), tally, Clock(), durations(), 3)
    assert 0 < sum(throughput.step_times_s) <= throughput.wall_s


def test_latency_has_as_many_samples_as_planned() -> None:
    loader = CountingLoader()
    samples = probe_latency(loader, OneHot(), durations()).samples_s
    assert len(samples) == 5
    assert min(samples) > 0
    assert loader.num_asked > 5  # partial batches were asked for and left out


def test_latency_of_a_set_smaller_than_a_batch() -> None:
    assert len(probe_latency(CountingLoader([0, 1, 2]), OneHot(), durations()).samples_s) == 5


def test_the_default_durations() -> None:
    quick, full = (
        Durations.make(min_seconds=9, num_windows=3, quick=quick) for quick in (True, False)
    )
    assert (quick.min_seconds, full.min_seconds) == (0, 9)
    assert quick.warm_up_batches < full.warm_up_batches
    assert (quick.num_windows, full.num_windows) == (1, 3)
    assert 3 * full.min_batches >= 64  # the steps that a 90th percentile needs


def test_samples_of_the_latency_end_with_their_time() -> None:
    asked = durations(latency_batches=10**9, latency_limit_s=0.02)
    began = time.perf_counter()
    samples = probe_latency(CountingLoader(), OneHot(), asked).samples_s
    assert 0 < len(samples) < 10**6
    assert time.perf_counter() - began < 5
    none = durations(latency_batches=10, latency_limit_s=0)
    assert len(probe_latency(CountingLoader(), OneHot(), none).samples_s) == 1


@pytest.mark.parametrize("quick", [True, False])
def test_as_many_samples_of_the_latency_as_are_asked_for(quick: bool) -> None:
    made = Durations.make(min_seconds=5, num_windows=3, quick=quick, latency_samples=662)
    assert (made.latency_batches, made.latency_seconds) == (662, 0)
    assert made.latency_limit_s == 600
    assert Durations.make(min_seconds=5, num_windows=3, quick=quick).latency_limit_s == math.inf
