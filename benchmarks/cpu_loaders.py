"""Which loader is the fastest on a CPU, and how near is it to decoding alone?

The evaluation job, JPEG file to normalised 224x224 float32 batch, by every CPU loader that runs
here, by a plain `DataLoader` as torchvision's documentation writes it, and, as the limit, by
torchvision-tensor's decoder reading the same files in as many threads and dropping the pixels. The
peers do it their own way: timm's `create_loader`, SPDL's pipeline, WebDataset's. OpenCV is there
twice, with the filter that it recommends for shrinking and with `linear`, which does not antialias.

All are opened at once and idle while another runs: after each window the one that ran is left to
fill its queues. A round gives each one window, every other round in the reverse order, so that a
machine whose speed drifts slows all alike. A window begins with batches that are not counted, more
of them than any queue holds. The figures are ratios of a round,
torchvision-tensor over the other, their median and its 95 % interval (order statistics of the sign
test); CPU seconds are of this process and its children.

    uv run python benchmarks/cpu_loaders.py [--data DIR] [--rounds N] [--output FILE]
"""

from __future__ import annotations

import argparse
import dataclasses
import itertools
import json
import os
import shlex
import statistics
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # as `fastbench run`, before torch is loaded

import torch
from PIL import Image
from scipy.stats import quantile_test
from torch.utils.data import DataLoader, Dataset

from fastbench.core import allocator
from fastbench.core.atomic_files import write_text
from fastbench.core.cores import num_cores
from fastbench.core.errors import FastbenchError
from fastbench.core.loader_facts import BUILT_IN
from fastbench.data.dataset import Manifest, scan
from fastbench.data.sample.draw_all import ensure_sample
from fastbench.loaders.base import IMAGENET, LoaderSpec
from fastbench.loaders.builtin.torchvision import make_transform
from fastbench.loaders.registry import resolve
from fastbench.loaders.shared.decoders import choose_decoder
from fastbench.measure import machine
from fastbench.measure.telemetry import Watch

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from fastbench.loaders.base import Loader

OURS = "torchvision-tensor"
LIMIT = "decode alone"
PLAIN = "plain DataLoader"
COARSE = "opencv, linear"
"""Without antialias: less work, and other predictions."""
IDLE_S = 0.1
IDLE_SHARE = 0.2
NOT_TIMED = ("memory", "synthetic")
"""They decode nothing while they are timed."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, help="folder of JPEGs (default: the sample data)")
    parser.add_argument("--rounds", type=int, default=24)
    parser.add_argument("--batches", type=int, default=12, help="batches a window")
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--output", type=Path, help="JSON file to write")
    arguments = parser.parse_args()

    allocator.set_up("keep")  # as the process of a row does
    manifest = scan(arguments.data or ensure_sample(1000))
    spec = LoaderSpec(
        paths=manifest.paths,
        batch_size=arguments.batch_size,
        preprocess=IMAGENET,
        device="cpu",
        dtype="float32",
        num_threads=num_cores(),
        largest=manifest.largest,
        sizes=manifest.sizes,
    )
    loaders, absent = open_all(spec)
    sources: dict[str, Iterator[int]] = {name: sizes_of(x) for name, x in loaders.items()}
    if "opencv" in loaders:
        linear = dataclasses.replace(spec, options={"filter": "linear"})
        loaders[COARSE] = resolve("opencv")(linear)
        sources[COARSE] = sizes_of(loaders[COARSE])
    sources[PLAIN] = plain_data_loader(spec)
    sources[LIMIT] = decode_alone(spec)
    rates, cpu_s = measure(sources, arguments.rounds, arguments.batches, spec)
    for loader in loaders.values():
        loader.close()

    ratios = {
        name: [ours / theirs for ours, theirs in zip(rates[OURS], rates[name], strict=True)]
        for name in sources
    }
    show(rates, cpu_s, ratios)
    for name, reason in absent.items():
        print(f"not here: {name}: {reason}")
    if arguments.output:
        record = {
            "benchmark": "cpu_loaders",
            "command": shlex.join(["uv run python", *sys.argv]).replace("'", ""),
            "environment": machine.describe(),
            "data": describe(manifest),
            "batch_size": spec.batch_size,
            "num_threads": spec.num_threads,
            "batches_a_window": arguments.batches,
            "images_per_s": rates,
            "cpu_s_per_1000_images": cpu_s,
            "ratio_of": OURS,
            "ratios": {
                name: {
                    "median": statistics.median(values),
                    "interval": quantile_test(values).confidence_interval(),
                }
                for name, values in ratios.items()
            },
            "settings": {name: dict(loader.settings) for name, loader in loaders.items()},
            "absent": absent,
        }
        arguments.output.parent.mkdir(parents=True, exist_ok=True)
        write_text("The figures", arguments.output, json.dumps(record, indent=1) + "\n")


def open_all(spec: LoaderSpec) -> tuple[dict[str, Loader], dict[str, str]]:
    """Every loader that decodes on this CPU, and why the others do not."""
    loaders, absent = {}, {}
    for name in BUILT_IN:
        if name in NOT_TIMED:
            continue
        try:
            loaders[name] = resolve(name)(spec)
        except FastbenchError as error:
            absent[name] = str(error)
    return loaders, absent


def sizes_of(loader: Loader) -> Iterator[int]:
    """Endless epochs, a batch's images a step."""
    while True:
        for batch in loader:
            yield batch.num_valid


