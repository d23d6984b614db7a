"""What windows took: CPU time of all processes, held against their own word; NVML is made here."""

import multiprocessing
import os
import resource
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import msgspec
import psutil
import pytest

from fastbench.core import nvidia, own_processes
from fastbench.measure import telemetry
from fastbench.measure.telemetry import Watch, foreign_cpu_s

# Takes as many seconds of CPU time as each line says, and answers with all that it has taken.
SPIN = """
import sys, time
for line in sys.stdin:
    end = time.process_time() + float(line)
    while time.process_time() < end: pass
    print(time.process_time(), flush=True)
"""
# Its child does the work; it gets its standard input and output.
PARENT = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {SPIN!r}])"


def ended_s() -> float:
    """CPU seconds of this process's children that have ended."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


class Spinner:
    def __init__(self, code: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self.spin(0)  # it has started

    def spin(self, seconds: float) -> float:
        assert self.process.stdin
        assert self.process.stdout
        self.process.stdin.write(f"{seconds}\n")
        self.process.stdin.flush()
        return float(self.process.stdout.readline())

    def end(self) -> float:
        """The CPU seconds that the interpreters have taken to end; 0 if they had before."""
        if self.process.poll() is not None:
            return 0.0
        before_s = ended_s()
        its = psutil.Process(self.process.pid)
        pids = [its.pid, *(child.pid for child in its.children(recursive=True))]
        # In nanoseconds: `/proc/PID/stat` counts ticks of 10 ms.
        ran_ns = [int(Path(f"/proc/{pid}/schedstat").read_text().split()[0]) for pid in pids]
        self.process.communicate()
        return ended_s() - before_s - sum(ran_ns) / 1e9


class NvmlError(Exception):
    pass


class Nvml:
    """NVML with one GPU, on which `pids` run; the functions in `missing` raise."""

    NVMLError = NvmlError
    NVML_CLOCK_SM = 1
    NVML_TEMPERATURE_GPU = 0

    def __init__(self) -> None:
        self.missing: set[str] = set()
        self.pids = [os.getpid()]
        self.reasons = 0
        self.millijoules = 1_000_000
        self.answers = {
            "nvmlInit": lambda: None,
            "nvmlDeviceGetHandleByUUID": lambda uuid: {"GPU-7": "handle"}[uuid],
            "nvmlDeviceGetTotalEnergyConsumption": self.energy,
            "nvmlDeviceGetPowerUsage": lambda _: 250_500,
            "nvmlDeviceGetEnforcedPowerLimit": lambda _: 700_000,
            "nvmlDeviceGetUtilizationRates": lambda _: SimpleNamespace(gpu=91, memory=37),
            "nvmlDeviceGetJpgUtilization": lambda _: [55, 167_000],
            "nvmlDeviceGetClockInfo": lambda _, kind: {1: 1980}[kind],
            "nvmlDeviceGetTemperature": lambda _, sensor: {0: 64}[sensor],
            "nvmlDeviceGetMemoryInfo": lambda _: SimpleNamespace(used=3 << 30),
            "nvmlDeviceGetCurrentClocksEventReasons": lambda _: self.reasons,
            "nvmlDeviceGetCurrentClocksThrottleReasons": lambda _: self.reasons,
            "nvmlDeviceGetComputeRunningProcesses": lambda _: [
                SimpleNamespace(pid=pid) for pid in self.pids
            ],
        }

    def energy(self, handle: str) -> int:
        """40 J from each time that it is asked to the next."""
        self.millijoules += 40_000
        return self.millijoules

    def __getattr__(self, name: str) -> object:
        if name in self.missing:

            def fail(*_: object) -> None:
                raise NvmlError(name)

            return fail
        try:
            return self.answers[name]
        except KeyError as error:
            raise AttributeError(name) from error


@pytest.fixture
def nvml(monkeypatch: pytest.MonkeyPatch) -> Nvml:
    made = Nvml()
    monkeypatch.setitem(sys.modules, "pynvml", made)
    monkeypatch.setattr(nvidia, "uuid", str)
    return made


def watched(seconds: float = 0, *, gpu: int | None = 7) -> telemetry.Telemetry:
    with Watch(gpu, 0.01) as watch:
        watch.begin()
        time.sleep(seconds)
        watch.end(8)
        return watch.read()


@pytest.mark.parametrize("code", [SPIN, PARENT], ids=["child", "grandchild"])
@pytest.mark.parametrize("ends", [False, True], ids=["lives on", "ends in the window"])
def test_cpu_time_of_children_in_windows(code: str, ends: bool) -> None:
    spinner = Spinner(code)
    spinner.spin(0.15)
    expected = 0.0
    with Watch(None) as watch:
        watch.begin()
        expected += -spinner.spin(0) + spinner.spin(0.2)
        watch.end(100)
        spinner.spin(0.15)
        watch.begin()
        expected += -spinner.spin(0) + spinner.spin(0.1)
        if ends:
            expected += spinner.end()  # which is a part of the window
        watch.end(100)
        found = watch.read()
    spinner.end()
    assert found.num_images == 200
    assert found.cpu_s == pytest.approx(expected, abs=0.08)


def test_a_window_begins_with_the_processes_that_were_found_before() -> None:
    """Listing all of the machine's takes milliseconds, in which a GPU would run dry."""
    spinner = Spinner(SPIN)
    with Watch(None, 10.0) as watch:
        num_listed = 0
        real = watch._list_children

        def list_children() -> list[psutil.Process]:
            nonlocal num_listed
            num_listed += 1
            return real()

        watch._list_children = list_children  # type: ignore[method-assign]
        watch.look_around()
        watch.begin()
        assert num_listed == 1
        expected = -spinner.spin(0) + spinner.spin(0.2)
        watch.end(1)
        assert num_listed > 1  # children that were born meanwhile count
        assert watch.read().cpu_s == pytest.approx(expected, abs=0.08)
        watch.look_around()
        spinner.end()
        watch.begin()  # one of them has gone: they are listed again
        watch.end(1)
        assert watch.read().cpu_s == pytest.approx(expected, abs=0.08)


