"""Does the harness cost anything? fastbench's own passes against bare hand-written loops.

Two questions, each answered by an interleaved comparison (A B B A ...) in one process, so that a
machine whose speed drifts slows both sides alike:

    end to end   fastbench's timed window (scoring included) over the same loader and the same
                 model as `for batch in loader: model(batch.images_NCHW)`
    loader       the dali loader alone, iterated, over `pipeline.run()` of a bare DALI pipeline
                 with the same operators

The figure is the ratio of throughputs, fastbench / bare: its median over the pairs, and the 95 %
interval of that median (order statistics of the sign test). 1 means free. Windows are short, so
that both of a pair meet the same neighbours.

A busy machine blurs a ratio near 1 by several percent, so the cost is also measured alone: the
timed window over a loader that hands out one resident batch and a model that returns a constant,
in microseconds a batch, and as a share of the end-to-end step. What watching the machine costs
(`telemetry.py`) is measured alone, too: the CPU time of this process, which sleeps, while a window
is open and a loader's worker processes are there to be looked at.

    uv run python benchmarks/harness_overhead.py [--data DIR] [--pairs N] [--output FILE]
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import shlex
import statistics
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # as `fastbench run`, before torch is loaded

import torch
from scipy.stats import quantile_test

from fastbench.core.atomic_files import write_text
from fastbench.core.cores import num_cores
from fastbench.core.device import choose_device
from fastbench.data.dataset import scan
from fastbench.data.sample.draw_all import ensure_sample
from fastbench.engines.base import EngineSpec
from fastbench.engines.classifier import Classifier
from fastbench.loaders.base import Loader, LoaderSpec
from fastbench.loaders.guard import CheckedLoader
from fastbench.loaders.registry import resolve
from fastbench.measure import machine, passes
from fastbench.measure.clock import make_clock
from fastbench.measure.durations import Durations
from fastbench.measure.tally import Tally
from fastbench.measure.telemetry import Watch
from fastbench.models.torchvision import load_model

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

WARM_UP_BATCHES = 4
FEWEST_PAIRS = 6
"""Fewer have no 95 % interval of their median."""
WATCHED_S = 20.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, help="folder of JPEGs (default: the sample data)")
    parser.add_argument("--pairs", type=int, default=30)
    parser.add_argument("--output", type=Path, help="JSON file to write")
    arguments = parser.parse_args()
    if arguments.pairs < FEWEST_PAIRS:
        parser.error(f"--pairs is {arguments.pairs}. Give {FEWEST_PAIRS} or more.")

    device = choose_device("auto")
    gpus = machine.describe_gpus(device)
    on_gpu = device.type == "cuda"
    batch_size = 256 if on_gpu else 32
    model = load_model("sample")
    # Whole batches only: fastbench pads a partial one, a bare loop runs it smaller.
    manifest = scan(arguments.data or ensure_sample(1000), limit=3 * 256 if on_gpu else 10 * 32)
    spec = LoaderSpec(
        paths=manifest.paths,
        batch_size=batch_size,
        preprocess=model.preprocess,
        device=str(device),
        dtype="float32",
        num_threads=num_cores(),
    )
    engine = EngineSpec(
        model=model,
        batch_size=batch_size,
        crop=model.preprocess.crop,
        device=device,
        dtype="float32",
        num_threads=torch.get_num_threads(),
    )
    classifier = Classifier(engine)
    classifier.warm_up()

    results = {}
    for name in ("torchvision", "dali"):
        loader = resolve(name)(spec)
        checked = CheckedLoader(name, lambda _, loader=loader: loader, spec)  # type: ignore[misc]
        results[f"end to end, {name}"] = interleave(
            lambda loader=checked: fastbench_end_to_end(loader, classifier, spec),  # type: ignore[misc]
            lambda loader=loader: bare_end_to_end(loader, classifier, spec),  # type: ignore[misc]
            arguments.pairs,
        )
        loader.close()
    results["loader alone, dali"] = compare_dali(spec, arguments.pairs)

    cost_s = cost_of_a_batch(spec)
    watching = cost_of_watching(spec, device)
    steps = {
        name: batch_size / statistics.median(results[f"end to end, {name}"]["bare_images_per_s"])
        for name in ("torchvision", "dali")
    }
    for title, result in results.items():
        print(
            f"{title:<24} fastbench / bare: median {result['median_ratio']:.3f} "
            f"(95 % {result['interval'][0]:.3f} to {result['interval'][1]:.3f}, "
            f"{len(result['ratios'])} pairs)"
        )
    shares = ", ".join(f"{100 * cost_s / step:.2f} % of {name}'s" for name, step in steps.items())
    print(f"the harness alone        {1e6 * cost_s:.0f} us a batch: {shares} step")
    print(f"watching the machine     {100 * watching:.2f} % of a core")
    if arguments.output:
        record = {
            "benchmark": "harness_overhead",
            "command": shlex.join(["uv", "run", "python", *sys.argv]),
            "environment": machine.describe(gpus),
            "batch_size": batch_size,
            "num_images": len(manifest),
            "results": results,
            "harness_s_per_batch": cost_s,
            "watching_share_of_a_core": watching,
            "bare_s_per_batch": steps,
        }
        arguments.output.parent.mkdir(parents=True, exist_ok=True)
        write_text("The figures", arguments.output, json.dumps(record, indent=1) + "\n")


def interleave(a: Callable[[], float], b: Callable[[], float], num_pairs: int) -> dict[str, Any]:
    """Run A B, B A, A B, ...; the throughputs in images/s and the ratio of each pair."""
    a_rates: list[float] = []
    b_rates: list[float] = []
    a(), b()
    for pair in range(num_pairs):
        for which in "ab" if pair % 2 == 0 else "ba":
            (a_rates if which == "a" else b_rates).append(a() if which == "a" else b())
    ratios = [x / y for x, y in zip(a_rates, b_rates, strict=True)]
    return {
        "median_ratio": statistics.median(ratios),
        "interval": quantile_test(ratios).confidence_interval(),
        "ratios": ratios,
        "fastbench_images_per_s": a_rates,
        "bare_images_per_s": b_rates,
    }


def cost_of_a_batch(spec: LoaderSpec) -> float:
    """Seconds that a batch spends in the harness: clock, scoring, bookkeeping. Best of five."""

    class Constant:
        batch_size = spec.batch_size
        logits = torch.randn(spec.batch_size, 24, device=spec.device)

        def __call__(self, images_NCHW: torch.Tensor) -> torch.Tensor:
            return self.logits

    loader = CheckedLoader("synthetic", resolve("synthetic"), spec)
    durations = Durations(
        min_seconds=1.0,
        warm_up_batches=100,
        warm_up_seconds=0,
        latency_batches=0,
        latency_seconds=0,
    )
    costs = []
    for _ in range(5):
        tally = Tally(len(spec.paths), tuple(i % 24 for i in range(len(spec.paths))), spec.device)
        clock = make_clock(torch.device(spec.device))
        _, measured, _ = passes.end_to_end(
            loader, Constant(), tally, clock, durations, spec.num_batches
        )
        costs.append(measured.wall_s / (measured.num_epochs * spec.num_batches))
    return min(costs)


def cost_of_watching(spec: LoaderSpec, device: torch.device) -> float:
    """The share of a core that an open window of telemetry takes: CPU over wall seconds."""
    loader = resolve("torchvision")(spec)
    next(iter(loader))
    time.sleep(2)  # until the workers' queues are full
    with Watch(device.index) as watch:
        watch.begin()
        start, used = time.perf_counter(), time.process_time()
        time.sleep(WATCHED_S)
        share = (time.process_time() - used) / (time.perf_counter() - start)
        watch.end(1)
    loader.close()
    return share


def fastbench_end_to_end(loader: Loader, classifier: Classifier, spec: LoaderSpec) -> float:
    durations = Durations(
        min_seconds=0,
        warm_up_batches=WARM_UP_BATCHES,
        warm_up_seconds=0,
        latency_batches=0,
        latency_seconds=0,
    )
    tally = Tally(len(spec.paths), tuple(range(len(spec.paths))), spec.device)
    clock = make_clock(torch.device(spec.device))
    _, measured, _ = passes.end_to_end(
        loader, classifier, tally, clock, durations, spec.num_batches
    )
    return measured.num_images / measured.wall_s


@torch.inference_mode()
def bare_end_to_end(loader: Loader, classifier: Classifier, spec: LoaderSpec) -> float:
    module = classifier._run._module  # type: ignore[attr-defined]
    stream = itertools.chain.from_iterable(itertools.repeat(loader))
    for batch in itertools.islice(stream, WARM_UP_BATCHES):
        module(batch.images_NCHW)
    synchronize(spec)
    start = time.perf_counter()
    for batch in itertools.islice(stream, spec.num_batches):
        module(batch.images_NCHW)
    synchronize(spec)
    return len(spec.paths) / (time.perf_counter() - start)


def compare_dali(spec: LoaderSpec, num_pairs: int) -> dict[str, Any]:
    from fastbench.loaders.builtin import dali

    loader = dali.DaliLoader(spec)
    pipeline = dali._make_pipeline(
        spec,
        {"files": list(spec.paths), "labels": list(range(len(spec.paths)))},
        {**dali._OPTIONS, "width_hint": 0, "height_hint": 0}
        if spec.device.startswith("cuda")
        else None,
        batch_size=spec.batch_size,
        num_threads=spec.num_threads,
        device_id=torch.device(spec.device).index if spec.device.startswith("cuda") else None,
        prefetch_queue_depth=spec.prefetch,
    )
    pipeline.build()

    def bare() -> Iterator[object]:
        while True:
            yield pipeline.run()

    def rate(stream: Iterator[object]) -> float:
        for _ in itertools.islice(stream, WARM_UP_BATCHES):
            pass
        start = time.perf_counter()
        for _ in itertools.islice(stream, spec.num_batches):
            pass
        synchronize(spec)
        return len(spec.paths) / (time.perf_counter() - start)

    ours: Iterator[object] = itertools.chain.from_iterable(itertools.repeat(loader))
    theirs = bare()
    result = interleave(lambda: rate(ours), lambda: rate(theirs), num_pairs)
    loader.close()
    return result


def synchronize(spec: LoaderSpec) -> None:
    if spec.device.startswith("cuda"):
        torch.cuda.synchronize(torch.device(spec.device))


if __name__ == "__main__":
    main()
