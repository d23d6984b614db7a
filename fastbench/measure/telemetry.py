"""What the run used while its windows ran: CPU time, memory, and what the GPU's driver reports.

Counters (CPU time, energy) are read at both ends of a window and subtracted. Gauges (resident
memory, power, utilisation, clocks, temperature) are read by a thread every `interval_s` while a
window is open, less often with many processes, and at least once a window. SI units, except for
percent, MHz and degrees Celsius, as NVML has them.

A child's CPU time moves to its parent when it ends, so the sum over this process and its children
of all generations is what they used. The rest of the cores' busy time is foreign: other programs,
the kernel's threads and interrupts, and what a hypervisor took. `/proc/stat` has it in steps of
10 ms a core. Under a CPU quota the kernel counts the periods, and those in which the quota was used
up and the run stood still.

Limits: shared pages count once in each process. A child whose own parent ended before it is not
seen. NVML averages power over up to a second and utilisation over 1/6 to 1 s, where "SM
utilisation" is the share of time in which any kernel ran. Used memory is that of all processes on
the GPU. The thread's own CPU time is part of the run's.
"""

from __future__ import annotations

import contextlib
import os
import resource
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Self

import psutil

from fastbench.core.cores import cpu_quota, num_periods
from fastbench.core.nvidia import nvml_handle
from fastbench.measure.process_usage import TICK_S, Used, used_by, used_by_child
from fastbench.records.speed import GpuTelemetry, Telemetry

THROTTLING: Final = {
    0x04: "power cap",
    0x08: "hardware slowdown",
    0x10: "sync boost",
    0x20: "software thermal slowdown",
    0x40: "hardware thermal slowdown",
    0x80: "power brake",
}
"""NVML's bits of what lowers the clocks, without idle and clocks set by hand."""

_GAUGES: Final = (
    *("power_w", "sm_utilization_pct", "memory_utilization_pct", "jpeg_utilization_pct"),
    *("sm_clock_mhz", "temperature_c", "memory_used_bytes"),
)
"""The fields of `GpuTelemetry` with a value for each reading."""

_STAT: Final = Path("/proc/stat")
_READING_SHARE: Final = 1 / 200
"""The share of a core that readings may take."""
_LOOK_AROUND_SHARE: Final = 1 / 400
"""The share for listing our processes, for which psutil reads all of the machine's."""
_LOOK_AROUND_S: Final = 1.0
"""They are listed no more often than this."""
_TRIES: Final = 5