def test_children_of_a_forkserver(server: None) -> None:
    """A child's clock has all that it takes but its end; of this process, its own clock."""
    work = "import time\nwhile time.process_time() < 0.4: pass"
    with Watch(None) as watch, own_processes.started():
        context = multiprocessing.get_context("forkserver")
        child = context.Process(target=print)  # the server starts outside the window
        child.start()
        child.join()
        start = time.process_time()
        watch.begin()
        child = context.Process(target=exec, args=(work,))
        child.start()
        child.join()
        watch.end(1)
        own_s = time.process_time() - start
        children_s = watch.read().cpu_s - own_s
    assert 0.3 < children_s < 0.7  # neither lost nor counted twice, whatever forking costs


def test_own_cpu_time_and_memory() -> None:
    with Watch(None, 0.02) as watch:
        watch.begin()
        start = time.process_time()
        while time.process_time() < start + 0.2:
            pass
        watch.end(50)
        found = watch.read()
    assert found.cpu_s == pytest.approx(0.2, abs=0.05)
    assert found.cpu_s_per_1000_images == pytest.approx(4, abs=1)
    assert found.wall_s >= 0.19
    assert min(found.rss_bytes) > 10 << 20
    assert found.gpu is None


# Takes memory a page at a time, and gives it back, for the CPU seconds of each line.
FAULT = """
import mmap, sys, time
for line in sys.stdin:
    end, num_pages = time.process_time() + float(line), 0
    while time.process_time() < end:
        with mmap.mmap(-1, 16 << 20) as memory:
            memory.madvise(mmap.MADV_NOHUGEPAGE)
            for place in range(0, len(memory), mmap.PAGESIZE):
                memory[place] = 1
        num_pages += (16 << 20) // mmap.PAGESIZE
    print(num_pages, flush=True)
"""


def test_the_kernels_share_and_page_faults_of_children() -> None:
    for code, ends in ((FAULT, False), (FAULT, True), (SPIN, False)):
        spinner = Spinner(code)
        with Watch(None) as watch:
            watch.begin()
            num_pages = spinner.spin(0.2)
            if ends:
                spinner.end()
            watch.end(10)
            found = watch.read()
        spinner.end()
        assert found.num_faults is not None
        assert found.kernel_share is not None
        assert found.faults_per_image == found.num_faults / 10
        if code is FAULT:
            assert num_pages <= found.num_faults < num_pages + 10_000
            assert 0.1 < found.kernel_share <= 1
        else:
            assert found.num_faults < 10_000


