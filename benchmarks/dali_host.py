"""What does DALI's graph cost the host, now and at an older revision?

Two programs are compared in turn, window by window, every other round in the reverse order: the
package as it stands here, and as it was at the revision that is given, taken out of git. Each
runs in a process of its own, which waits while the other one is timed.

    host      the GPU's graph up to where the GPU takes over: all its CPU operators, of which every
              output that the GPU would get is kept, none of decoding. The files are one small JPEG
              that is a constant of the graph, so that neither reading nor decoding is timed: it is
              the most images/s that these operators let through
    loader    the loader `dali` alone on the CPU, files read and decoded

The figures are images/s, CPU microseconds of the process an image, and the ratio of a round, here
over the older revision: its median and 95 % interval (order statistics of the sign test).

    uv run python benchmarks/dali_host.py REVISION [--data DIR] [--rounds N] [--output FILE]
"""

from __future__ import annotations

import argparse
import dataclasses
import inspect
import io
import json
import os
import shlex
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

ROOT = Path(__file__).resolve().parents[1]
HOST_BATCH = 256
WARM_UP_BATCHES = 4
CASES = {
    "host, bilinear 256/224, fast": (256, "bilinear", "fast"),
    "host, bilinear 232/224, fast": (232, "bilinear", "fast"),
    "host, bicubic 256/224, fast": (256, "bicubic", "fast"),
    "host, bicubic 256/224, exact": (256, "bicubic", "exact"),
    "host, bicubic 224/224, exact": (224, "bicubic", "exact"),  # up to the border
    "loader, bilinear 256/224, fast": (256, "bilinear", "fast"),
    "loader, bilinear 232/224, fast": (232, "bilinear", "fast"),
    "loader, bicubic 256/224, fast": (256, "bicubic", "fast"),
    "loader, bicubic 256/224, exact": (256, "bicubic", "exact"),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("revision", help="the older revision, as git names it")
    parser.add_argument("--data", type=Path, help="folder of JPEGs (default: the sample data)")
    parser.add_argument("--rounds", type=int, default=16)
    parser.add_argument("--batches", type=int, default=8, help="batches a window")
    parser.add_argument("--case", action="append", choices=CASES, help="only this one")
    parser.add_argument("--output", type=Path, help="JSON file to write")
    arguments = parser.parse_args()

    from fastbench.core.atomic_files import write_text
    from fastbench.data.sample.draw_all import ensure_sample
    from fastbench.measure import machine

    folder = str((arguments.data or ensure_sample(1000)).resolve())
    commit = subprocess.run(
        ["git", "rev-parse", f"{arguments.revision}^{{commit}}"],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    ).stdout.strip()
    results = {}
    with tempfile.TemporaryDirectory() as older:
        archive = subprocess.run(
            ["git", "archive", commit, "fastbench"], cwd=ROOT, check=True, capture_output=True
        )
        subprocess.run(["tar", "-x", "-C", older], input=archive.stdout, check=True)
        for case in arguments.case or CASES:
            results[case] = compare(case, older, folder, arguments.rounds, arguments.batches)
            show(case, results[case])
    if arguments.output:
        record = {
            "benchmark": "dali_host",
            "command": shlex.join(["uv", "run", "python", *sys.argv]),
            "environment": machine.describe(),
            "older_commit": commit,
            "host_batch_size": HOST_BATCH,
            "batches_a_window": arguments.batches,
            "results": results,
        }
        arguments.output.parent.mkdir(parents=True, exist_ok=True)
        write_text("The figures", arguments.output, json.dumps(record, indent=1) + "\n")


def compare(
    case: str, older: str, folder: str, num_rounds: int, num_batches: int
) -> dict[str, Any]:
    """Time both programs in turn; of each images/s and CPU microseconds an image, by round."""
    from scipy.stats import quantile_test

    children = {"here": start(case, str(ROOT), folder), "older": start(case, older, folder)}
    windows: dict[str, list[tuple[float, float]]] = {name: [] for name in children}
    operators = {}
    try:
        for name, child in children.items():
            operators[name] = int(ask(child, ""))
        for number in range(num_rounds):
            for name in children if number % 2 == 0 else reversed(children):
                rate, cpu_us = ask(children[name], str(num_batches)).split()
                windows[name].append((float(rate), float(cpu_us)))
    finally:
        for child in children.values():
            child.communicate()
    rates = {name: [rate for rate, _ in each] for name, each in windows.items()}
    ratios = [a / b for a, b in zip(rates["here"], rates["older"], strict=True)]
    return {
        "cpu_operators": operators,
        "images_per_s": rates,
        "cpu_us_per_image": {name: [cpu for _, cpu in each] for name, each in windows.items()},
        "median_ratio": statistics.median(ratios),
        "interval": quantile_test(ratios).confidence_interval(),
    }


def show(case: str, result: dict[str, Any]) -> None:
    low, high = result["interval"]
    print(f"{case:<31} {result['median_ratio']:.2f}x ({low:.2f} to {high:.2f})")
    for name in ("here", "older"):
        print(
            f"   {name:<6} {statistics.median(result['images_per_s'][name]):>8,.0f} images/s  "
            f"{statistics.median(result['cpu_us_per_image'][name]):>7.1f} CPU us an image"
            + (f"  {result['cpu_operators'][name]} CPU operators" if "host" in case else "")
        )


def start(case: str, package: str, folder: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, __file__, "--child", case, folder],
        env={**os.environ, "PYTHONPATH": package},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def ask(child: subprocess.Popen[str], line: str) -> str:
    """Send a line if there is one; the child's next. Raises `RuntimeError` if it has ended."""
    assert child.stdin is not None
    assert child.stdout is not None
    if line:
        print(line, file=child.stdin, flush=True)
    answer = child.stdout.readline()
    if not answer:
        raise RuntimeError(f"A child ended with {child.wait()}; its last words are above.")
    return answer


def serve(case: str, folder: str) -> None:
    """The child: print the number of CPU operators, then time a window for each line that comes."""
    from fastbench.data.dataset import scan
    from fastbench.loaders.base import IMAGENET, LoaderSpec

    resize, interpolation, mode = CASES[case]
    manifest = scan(Path(folder))
    on_host = case.startswith("host")
    spec = LoaderSpec(
        paths=manifest.paths,
        batch_size=HOST_BATCH if on_host else 32,
        preprocess=dataclasses.replace(IMAGENET, resize=resize, interpolation=interpolation),
        device="cuda:0" if on_host else "cpu",
        dtype="float16" if on_host else "float32",
        num_threads=len(os.sched_getaffinity(0)),
        resize=mode,
    )
    if any(field.name == "sizes" for field in dataclasses.fields(LoaderSpec)):  # not of old
        spec = dataclasses.replace(spec, sizes=manifest.sizes)
    num_operators, step = host_part(spec) if on_host else loader(spec)
    for _ in range(WARM_UP_BATCHES):
        step()
    print(num_operators, flush=True)
    for line in sys.stdin:
        for _ in range(WARM_UP_BATCHES):
            step()  # what was queued while the other program ran
        used, begin = time.process_time(), time.perf_counter()
        num_images = sum(step() for _ in range(int(line)))
        wall_s = time.perf_counter() - begin
        print(num_images / wall_s, 1e6 * (time.process_time() - used) / num_images, flush=True)


def loader(spec: Any) -> tuple[int, Callable[[], int]]:
    from fastbench.loaders.builtin.dali import DaliLoader

    opened = DaliLoader(spec)

    def batches() -> Any:
        while True:
            for batch in opened:
                yield batch.num_valid

    return 0, batches().__next__


def host_part(spec: Any) -> tuple[int, Callable[[], int]]:
    """The CPU operators of the GPU's graph, fed with a constant; and a function that runs a batch.

    Walks from the graph's outputs back to what the GPU's operators and the decoder take from the
    CPU, and makes these the outputs of a pipeline without a device.
    """
    import numpy as np
    from nvidia.dali import Pipeline, fn, types
    from PIL import Image

    from fastbench.loaders.builtin import dali

    file = io.BytesIO()
    Image.new("RGB", (500, 375)).save(file, "JPEG")
    encoded = list(file.getvalue())
    # The reader's place is taken by constants: neither reading nor decoding is timed.
    reader = fn.readers.file
    fn.readers.file = lambda **_: (
        types.Constant(np.array(encoded, np.uint8), device="cpu"),
        types.Constant(0, dtype=types.INT32, device="cpu"),
    )
    make = getattr(dali, "make_graph", None) or inspect.unwrap(dali._make_pipeline)
    defaults = getattr(dali, "_OPTIONS", {"hw_decoder_load": 1.0})  # older revisions have less
    options = {**defaults, "width_hint": 0, "height_hint": 0}
    pipeline = Pipeline(
        batch_size=spec.batch_size,
        num_threads=spec.num_threads,
        device_id=None,
        prefetch_queue_depth=2,
        exec_dynamic=True,
    )
    with pipeline:
        outputs = make(spec, {}, options)
        fn.readers.file = reader
        kept: dict[str, Any] = {}
        on_cpu: set[int] = set()
        seen: set[int] = set()
        waiting = [(node, False) for node in outputs]
        while waiting:
            node, is_on_cpu = waiting.pop()
            operator = node.source
            runs_on_cpu = operator._op.device == "cpu"
            if runs_on_cpu and not is_on_cpu:
                kept[f"{node.name} {node.device}"] = type(node)(node.name, "cpu", operator)
            if id(operator) in seen:
                continue
            seen.add(id(operator))
            if runs_on_cpu:
                on_cpu.add(id(operator))
            waiting += [(each, runs_on_cpu) for each in operator.inputs]
        pipeline.set_outputs(*kept.values())
    pipeline.build()

    def step() -> int:
        pipeline.run()
        return int(spec.batch_size)

    return len(on_cpu), step


if __name__ == "__main__":
    if sys.argv[1:2] == ["--child"]:
        serve(*sys.argv[2:])
    else:
        main()