class Watch:
    """Watches windows: `begin()` before each, `end(num_images)` after it, `read()` at last.

    `look_around()` lists the processes for the next `begin()`, which takes milliseconds: call it
    before the warm-up ends, or the loader gets ahead meanwhile and the device runs dry.
    `gpu_index` is torch's index of the GPU, None without one.
    """

    def __init__(self, gpu_index: int | None, interval_s: float = 0.1) -> None:
        self._interval_s = interval_s
        self._cores = os.sched_getaffinity(0)
        self._gpu = None if gpu_index is None else _Gpu.find(gpu_index)
        self._self = psutil.Process()
        self._children: list[psutil.Process] = []
        self._next_look = 0.0
        self._has_looked = False
        self._pause_s = interval_s
        self._start: _Mark | None = None
        self._windows: list[tuple[_Mark, _Mark]] = []
        self._num_images = 0
        self._rss_bytes: list[int] = []
        self._num_in_window = 0
        self._reading = threading.Lock()
        self._opened, self._over = threading.Event(), threading.Event()
        self._closed = False
        self._thread = threading.Thread(target=self._sample, name="telemetry", daemon=True)
        self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def look_around(self) -> None:
        """List the processes whose CPU time the next reading begins with."""
        self._children = self._list_children()
        self._has_looked = True

    def begin(self) -> None:
        """Open a window."""
        self._pause_s, self._num_in_window = self._interval_s, 0
        self._start = self._mark()
        self._over.clear()
        self._opened.set()

    def end(self, num_images: int) -> None:
        """Close the window, in which `num_images` images were done."""
        assert self._start is not None, "end() without begin()"
        self._windows.append((self._start, self._mark()))
        self._num_images += num_images
        self._stop()
        self._count_foreign()
        if not self._num_in_window:
            self._take_reading()

    def read(self) -> Telemetry:
        """All windows so far, summed."""
        wall_s, cpu_s = self._grown("wall_s") or 0.0, self._grown("cpu_s") or 0.0
        busy_s, told_s = self._grown("busy_s"), self._grown("told_s")
        return Telemetry(
            wall_s=wall_s,
            interval_s=self._interval_s,
            num_readings=len(self._rss_bytes),
            num_images=self._num_images,
            num_cores=len(self._cores),
            cpu_quota=cpu_quota(),
            num_periods=self._count("num_periods"),
            num_throttled=self._count("num_throttled"),
            cpu_s=max(0.0, cpu_s),
            kernel_cpu_s=max(0.0, self._grown("kernel_cpu_s") or 0.0),
            num_faults=self._count("num_faults"),
            foreign_cpu_s=foreign_cpu_s(wall_s * len(self._cores), told_s, busy_s, cpu_s),
            rss_bytes=list(self._rss_bytes),
            gpu=self._gpu.telemetry(self._grown("energy_j")) if self._gpu else None,
        )

    def _grown(self, counter: str) -> float | None:
        """What a counter grew by in all windows; None if it is unknown in one."""
        marks = [(getattr(start, counter), getattr(end, counter)) for start, end in self._windows]
        if any(None in pair for pair in marks):
            return None
        return float(sum(end - start for start, end in marks))

    def _count(self, counter: str) -> int | None:
        grown = self._grown(counter)
        return None if grown is None else max(0, round(grown))

    def close(self) -> None:
        """End the thread; an open window does not count."""
        self._closed = True
        self._stop()
        self._opened.set()
        self._thread.join()

    def _stop(self) -> None:
        """Stop the readings; wait for one in progress."""
        self._start = None
        self._opened.clear()
        self._over.set()
        with self._reading:
            pass

    def _sample(self) -> None:
        while self._opened.wait() and not self._closed:
            if self._over.wait(self._pause_s):
                continue
            with self._reading:
                if not self._over.is_set():
                    self._take_reading()

    def _take_reading(self) -> None:
        if time.perf_counter() >= self._next_look:
            self._children = self._list_children()
            self._count_foreign()
        start = time.thread_time()
        rss_bytes = 0
        for process in (self._self, *self._children):
            with contextlib.suppress(psutil.Error):
                rss_bytes += process.memory_info().rss
        self._rss_bytes.append(rss_bytes)
        self._num_in_window += 1
        if self._gpu:
            self._gpu.take_reading()
        took = time.thread_time() - start
        self._pause_s = max(self._interval_s, took / _READING_SHARE)

    def _list_children(self) -> list[psutil.Process]:
        """Parents before their children."""
        start = time.thread_time()
        children = self._self.children(recursive=True)
        took = time.thread_time() - start
        self._next_look = time.perf_counter() + max(_LOOK_AROUND_S, took / _LOOK_AROUND_SHARE)
        return children

    def _count_foreign(self) -> None:
        if self._gpu:
            self._gpu.count_foreign({self._self.pid, *(child.pid for child in self._children)})

    def _mark(self) -> _Mark:
        """Read the counters, in the same order at both ends of a window."""
        wall_s = time.perf_counter()
        energy_j = self._gpu.energy_j() if self._gpu else None
        told_s, busy_s = _cores_s(self._cores)
        periods, throttled = num_periods() or (None, None)
        used = self._used()
        return _Mark(
            wall_s=wall_s,
            cpu_s=used.user_s + used.kernel_s,
            kernel_cpu_s=used.kernel_s,
            num_faults=used.num_faults,
            told_s=told_s,
            busy_s=busy_s,
            energy_j=energy_j,
            num_periods=periods,
            num_throttled=throttled,
        )

    def cpu_s(self) -> float:
        """CPU time so far of this process and all its children, with those that have ended.

        Right after `look_around()` the children are those that it found.
        """
        used = self._used()
        return used.user_s + used.kernel_s

    def _used(self) -> Used:
        own = used_by(resource.RUSAGE_SELF)
        for _ in range(_TRIES):
            children = self._children if self._has_looked else self._list_children()
            self._children, self._has_looked = children, False
            # Parents come first. The time of a child that ends meanwhile is in neither: asking for
            # it fails, and all is read again.
            used, vanished = own + used_by(resource.RUSAGE_CHILDREN), False
            for child in children:
                try:
                    used += used_by_child(child.pid)
                except OSError:
                    vanished = True
            if not vanished:
                break
        return used