def test_memory_of_children_is_in() -> None:
    def peak(code: str) -> int:
        spinner = Spinner(f"kept = bytearray(b'x') * (100 << 20)\n{code}")
        found = watched(0.05, gpu=None)
        spinner.end()
        return max(found.rss_bytes)

    assert peak(SPIN) - max(watched(0.05, gpu=None).rss_bytes) > 100 << 20


@pytest.fixture
def stranger(tmp_path: Path) -> Iterator[None]:
    """A busy process whose parent has gone: no child of ours any more."""
    ready, stop = tmp_path / "ready", tmp_path / "stop"
    code = (
        "import pathlib, time\n"
        f"pathlib.Path({str(ready)!r}).touch()\n"
        "end = time.monotonic() + 5\n"
        f"while time.monotonic() < end and not pathlib.Path({str(stop)!r}).exists(): pass\n"
    )
    subprocess.run(["sh", "-c", '"$0" -c "$1" &', sys.executable, code], check=True)
    while not ready.exists():
        time.sleep(0.01)
    yield
    stop.touch()


def test_cpu_time_of_others_is_foreign(stranger: None) -> None:
    found = watched(0.4, gpu=None)
    if found.foreign_cpu_s is None:
        pytest.skip("/proc/stat does not tell of these cores")
    assert found.foreign_cpu_s > 0.2
    assert found.cpu_s < 0.2
    assert found.foreign_cpu_share is not None
    assert found.foreign_cpu_share > 0.2 / 0.6 / found.num_cores


@pytest.mark.parametrize(
    ("told_s", "busy_s", "ours_s", "expected"),
    [
        (8.0, 6.0, 2.0, 4.0),
        (8.1, 2.0, 2.05, 0.0),  # steps of 10 ms
        (None, None, 2.0, None),
        (0.0, 0.0, 2.0, None),  # a sandbox that makes the file up
        (16.0, 2.0, 2.0, None),
        (8.0, 0.5, 2.0, None),  # other cores than ours
    ],
)
def test_foreign_cpu_time(
    told_s: float | None, busy_s: float | None, ours_s: float, expected: float | None
) -> None:
    assert foreign_cpu_s(8.0, told_s, busy_s, ours_s) == expected


def test_no_window_no_foreign_cpu_time() -> None:
    assert foreign_cpu_s(0.0, 0.0, 0.0, 0.0) is None


def test_cores_by_their_numbers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(telemetry, "TICK_S", 0.01)
    monkeypatch.setattr(telemetry, "_STAT", tmp_path / "stat")
    assert telemetry._cores_s({0}) == (None, None)
    (tmp_path / "stat").write_text(
        "cpu  1 1 1 1 1 1 1 1 0 0\n"
        "cpu0 100 0 0 900 0 0 0 0 0 0\n"
        "cpu2 10 20 30 500 40 50 60 70 5 5\n"  # guest time is in user time
        "intr 5\n"
    )
    assert telemetry._cores_s({2}) == (7.8, 2.4)
    assert telemetry._cores_s({0, 2}) == (17.8, 3.4)
    assert telemetry._cores_s({1, 2}) == (None, None)


def test_no_reading_outside_windows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(telemetry, "_READING_SHARE", 1.0)
    with Watch(None, 0.02) as watch:
        time.sleep(0.05)
        assert watch.read().num_readings == 0
        for _ in range(2):
            before, start = watch.read().num_readings, time.perf_counter()
            watch.begin()
            time.sleep(0.11)
            watch.end(1)
            most = (time.perf_counter() - start) / 0.02 + 1
            after = watch.read()
            assert 2 <= after.num_readings - before <= most
            time.sleep(0.05)
            assert watch.read() == after


