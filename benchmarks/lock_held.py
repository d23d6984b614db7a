"""For how long do thread loaders hold Python's lock, and up to how many cores do they scale?

Threads decode at once, but what is left to Python they do one at a time: with `held` seconds of an
image under the lock no number of threads makes more than 1 / held images a second. Three ways to
see it, which know nothing of each other:

    sampled   another process reads the word in memory that says whether the lock is taken, some
              thousand times a second, while one thread makes images. Held is the share of the
              samples times the CPU seconds of an image. A kernel that never needs the lock is seen
              to hold it for 0.6 % of its time (`zlib.crc32`, shown as `nothing`), so that much is
              not known. The machine's other work evicts Python's code from the caches, and what
              is held grows with that: believe ratios of a round, and of the figure the first digit
    Amdahl    the speed-up of 2 threads over 1, and what must be serial for it: 2 / speed-up - 1.
              It has what threads share besides the lock (memory, caches, a neighbour's noise)
    asleep    the images are tiny, and each image's thread sleeps for what a real one takes: more
              threads than there are cores come to the lock's limit, or to that of the few cores.
              All stays in the caches, so it is the most that a machine could reach

The word is found by looking: of those in `_PyRuntime` it is 1 whenever the process computes in
Python, and 0 whenever it sleeps. On Python 3.11 that leaves one; where it does not, this stops.

Beside the loaders the decoders alone, each in one thread: CPU seconds, lock, and the files whose
pixels are not Pillow's; and the stages of torchvision-tensor, timed in one thread. With REVISION
the package at that revision, taken out of git, takes turns with the one here. Every other round is
in the reverse order; figures are medians over rounds with 95 % intervals (sign test).

    uv run --with imagecodecs --with torchcodec \\
        python benchmarks/lock_held.py [REVISION] [--data DIR] [--rounds N] [--output FILE]
"""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import dataclasses
import functools
import importlib
import json
import math
import os
import select
import shlex
import statistics
import subprocess
import sys
import tempfile
import time
import zlib
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dali_host import ROOT, ask

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