class _Gpu:
    """One GPU by NVML; what is not known is None or an empty list."""

    def __init__(self, nvml: Any, handle: Any) -> None:
        self._nvml, self._handle = nvml, handle
        self._gauges: dict[str, list[Any]] = {name: [] for name in _GAUGES}
        self._throttling = 0
        self._num_foreign: int | None = None

    @classmethod
    def find(cls, device_index: int) -> _Gpu | None:
        """The GPU with torch's index; None if NVML does not have it."""
        handle = nvml_handle(device_index)
        if handle is None:
            return None
        import pynvml

        return cls(pynvml, handle)

    def energy_j(self) -> float | None:
        """Energy since the driver was loaded."""
        millijoules = self._ask("nvmlDeviceGetTotalEnergyConsumption")
        return None if millijoules is None else millijoules / 1e3

    def take_reading(self) -> None:
        """One value of each gauge."""
        gauges = self._gauges
        if (milliwatts := self._ask("nvmlDeviceGetPowerUsage")) is not None:
            gauges["power_w"].append(milliwatts / 1e3)
        if (rates := self._ask("nvmlDeviceGetUtilizationRates")) is not None:
            gauges["sm_utilization_pct"].append(rates.gpu)
            gauges["memory_utilization_pct"].append(rates.memory)
        if (jpeg := self._ask("nvmlDeviceGetJpgUtilization")) is not None:
            gauges["jpeg_utilization_pct"].append(jpeg[0])
        if (mhz := self._ask("nvmlDeviceGetClockInfo", "NVML_CLOCK_SM")) is not None:
            gauges["sm_clock_mhz"].append(mhz)
        if (degrees := self._ask("nvmlDeviceGetTemperature", "NVML_TEMPERATURE_GPU")) is not None:
            gauges["temperature_c"].append(degrees)
        if (memory := self._ask("nvmlDeviceGetMemoryInfo")) is not None:
            gauges["memory_used_bytes"].append(memory.used)
        reasons = self._ask("nvmlDeviceGetCurrentClocksEventReasons")
        if reasons is None:  # its name before driver 535
            reasons = self._ask("nvmlDeviceGetCurrentClocksThrottleReasons")
        self._throttling |= reasons or 0

    def count_foreign(self, ours: set[int]) -> None:
        """Keep the largest number of processes on the GPU that are not ours.

        In a container NVML may list the host's process ids, of which one must be ours, or none.
        """
        pids = {process.pid for process in self._ask("nvmlDeviceGetComputeRunningProcesses") or ()}
        if pids:
            num = len(pids - ours) if pids & ours else len(pids) - 1
            self._num_foreign = max(num, self._num_foreign or 0)

    def telemetry(self, energy_j: float | None) -> GpuTelemetry:
        """All readings so far."""
        limit = self._ask("nvmlDeviceGetEnforcedPowerLimit")
        return GpuTelemetry(
            energy_j=energy_j,
            power_limit_w=None if limit is None else limit / 1e3,
            **{name: list(values) for name, values in self._gauges.items()},
            throttle_reasons=[name for bit, name in THROTTLING.items() if self._throttling & bit],
            num_foreign_processes=self._num_foreign,
        )

    def _ask(self, function: str, *constants: str) -> Any:
        """An NVML function's result; None if the chip, the driver or pynvml has none."""
        try:
            arguments = [getattr(self._nvml, name) for name in constants]
            return getattr(self._nvml, function)(self._handle, *arguments)
        except (self._nvml.NVMLError, AttributeError):
            return None


@dataclass(frozen=True, kw_only=True)
class _Mark:
    """The counters at one end of a window, in seconds, joules, and periods of the CPU quota.

    `told_s` is the time of the cores in `/proc/stat`, `busy_s` the part that was not idle.
    """

    wall_s: float
    cpu_s: float
    kernel_cpu_s: float
    num_faults: int
    told_s: float | None
    busy_s: float | None
    energy_j: float | None
    num_periods: int | None
    num_throttled: int | None


def foreign_cpu_s(
    cores_s: float, told_s: float | None, busy_s: float | None, ours_s: float
) -> float | None:
    """The cores' busy time that is not ours; None if `/proc/stat` is not about our cores.

    It must account for `cores_s` seconds of core time (some sandboxes leave it at zero), of which
    at least ours are busy (some containers show other cores). Both may be off by the steps of
    10 ms and by readings one after the other.
    """
    if told_s is None or busy_s is None or cores_s == 0:
        return None
    if not 0.8 <= told_s / cores_s <= 1.2 or ours_s - busy_s > 0.1 + 0.1 * ours_s:
        return None
    return max(0.0, busy_s - ours_s)


def _cores_s(cores: set[int]) -> tuple[float, float] | tuple[None, None]:
    """Seconds that these cores have been on and busy, for whomever.

    psutil leaves out the cores' numbers, which have gaps if some cores are off.
    """
    told = busy = 0
    found = set()
    try:
        lines = _STAT.read_text().splitlines()
    except OSError:
        return None, None
    for name, *columns in map(str.split, lines):
        if not name.startswith("cpu"):
            break
        if name != "cpu" and int(name[3:]) in cores:
            user, nice, system, idle, io_wait, *others = map(int, columns[:8])
            busy += (now := user + nice + system + sum(others))  # interrupts, steal
            told += now + idle + io_wait
            found.add(int(name[3:]))
    return (told * TICK_S, busy * TICK_S) if found == cores else (None, None)
