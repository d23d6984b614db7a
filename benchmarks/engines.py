"""What an engine and a number format are worth: every one in turn, end to end and by itself.

Each variant is `ENGINE`, `ENGINE:DTYPE` or `ENGINE:DTYPE:QUANTIZE`. All are made ready first, and
idle while another runs. A round gives each one window, every other round in the reverse order, so
that a machine whose speed drifts slows all alike. A window begins with batches that are not
counted, more of them than the loader's queue holds; it ends when the last logits are there. The
figures are ratios of a round, the variant over the first one: their median, and its 95 % interval
(order statistics of the sign test).

    uv run python benchmarks/engines.py --model squeezenet1_0 --weights FILE --data DIR \
        --variants eager compile onnxruntime openvino openvino:bfloat16 [--output FILE]
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
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # as `fastbench run`, before torch is loaded

from scipy.stats import quantile_test

from fastbench.core import allocator
from fastbench.core.atomic_files import write_text
from fastbench.core.config import RunConfig
from fastbench.core.progress import Silent
from fastbench.loaders.base import LoaderTraits
from fastbench.measure import machine
from fastbench.runner.open_loader import open_loader
from fastbench.runner.prepare import Workbench

if TYPE_CHECKING:
    from collections.abc import Generator

    import torch

    from fastbench.engines.classifier import Classifier
    from fastbench.loaders.base import Batch

    Ready = tuple[Classifier, Generator[Batch, None, None], torch.Tensor, int]
    """A classifier, its endless batches, one of them, and how many wait in the loader's queue."""

DEFAULTS = ("float32", "none")
"""The dtype and the quantisation of a variant that does not say them."""
IDLE_S = 0.4
"""In which a loader fills its queue, so that it takes no cores while another is timed."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", default="sample")
    parser.add_argument("--model", default="sample")
    parser.add_argument("--weights", default="DEFAULT")
    parser.add_argument("--loader", default="torchvision-tensor")
    parser.add_argument("--variants", nargs="+", default=["eager", "compile", "openvino"])
    parser.add_argument("--batch-size", type=int, default=25)
    parser.add_argument("--calibration", default="50")
    parser.add_argument("--rounds", type=int, default=12)
    parser.add_argument("--batches", type=int, default=8, help="batches a window")
    parser.add_argument("--output", type=Path, help="JSON file to write")
    arguments = parser.parse_args()

    allocator.set_up("keep")  # as the process of a row does
    base = RunConfig(
        data=arguments.data,
        model=(arguments.model,),
        weights=arguments.weights,
        loader=(arguments.loader,),
        device="cpu",
        batch_size=arguments.batch_size,
        calibration=arguments.calibration,
    )
    found = {name: ready(name, base) for name in arguments.variants}
    rates = measure(found, arguments)
    for classifier, stream, *_ in found.values():
        stream.close()
        classifier.close()
    first = arguments.variants[0]
    ratios = {
        where: {name: [a / b for a, b in zip(of[name], of[first], strict=True)] for name in of}
        for where, of in rates.items()
    }
    for where, of in ratios.items():
        for name, values in of.items():
            low, high = quantile_test(values).confidence_interval()
            print(
                f"{where:11} {name:24} {statistics.median(rates[where][name]):8.1f} images/s  "
                f"{statistics.median(values):5.2f}x ({low:.2f} to {high:.2f})"
            )
    if arguments.output:
        record = {
            "benchmark": "engines",
            "command": shlex.join(["uv run python", *sys.argv]).replace("'", ""),
            "environment": machine.describe(),
            "ratio_to": first,
            "images_per_s": rates,
            "ratios": {
                where: {
                    name: {
                        "median": statistics.median(values),
                        "interval": quantile_test(values).confidence_interval(),
                    }
                    for name, values in of.items()
                }
                for where, of in ratios.items()
            },
            "engines": {
                name: {
                    "settings": dict(each.traits.settings),
                    "setup_s": dict(each.traits.setup_s),
                    "weights_bytes": each.traits.weights_bytes,
                }
                for name, (each, *_) in found.items()
            },
        }
        arguments.output.parent.mkdir(parents=True, exist_ok=True)
        write_text("The figures", arguments.output, json.dumps(record, indent=1) + "\n")


def ready(name: str, base: RunConfig) -> Ready:
    """A variant, warmed up."""
    engine, dtype, quantize = (*name.split(":"), *DEFAULTS[name.count(":") :])
    asked: dict[str, Any] = {"engine": engine, "dtype": dtype, "quantize": quantize}
    config = dataclasses.replace(base, **asked)
    workbench = Workbench(config, Path(tempfile.mkdtemp()), Silent())
    model, _ = workbench.load(config.models[0])
    classifier = workbench.engines.of_rows(model)
    classifier.warm_up()
    spec = workbench.spec(model, config.timed_loader)
    factory = workbench.factories[config.timed_loader]

    def batches() -> Generator[Batch, None, None]:
        with open_loader(config.timed_loader, factory, spec) as loader:
            queued.append(LoaderTraits.of(loader).num_queued(spec.prefetch))
            while True:
                yield from loader

    queued: list[int] = []
    stream = batches()
    resident_NCHW = next(stream).images_NCHW.clone()
    return classifier, stream, resident_NCHW, queued[0]


def measure(
    found: dict[str, Ready],
    arguments: argparse.Namespace,
) -> dict[str, dict[str, list[float]]]:
    """Images/s of each variant and round, end to end and of the model alone."""
    rates: dict[str, dict[str, list[float]]] = {
        where: {name: [] for name in found} for where in ("end to end", "model alone")
    }
    for number in range(arguments.rounds):
        for name in list(found) if number % 2 == 0 else list(reversed(found)):
            classifier, stream, resident_NCHW, queued = found[name]
            for batch in itertools.islice(stream, queued + 2):
                classifier(batch.images_NCHW)
            start, num_images = time.perf_counter(), 0
            for batch in itertools.islice(stream, arguments.batches):
                classifier(batch.images_NCHW).sum().item()
                num_images += batch.num_valid
            rates["end to end"][name].append(num_images / (time.perf_counter() - start))
            start = time.perf_counter()
            for _ in range(arguments.batches):
                classifier(resident_NCHW).sum().item()
            rates["model alone"][name].append(
                arguments.batches * len(resident_NCHW) / (time.perf_counter() - start)
            )
            time.sleep(IDLE_S)
    return rates


if __name__ == "__main__":
    main()