LOADERS = ("torchvision-tensor 1", "torchvision-tensor 2")
HERE = {
    "loader": (
        *LOADERS,
        *("torchvision-tensor 1 without simplejpeg", "torchvision-tensor 2 without simplejpeg"),
        *("opencv 1", "dali 1"),
    ),
    "decoder": (
        *("simplejpeg", "torchvision", "torchcodec", "imagecodecs", "opencv", "PIL", "nothing"),
    ),
    "stages": ("torchvision-tensor",),
    "asleep": tuple(f"torchvision-tensor {num}" for num in (4, 16, 64)),
}
OLDER = {"loader": LOADERS, "asleep": HERE["asleep"]}
WITH = ("--with", "imagecodecs", "--with", "torchcodec")
BATCH_SIZE = 32
ASLEEP_S = 0.002
ASLEEP_TIMES = 16
"""So many times the batches: they are soon made."""
EVERY_S = 1e-4
"""Between two samples, beside what they take."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("revision", nargs="?", help="an older revision, as git names it")
    parser.add_argument("--data", type=Path, help="folder of JPEGs (default: the sample data)")
    parser.add_argument("--rounds", type=int, default=12)
    parser.add_argument("--batches", type=int, default=8, help="batches a window")
    parser.add_argument("--output", type=Path, help="JSON file to write")
    arguments = parser.parse_args()

    from fastbench.core.atomic_files import write_text
    from fastbench.data.sample.draw_all import ensure_sample
    from fastbench.measure import machine

    folder = str((arguments.data or ensure_sample(1000)).resolve())
    with contextlib.ExitStack() as stack:
        children = {"here": stack.enter_context(started(ROOT, folder))}
        if arguments.revision:
            older = Path(stack.enter_context(tempfile.TemporaryDirectory()))
            commit = take_out(arguments.revision, older)
            children["older"] = stack.enter_context(started(older, folder))
        cases = [
            (who, f"{kind} {name}")
            for who, kinds in (("here", HERE), ("older", OLDER))[: len(children)]
            for kind, names in kinds.items()
            for name in names
        ]
        results: dict[str, dict[str, Any]] = {}
        for who, case in list(cases):
            if why := children[who].why_not(case):
                print(f"not here: {case}: {why}")
                cases.remove((who, case))
        for number in range(arguments.rounds):
            for who, case in cases if number % 2 == 0 else reversed(cases):
                figures = results.setdefault(f"{who} {case}", {})
                for figure, value in children[who].window(case, arguments.batches).items():
                    figures.setdefault(figure, []).append(value)
            print(f"round {number + 1} of {arguments.rounds}", file=sys.stderr)
            record: dict[str, Any] = {
                "benchmark": "lock_held",
                "command": shlex.join(["uv", "run", *WITH, "python", *sys.argv]),
                "environment": machine.describe(),
                "load_average": os.getloadavg(),
                "older_commit": commit if arguments.revision else None,
                "batch_size": BATCH_SIZE,
                "batches_a_window": arguments.batches,
                "asleep_s": ASLEEP_S,
                "found": {name: of_rounds(figures) for name, figures in results.items()},
                "compared": compare(results),
                "rounds": results,
            }
            if arguments.output:  # after each round: what was seen is kept if it is interrupted
                arguments.output.parent.mkdir(parents=True, exist_ok=True)
                write_text("The figures", arguments.output, json.dumps(record, indent=1) + "\n")
    for name, figures in record["found"].items():
        print(name)
        show(figures, "    ")
    show(record["compared"])


def take_out(revision: str, folder: Path) -> str:
    """Put the package as it was at a revision into a folder; the commit."""
    git = {"cwd": ROOT, "check": True, "capture_output": True}
    named = subprocess.run(["git", "rev-parse", f"{revision}^{{commit}}"], **git)  # type: ignore[call-overload]
    commit = named.stdout.decode().strip()
    archive = subprocess.run(["git", "archive", commit, "fastbench"], **git)  # type: ignore[call-overload]
    subprocess.run(["tar", "-x", "-C", folder], input=archive.stdout, check=True)
    return str(commit)


def of_rounds(figures: dict[str, list[float]]) -> dict[str, dict[str, float | None]]:
    """Of each figure its median over the rounds, and the median's interval."""
    return {figure: median_of(values) for figure, values in figures.items()}


def median_of(values: list[float]) -> dict[str, float | None]:
    from scipy.stats import quantile_test

    low, high = quantile_test(values).confidence_interval()  # without end if the rounds are few
    bounds = [float(x) if math.isfinite(x) else None for x in (low, high)]
    return {"median": statistics.median(values), "low": bounds[0], "high": bounds[1]}


def compare(results: dict[str, dict[str, list[float]]]) -> dict[str, dict[str, float | None]]:
    """What a round's windows say together."""
    found: dict[str, dict[str, float | None]] = {}
    for name, figures in results.items():
        if name.startswith("here loader") and name.replace(" 1", " 2") in results.keys() - {name}:
            two = results[name.replace(" 1", " 2")]["images_per_s"]
            speed_ups = [b / a for a, b in zip(figures["images_per_s"], two, strict=True)]
            found[f"serial share by Amdahl, {name}"] = median_of([2 / x - 1 for x in speed_ups])
            found[f"serial share sampled, {name}"] = median_of(figures["locked_share"])
            cores = [
                cpu / held for cpu, held in zip(figures["cpu_us"], figures["held_us"], strict=True)
            ]
            found[f"cores that it scales to, {name}"] = median_of(cores)
        for figure in ("held_us", "cpu_us", "images_per_s"):
            older = results.get(name.replace("here", "older"), {})
            if name.startswith("here") and figure in figures and figure in older:
                pairs = zip(figures[figure], older[figure], strict=True)
                found[f"{figure}, here / older, {name[5:]}"] = median_of([a / b for a, b in pairs])
    return found


def show(figures: dict[str, dict[str, float | None]], indent: str = "") -> None:
    for name, value in figures.items():
        low, high = ("?" if x is None else f"{x:,.3f}" for x in (value["low"], value["high"]))
        print(f"{indent}{name:<72} {value['median']:>10,.3f} ({low} to {high})")


