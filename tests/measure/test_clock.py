"""The clock of a GPU times the stream that the model runs on, whatever else the device does."""

from typing import Any

import pytest
import torch
from builders.paths import REPOSITORY

from fastbench.measure import clock as clock_module
from fastbench.measure.clock import Clock, CudaClock


class Gpu:
    """A device that runs in made-up time: when each stream will have done what it was given."""

    def __init__(self) -> None:
        self.now = 0.0
        self.done = {"model": 0.0, "loader": 0.0}
        self.burnt_s = 0.0  # waited without sleep

    def submit(self, stream: str, seconds: float) -> None:
        self.done[stream] = max(self.now, self.done[stream]) + seconds

    def wait(self, *streams: str) -> None:
        self.now = max(self.now, *(self.done[stream] for stream in streams))

    def synchronize(self, _: object) -> None:
        self.burn(*self.done)

    def burn(self, *streams: str) -> None:
        before = self.now
        self.wait(*streams)
        self.burnt_s += self.now - before

    def current_stream(self, _: object) -> Any:
        gpu = self

        class Stream:
            def synchronize(self) -> None:
                gpu.burn("model")

        return Stream()

    def Event(self, *, enable_timing: bool, blocking: bool = False) -> Any:  # noqa: N802
        gpu = self

        class Event:
            def record(self, _: object) -> None:
                self.at = max(gpu.now, gpu.done["model"])

            def synchronize(self) -> None:
                gpu.burnt_s += 0.0 if blocking else max(0.0, self.at - gpu.now)
                gpu.now = max(gpu.now, self.at)

            def elapsed_time(self, end: Any) -> float:
                return float(1e3 * (end.at - self.at))

        return Event()


def test_what_the_loader_makes_ahead_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """A loader that is slower than the model, and always one batch ahead on a stream of its own."""
    gpu = Gpu()
    monkeypatch.setattr(clock_module.torch, "cuda", gpu)
    monkeypatch.setattr(clock_module.time, "perf_counter", lambda: gpu.now)
    clock = CudaClock(torch.device("cuda", 0))

    def step() -> None:
        gpu.done["model"] = max(gpu.done["model"], gpu.done["loader"])  # its batch is there
        gpu.submit("loader", 0.1)  # and the next is begun
        gpu.submit("model", 0.02)
        clock.mark()

    gpu.submit("loader", 0.1)
    for _ in range(6):
        step()
    clock.start()
    for _ in range(10):
        step()
    wall_s = clock.stop()
    assert sum(clock.step_times()) == pytest.approx(wall_s, rel=0.02)  # as validity.py asks
    assert wall_s == pytest.approx(10 * 0.1)
    assert gpu.burnt_s == 0


def test_whoever_waits_for_a_gpu_sleeps() -> None:
    """A core that spins is taken from the loader, and counts as the run's CPU time."""
    spinning = [
        f"{path.name}: {line.strip()}"
        for path in (REPOSITORY / "fastbench").rglob("*.py")
        for line in path.read_text().splitlines()
        if "cuda.Event(" in line and "blocking=True" not in line
    ]
    assert spinning == []


def test_a_window_on_a_cpu_ends_with_its_last_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    """However long the process is kept waiting before the clock is stopped."""
    now = iter([10.0, 11.0, 13.0, 99.0])
    monkeypatch.setattr(clock_module.time, "perf_counter", lambda: next(now))
    clock = Clock()
    clock.start()
    clock.mark()
    clock.mark()
    assert clock.stop() == sum(clock.step_times()) == 3.0