def plain_data_loader(spec: LoaderSpec) -> Iterator[int]:
    """torchvision's documentation: a data set of PIL images, the weights' transforms, workers."""
    transform = make_transform(spec.preprocess)

    class Files(Dataset[torch.Tensor]):
        def __len__(self) -> int:
            return len(spec.paths)

        def __getitem__(self, sample: int) -> torch.Tensor:
            with Image.open(spec.paths[sample]) as image:
                return transform(image.convert("RGB"))

    loader = DataLoader(
        Files(),
        batch_size=spec.batch_size,
        num_workers=spec.num_threads,
        persistent_workers=True,
    )
    while True:
        for images_NCHW in loader:
            yield len(images_NCHW)


def decode_alone(spec: LoaderSpec) -> Iterator[int]:
    """Files read and decoded in threads, the pixels dropped: what no CPU loader can be under."""
    _, open_decoder = choose_decoder()
    own = threading.local()  # a decoder writes over its last image

    def start() -> None:
        own.decode = open_decoder()

    def decode(path: str) -> None:
        own.decode(path)

    size = spec.batch_size
    batches = [spec.paths[i : i + size] for i in range(0, len(spec.paths), size)]
    with ThreadPoolExecutor(spec.num_threads, initializer=start) as pool:
        # As far ahead as the loaders are.
        waiting = [
            (len(batch), [pool.submit(decode, path) for path in batch])
            for batch in batches[: spec.prefetch]
        ]
        for batch in itertools.islice(itertools.cycle(batches), spec.prefetch, None):
            waiting.append((len(batch), [pool.submit(decode, path) for path in batch]))
            num_images, futures = waiting.pop(0)
            for future in futures:
                future.result()
            yield num_images


def measure(
    sources: dict[str, Iterator[int]], num_rounds: int, num_batches: int, spec: LoaderSpec
) -> tuple[dict[str, list[float]], dict[str, list[float]]]:
    """Of each source and round: images/s, and CPU seconds for 1,000 images."""
    rates: dict[str, list[float]] = {name: [] for name in sources}
    cpu_s: dict[str, list[float]] = {name: [] for name in sources}
    queued = 1 + max(4, spec.prefetch * spec.num_threads)
    with Watch(None) as watch:
        for number in range(num_rounds):
            names = list(sources) if number % 2 == 0 else list(reversed(sources))
            for name in names:
                window = timed(sources[name], queued, num_batches, watch.cpu_s)
                wait_until_idle(watch.cpu_s)
                rates[name].append(window[0])
                cpu_s[name].append(window[1])
            print(f"round {number + 1} of {num_rounds}", file=sys.stderr)
    return rates, cpu_s


def timed(
    source: Iterator[int], num_queued: int, num_batches: int, cpu_s: Callable[[], float]
) -> tuple[float, float]:
    for _ in range(num_queued):
        next(source)
    used, start = cpu_s(), time.perf_counter()
    num_images = sum(next(source) for _ in range(num_batches))
    wall_s = time.perf_counter() - start
    return num_images / wall_s, (cpu_s() - used) / num_images * 1000


def wait_until_idle(cpu_s: Callable[[], float]) -> None:
    """Until nothing of ours runs any more: the queues are full."""
    used = cpu_s()
    while True:
        time.sleep(IDLE_S)
        before, used = used, cpu_s()
        if used - before < IDLE_SHARE * IDLE_S:
            return


def show(
    rates: dict[str, list[float]], cpu_s: dict[str, list[float]], ratios: dict[str, list[float]]
) -> None:
    print(f"{'':<20} images/s  CPU s / 1,000   {OURS} is")
    for name in sorted(rates, key=lambda name: -statistics.median(rates[name])):
        low, high = quantile_test(ratios[name]).confidence_interval()
        print(
            f"{name:<20} {statistics.median(rates[name]):>8.0f}  "
            f"{statistics.median(cpu_s[name]):>13.2f}   "
            f"{statistics.median(ratios[name]):.3f}x ({low:.3f} to {high:.3f})"
        )


def describe(manifest: Manifest) -> dict[str, Any]:
    return {
        "num_images": len(manifest),
        "num_bytes": sum(manifest.num_bytes),
        "mean_pixels": sum(width * height for width, height in manifest.sizes) / len(manifest),
        "digest": manifest.digest,
    }


if __name__ == "__main__":
    main()