class Child:
    """A process that makes images, and the word of its memory that says if its lock is taken."""

    def __init__(self, process: subprocess.Popen[str], memory: int) -> None:
        self._process = process
        self._memory = memory
        self._word = self._find_word()
        print("go", file=process.stdin, flush=True)

    def _find_word(self) -> int:
        import numpy as np

        start, length = (int(word) for word in ask(self._process, "").split())
        # Which of the words follows what the process does?
        follows = np.ones(length // 4, bool)
        for state in ["spin", "sleep"] * 4:
            ask(self._process, state)
            for _ in range(4):
                time.sleep(0.02)
                words = np.frombuffer(os.pread(self._memory, length, start), np.int32)
                follows &= words == (state == "spin")
            ask(self._process, "")
        found = np.flatnonzero(follows)
        if len(found) != 1:
            raise SystemExit(
                f"{len(found)} words of this Python's memory look like its lock. Run it with a "
                f"Python 3.11, where one does, and with as many cores idle as there are."
            )
        return start + 4 * int(found[0])

    def why_not(self, case: str) -> str:
        """Open a case; why it cannot be, or nothing."""
        return ask(self._process, f"open {case}").strip()

    def window(self, case: str, num_batches: int) -> dict[str, float]:
        """Run batches of a case; what it says of them, and how its lock was seen."""
        ask(self._process, f"{num_batches} {case}")
        assert self._process.stdout is not None
        num_taken = num_samples = 0
        while not select.select([self._process.stdout], [], [], 0)[0]:
            num_taken += os.pread(self._memory, 4, self._word)[0]
            num_samples += 1
            time.sleep(EVERY_S)
        figures: dict[str, float] = json.loads(ask(self._process, ""))
        if "cpu_us" in figures:
            share = max(num_taken, 1) / num_samples
            figures |= {"locked_share": share, "held_us": share * figures["cpu_us"]}
        return figures


@contextlib.contextmanager
def started(package: Path, folder: str) -> Iterator[Child]:
    process = subprocess.Popen(
        [sys.executable, __file__, "--child", folder],
        env={**os.environ, "PYTHONPATH": str(package), "OMP_WAIT_POLICY": "PASSIVE"},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    memory = os.open(f"/proc/{process.pid}/mem", os.O_RDONLY)
    try:
        yield Child(process, memory)
    finally:
        os.close(memory)
        process.communicate()


def serve(folder: str) -> None:
    """The child: show the parent its lock, then run what is asked for."""
    runtime = ctypes.addressof(ctypes.c_char.in_dll(ctypes.pythonapi, "_PyRuntime"))
    with open("/proc/self/maps") as maps:
        spans = [[int(end, 16) for end in line.split()[0].split("-")] for line in maps]
    (end,) = (end for start, end in spans if start <= runtime < end)
    print(runtime, end - runtime, flush=True)
    for line in iter(sys.stdin.readline, "go\n"):
        print(line, end="", flush=True)
        until = time.monotonic() + 0.5
        if line == "sleep\n":
            time.sleep(0.5)
        while time.monotonic() < until:
            pass
        print("done", flush=True)

    import torch

    from fastbench.data.dataset import scan
    from fastbench.loaders.base import IMAGENET, LoaderSpec

    torch.set_num_threads(1)
    manifest = scan(Path(folder))
    spec = LoaderSpec(
        paths=manifest.paths,
        batch_size=BATCH_SIZE,
        preprocess=IMAGENET,
        device="cpu",
        dtype="float32",
        num_threads=1,
        largest=manifest.largest,
        sizes=manifest.sizes,
    )
    kinds: dict[str, Callable[[LoaderSpec, str], Callable[[], dict[str, float]]]] = {
        "loader": open_loader,
        "decoder": open_decoder,
        "stages": open_stages,
        "asleep": open_asleep,
    }
    steps: dict[str, Callable[[], dict[str, float]]] = {}
    for line in sys.stdin:
        order, _, case = line.strip().partition(" ")
        if order == "open":
            kind, _, name = case.partition(" ")
            why = ""
            try:
                steps[case] = kinds[kind](spec, name)
            except Exception as error:  # noqa: BLE001 - a package may fail to open in any way
                why = f"{type(error).__name__}: {error}".replace("\n", " ")
            print(why, flush=True)
            continue
        step = steps[case]
        for _ in range(spec.prefetch + 2):
            step()  # what was queued while others ran
        print("begin", flush=True)
        used, begin = time.process_time(), time.perf_counter()
        num_steps = int(order) * (ASLEEP_TIMES if case.startswith("asleep") else 1)
        seen = [step() for _ in range(num_steps)]
        wall_s, cpu_s = time.perf_counter() - begin, time.process_time() - used
        print(json.dumps(summed(seen, wall_s, cpu_s)), flush=True)


def summed(seen: list[dict[str, float]], wall_s: float, cpu_s: float) -> dict[str, float]:
    """The figures of a window; of a stage the CPU microseconds of an image, and no rate."""
    num = sum(step.pop("num_images") for step in seen)
    stages = {name: sum(step[name] for step in seen) for name in seen[0]}
    if any(name.startswith("cpu_us") for name in stages):
        return {name: value / num for name, value in stages.items()}
    return {"images_per_s": num / wall_s, "cpu_us": 1e6 * cpu_s / num, **stages}


def open_loader(spec: Any, name: str) -> Callable[[], dict[str, float]]:
    from fastbench.loaders.registry import resolve

    loader, num_threads, *without = name.split()
    with hidden(*without[1:]):
        opened = resolve(loader)(dataclasses.replace(spec, num_threads=int(num_threads)))
    return batches_of(opened).__next__


def batches_of(loader: Any) -> Iterator[dict[str, float]]:
    while True:
        for batch in loader:
            yield {"num_images": batch.num_valid}


@contextlib.contextmanager
def hidden(*packages: str) -> Iterator[None]:
    kept = {package: sys.modules.get(package) for package in packages}
    sys.modules.update(dict.fromkeys(packages))  # type: ignore[arg-type]
    try:
        yield
    finally:
        for package, module in kept.items():
            del sys.modules[package]
            if module is not None:
                sys.modules[package] = module


def open_asleep(spec: Any, name: str) -> Callable[[], dict[str, float]]:
    """Tiny images, for each of which its thread sleeps."""
    from fastbench.loaders.registry import resolve
    from fastbench.loaders.shared.threads import ThreadedLoader

    loader, num_threads = name.split()
    _, file = tiny()
    spec = dataclasses.replace(
        spec,
        paths=[file] * 32 * BATCH_SIZE,
        sizes=[(24, 16)] * 32 * BATCH_SIZE,
        preprocess=dataclasses.replace(spec.preprocess, resize=12, crop=8),
        num_threads=int(num_threads),
    )
    plain: Any = ThreadedLoader.__init__

    def opened_asleep(self: Any, spec: Any, make_levels: Callable[[int], Any], more: Any) -> None:
        def slowly(sample: int) -> Any:
            time.sleep(ASLEEP_S)
            return make_levels(sample)

        plain(self, spec, slowly, more)

    ThreadedLoader.__init__ = opened_asleep  # type: ignore[assignment, method-assign]
    try:
        return batches_of(resolve(loader)(spec)).__next__
    finally:
        ThreadedLoader.__init__ = plain  # type: ignore[method-assign]


@functools.cache
def tiny() -> tuple[tempfile.TemporaryDirectory[str], str]:
    """A folder, which is removed when the process ends, and a tiny image in it."""
    from PIL import Image

    folder = tempfile.TemporaryDirectory(prefix="fastbench-lock-held-")
    file = f"{folder.name}/tiny.jpg"
    Image.new("RGB", (24, 16)).save(file)
    return folder, file


def open_decoder(spec: Any, name: str) -> Callable[[], dict[str, float]]:
    """Files read and decoded in one thread; the pixels that are not Pillow's are counted first."""
    import numpy as np
    import torch

    from fastbench.loaders.shared import decoders
    from fastbench.loaders.shared.threads import borrow_file

    if name == "nothing":
        content = bytes(1_000_000)

        def nothing() -> dict[str, float]:
            for _ in range(BATCH_SIZE):
                zlib.crc32(content)
            return {"num_images": BATCH_SIZE}

        return nothing
    decode: Callable[[str], Any]
    if name == "torchcodec":
        package = importlib.import_module("torchcodec.decoders")
        decode = lambda path: package.decode_jpeg(torch.from_numpy(borrow_file(path)))  # noqa: E731
    elif name == "imagecodecs":
        package = importlib.import_module("imagecodecs")
        decode = lambda path: package.jpeg8_decode(borrow_file(path), outcolorspace="RGB")  # noqa: E731
    elif name == "opencv":
        import cv2

        cv2.setNumThreads(1)
        flags = cv2.IMREAD_COLOR_RGB | cv2.IMREAD_IGNORE_ORIENTATION
        decode = lambda path: cv2.imdecode(borrow_file(path), flags)  # noqa: E731
    else:
        with hidden(*["simplejpeg"] if name != "simplejpeg" else []):
            kept = decoders._torchvision_decodes
            decoders._torchvision_decodes = lambda: name != "PIL"
            try:
                chosen, opens = decoders.choose_decoder()
            finally:
                decoders._torchvision_decodes = kept
        if name not in chosen:
            raise ImportError(f"{name} is not installed")
        decode = opens()

    def is_like_pillow_s(path: str) -> bool:
        pixels_HWC = np.asarray(decode(path)).squeeze()
        if pixels_HWC.shape[-1] != 3:
            pixels_HWC = pixels_HWC.transpose(1, 2, 0)
        return pixels_HWC.tobytes() == pillow_s(path)

    num_unlike = sum(not is_like_pillow_s(path) for path in spec.paths)
    turn = 0

    def step() -> dict[str, float]:
        nonlocal turn
        for _ in range(BATCH_SIZE):
            decode(spec.paths[turn % len(spec.paths)])
            turn += 1
        return {"num_images": BATCH_SIZE, "num_unlike": num_unlike}

    return step


@functools.cache
def pillow_s(path: str) -> bytes:
    from PIL import Image

    return Image.open(path).convert("RGB").tobytes()


def open_stages(spec: Any, _: str) -> Callable[[], dict[str, float]]:
    """What a thread of torchvision-tensor does, and the CPU time of each stage."""
    import torch

    from fastbench.loaders.builtin.torchvision_tensor import open_resizer
    from fastbench.loaders.shared.decoders import choose_decoder
    from fastbench.loaders.shared.pixels import Normalizer
    from fastbench.loaders.shared.threads import borrow_file

    decode, resize = choose_decoder()[1](), open_resizer(spec.preprocess)
    normalizer = Normalizer(spec.preprocess, "cpu", "float32")
    crop = spec.preprocess.crop
    images_NHP = torch.zeros(BATCH_SIZE, crop, 3 * crop)
    turn = 0

    def step() -> dict[str, float]:
        nonlocal turn
        seen = {"num_images": BATCH_SIZE} | dict.fromkeys(
            [f"cpu_us_{stage}" for stage in ("read", "read_and_decode", "resize", "normalise")], 0.0
        )
        for image_HP in images_NHP:
            path = spec.paths[turn % len(spec.paths)]
            turn += 1
            clock = [time.thread_time_ns()]
            borrow_file(path)
            clock.append(time.thread_time_ns())
            pixels_NCHW = decode(path)
            clock.append(time.thread_time_ns())
            levels_HP = resize(pixels_NCHW)
            clock.append(time.thread_time_ns())
            normalizer.into(levels_HP, image_HP)
            clock.append(time.thread_time_ns())
            for stage, (begin, end) in zip(list(seen)[1:], pairwise(clock), strict=True):
                seen[stage] += (end - begin) / 1000
        return seen

    return step


if __name__ == "__main__":
    if sys.argv[1:2] == ["--child"]:
        serve(*sys.argv[2:])
    else:
        main()