def test_readings_get_rarer_where_they_cost_much(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(telemetry, "_READING_SHARE", 1e-9)
    assert watched(0.1, gpu=None).num_readings == 1


def test_a_window_shorter_than_the_interval_has_a_reading() -> None:
    with Watch(None, 10.0) as watch:
        for num in (1, 2):
            watch.begin()
            watch.end(1)
            assert watch.read().num_readings == num


def test_the_thread_is_gone_after_close() -> None:
    before = threading.active_count()
    watch = Watch(None, 10.0)
    assert threading.active_count() == before + 1
    watch.begin()
    watch.close()
    watch.close()
    assert threading.active_count() == before
    assert watch.read().wall_s == 0  # the window was never ended


def test_an_error_in_a_window_ends_the_thread() -> None:
    before = threading.active_count()

    def fail() -> None:
        with Watch(None) as watch:
            watch.begin()
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert threading.active_count() == before


def test_the_gpu(nvml: Nvml) -> None:
    with Watch(7, 10.0) as watch:
        for _ in range(2):
            watch.begin()
            nvml.energy("handle")  # others may ask too
            watch.end(60)
        found = watch.read()
    gpu = found.gpu
    assert gpu is not None
    assert gpu.energy_j == 160
    assert found.images_per_joule == pytest.approx(120 / 160)
    assert (gpu.power_w, gpu.power_limit_w) == ([250.5, 250.5], 700)
    assert gpu.sm_utilization_pct == [91, 91]
    assert gpu.memory_utilization_pct == [37, 37]
    assert gpu.jpeg_utilization_pct == [55, 55]
    assert gpu.sm_clock_mhz == [1980, 1980]
    assert gpu.temperature_c == [64, 64]
    assert gpu.memory_used_bytes == [3 << 30, 3 << 30]
    assert gpu.throttle_reasons == []
    assert gpu.num_foreign_processes == 0


def test_throttling_in_any_reading_is_named(nvml: Nvml) -> None:
    with Watch(7, 10.0) as watch:
        for nvml.reasons in (0x1 | 0x2 | 0x100, 0x4 | 0x40, 0x80, 0):
            watch.begin()
            watch.end(1)
        gpu = watch.read().gpu
    assert gpu is not None
    assert gpu.throttle_reasons == ["power cap", "hardware thermal slowdown", "power brake"]


@pytest.mark.parametrize("gone", ["missing", "answers"])
def test_throttling_by_its_name_before_driver_535(nvml: Nvml, gone: str) -> None:
    nvml.reasons = 0x20
    if gone == "missing":
        nvml.missing.add("nvmlDeviceGetCurrentClocksEventReasons")
    else:
        del nvml.answers["nvmlDeviceGetCurrentClocksEventReasons"]
    gpu = watched().gpu
    assert gpu is not None
    assert gpu.throttle_reasons == ["software thermal slowdown"]


def test_what_the_gpu_does_not_tell_is_absent(nvml: Nvml) -> None:
    nvml.missing = set(nvml.answers) - {"nvmlInit", "nvmlDeviceGetHandleByUUID"}
    found = watched(0.05)
    gpu = found.gpu
    assert gpu is not None
    known = msgspec.structs.asdict(gpu).values()
    assert [value for value in known if value not in ([], None)] == []
    assert (found.watts, found.images_per_joule) == (None, None)


@pytest.mark.parametrize("function", ["nvmlInit", "nvmlDeviceGetHandleByUUID"])
def test_without_nvml_there_is_no_gpu(nvml: Nvml, function: str) -> None:
    nvml.missing.add(function)
    assert watched().gpu is None


def test_without_pynvml_there_is_no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", None)
    assert watched().gpu is None


@pytest.mark.parametrize(
    ("strangers", "with_us", "expected"),
    [
        ([1, 2], True, 2),
        ([], False, None),  # we are on it, and not told: neither are others
        ([4_000_001], False, 0),  # the host's numbers, of which one is ours
        ([4_000_001, 4_000_002], False, 1),
    ],
)
def test_foreign_processes(
    nvml: Nvml, strangers: list[int], with_us: bool, expected: int | None
) -> None:
    spinner = Spinner(SPIN)
    nvml.pids = strangers + ([os.getpid(), spinner.process.pid] if with_us else [])
    gpu = watched(0.03).gpu
    spinner.end()
    assert gpu is not None
    assert gpu.num_foreign_processes == expected
