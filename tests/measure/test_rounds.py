"""Rounds of loader, model and end to end, on pipelines whose delays are planted."""

import queue
import threading
import time
from collections.abc import Iterator

import pytest
import torch

from fastbench.loaders.base import Batch, Setting
from fastbench.measure.clock import Clock
from fastbench.measure.pipeline import Stream
from fastbench.measure.rounds import Rounds
from fastbench.measure.tally import Tally
from fastbench.records.speed import Window

NUM_SAMPLES, BATCH_SIZE, DEPTH = 12, 4, 2


class Log:
    """Who did what, in order: a batch taken, a batch of the loader run, the resident one run."""

    def __init__(self) -> None:
        self.did: list[str] = []


class PrefetchingLoader:
    """Three batches an epoch, each `batch_s` in the making; a thread keeps `DEPTH` and one more."""

    reads_images = True
    settings: dict[str, Setting] = {}  # noqa: RUF012

    def __init__(self, log: Log, batch_s: float) -> None:
        self.log, self.batch_s, self.num_made = log, batch_s, 0
        self._queue: queue.Queue[Batch] = queue.Queue(DEPTH)
        threading.Thread(target=self._fill, daemon=True).start()

    def _fill(self) -> None:
        while True:
            first = self.num_made * BATCH_SIZE % NUM_SAMPLES
            time.sleep(self.batch_s)
            ids_N = torch.arange(first, first + BATCH_SIZE)
            self._queue.put(Batch(ids_N.view(-1, 1, 1, 1).float(), ids_N, BATCH_SIZE))
            self.num_made += 1

    def __iter__(self) -> Iterator[Batch]:
        for _ in range(NUM_SAMPLES // BATCH_SIZE):
            self.log.did.append("take")
            yield self._queue.get()

    def close(self) -> None:
        pass


class SlowModel:
    batch_size = BATCH_SIZE

    def __init__(self, log: Log, batch_s: float) -> None:
        self.log, self.batch_s = log, batch_s
        self.resident_NCHW = torch.zeros(BATCH_SIZE, 1, 1, 1)

    def __call__(self, images_NCHW: torch.Tensor) -> torch.Tensor:
        self.log.did.append("alone" if images_NCHW is self.resident_NCHW else "run")
        time.sleep(self.batch_s)
        return torch.eye(NUM_SAMPLES)[images_NCHW.flatten().long()]


class NotingClock(Clock):
    """Notes how many batches wait in the loader's queue as a window opens."""

    loader: PrefetchingLoader

    def __init__(self) -> None:
        super().__init__()
        self.waiting: list[int] = []

    def start(self) -> None:
        self.waiting.append(self.loader._queue.qsize())
        super().start()


def taken(
    loader_s: float,
    model_s: float,
    seconds: float = 0.0,
    for_seconds: float = 0.0,
    clock: NotingClock | None = None,
    **options: object,
) -> tuple[Rounds, Log]:
    log = Log()
    loader, model = PrefetchingLoader(log, loader_s), SlowModel(log, model_s)
    stream = Stream(loader)
    for _ in range(DEPTH + 2):  # as after a window
        model(stream.take().images_NCHW)
    log.did.clear()
    known = {"num_queued": DEPTH + 1, "num_workers": 1, **options}
    tally = Tally(NUM_SAMPLES, None, "cpu")
    clock = clock or NotingClock()
    clock.loader = loader
    rounds = Rounds(model, tally, model.resident_NCHW, clock, seconds, for_seconds, **known)  # type: ignore[arg-type]
    step_s = max(loader_s, model_s)
    wait_s = max(0.0, loader_s - model_s)
    rounds.take(stream, Window(num_images=4, num_steps=1, wall_s=step_s, wait_s=wait_s))
    return rounds, log


@pytest.mark.parametrize(("loader_s", "model_s"), [(0.03, 0.01), (0.01, 0.03)])
def test_what_was_read_ahead_is_in_no_window(loader_s: float, model_s: float) -> None:
    clock = NotingClock()
    rounds, _ = taken(loader_s, model_s, clock=clock)
    first_end_to_end, loader, model, model_again, loader_again, end_to_end = clock.waiting
    # One may come just then.
    assert max(loader, loader_again) <= 1
    assert model == model_again == DEPTH
    if loader_s > model_s:
        assert max(first_end_to_end, end_to_end) <= 1
    for each in rounds.rounds:
        assert each.loader is not None
        assert each.end_to_end.num_steps == each.loader.num_steps == each.model.num_steps == 2
        assert each.loader.wait_s <= each.loader.wall_s
        assert each.model.images_per_s <= 1.01 * BATCH_SIZE / model_s


def test_a_queue_that_is_longer_than_stated_is_in_no_window() -> None:
    rounds, _ = taken(0.03, 0.02, num_queued=0)
    ceilings = [each.loader.images_per_s for each in rounds.rounds if each.loader is not None]
    assert len(ceilings) == 2
    assert max(ceilings) < 1.2 * BATCH_SIZE / 0.03


def test_the_model_alone_runs_while_the_loader_rests() -> None:
    log = Log()
    loader = PrefetchingLoader(log, 0.01)
    made: list[int] = []

    class Watching(SlowModel):
        def __call__(self, images_NCHW: torch.Tensor) -> torch.Tensor:
            if images_NCHW is self.resident_NCHW:
                made.append(loader.num_made)
            return super().__call__(images_NCHW)

    model = Watching(log, 0.03)
    rounds = Rounds(
        model, Tally(NUM_SAMPLES, None, "cpu"), model.resident_NCHW, Clock(), 0.0, 0.0,
        num_queued=DEPTH + 1, num_workers=1,
    )  # fmt: skip
    rounds.take(Stream(loader), Window(num_images=4, num_steps=1, wall_s=0.03, wait_s=0.0))
    assert len(made) == 5  # one that is not timed, and two in each of two windows
    assert len(set(made[1:])) == 1


def test_the_order_turns_round() -> None:
    _, log = taken(0.004, 0.008)
    parts = "".join({"take": "t", "run": "r", "alone": "m"}[each] for each in log.did)
    end_to_end, loader = parts.split("m")[0], parts.split("m")[-1]
    assert end_to_end.startswith("trtr")
    assert end_to_end.endswith("ttt")
    assert loader.startswith("ttt")
    assert loader.endswith("trtr")
    assert set(parts) == {"t", "r", "m"}


def test_whole_turns_of_the_workers() -> None:
    rounds, _ = taken(0.001, 0.001, num_workers=3)
    for each in rounds.rounds:
        assert each.loader is not None
        assert each.end_to_end.num_steps == each.loader.num_steps == 3
        assert each.model.num_steps == 2


def test_windows_are_as_long_as_asked_and_add_up() -> None:
    rounds, _ = taken(0.002, 0.003, seconds=0.05)
    windows = [each.loader for each in rounds.rounds if each.loader]
    assert min(window.wall_s for window in windows) >= 0.05
    assert rounds.loader_ceiling is not None
    assert rounds.loader_ceiling.num_images == sum(window.num_images for window in windows)
    assert rounds.loader_ceiling.wall_s == pytest.approx(sum(window.wall_s for window in windows))
    assert rounds.loader_ceiling.cpu_s is None
    assert rounds.model_ceiling is not None
    models = [each.model for each in rounds.rounds]
    assert rounds.model_ceiling.num_images == sum(window.num_images for window in models)


def test_one_batch_is_enough_where_it_takes_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fastbench.measure.rounds.SLOW_STEP_S", 0.005)
    rounds, _ = taken(0.001, 0.006)
    assert {each.model.num_steps for each in rounds.rounds} == {1}


def test_a_loader_without_a_ceiling() -> None:
    rounds, log = taken(0.001, 0.002, loader_counts=False)
    assert rounds.loader_ceiling is None
    assert rounds.model_ceiling is not None
    assert [each.loader for each in rounds.rounds] == [None, None]
    assert log.did.count("take") == log.did.count("run")


def test_cold_files_and_cpu_time_of_the_loader() -> None:
    told: list[str] = []

    class Watching:
        def cpu_s(self) -> float:
            told.append("used")
            return float(len(told))

    rounds, _ = taken(0.001, 0.001, watch=Watching(), evict=lambda: told.append("evict"))
    # End to end, loader; loader, end to end.
    assert told == ["evict", "evict", "used", "used", "evict", "used", "used", "evict"]
    assert rounds.loader_ceiling is not None
    assert rounds.loader_ceiling.cpu_s == 2


def test_rounds_go_on_for_the_time_that_they_have() -> None:
    rounds, log = taken(0.001, 0.001, for_seconds=0.2)
    assert len(rounds.rounds) > 2
    assert len(rounds.rounds) % 2 == 0
    assert log.did[0] == "take"
