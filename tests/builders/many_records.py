"""Made-up records for reports: real ones of a CPU, edited. No machine has measured these figures.

Among them are rows that a report must mark: one whose numbers contradict each other, one whose
predictions are wrong, one whose images are not the reference's, one of other images, one of a cold
page cache.
"""

from __future__ import annotations

import copy
import itertools
import json
import random
from pathlib import Path
from typing import Any

from builders.paths import RECORDS

REAL = RECORDS / "cpu-2-cores/sample-dali-float32.json"

# name, top-1 and top-5 of 1,000, images/s of the model alone on the slower device
MODELS = [
    ("resnet18", 698, 891, 4200.0),
    ("resnet50", 809, 954, 1450.0),
    ("mobilenet_v3_large", 753, 926, 5100.0),
    ("vgg16", 716, 904, 900.0),
    ("alexnet", 565, 791, 9800.0),
    ("efficientnet_v2_s", 842, 969, 820.0),
    ("googlenet", 698, 895, 3300.0),
    ("convnext_tiny", 825, 961, 1010.0),
    ("squeezenet1_0", 581, 804, 6400.0),
    ("vit_b_16", 811, 953, 610.0),
]
LOADERS = [("torchvision", 410.0), ("dali", 2600.0), ("torchvision-tensor", 1150.0)]
DTYPES = [("float32", 1.0), ("float16", 1.9)]
BATCHES = [32, 128, 256]
GPUS = [("MADE-UP GPU 80GB", 1.0), ("MADE-UP GPU 141GB", 1.45)]


def made_up(num: int, *, num_steps: int = 32) -> list[dict[str, Any]]:
    """The first `num` records, as JSON has them; `num_steps` is of each of three windows."""
    real = json.loads(REAL.read_text("utf-8"))
    if num <= 12:
        chosen: Any = itertools.product(GPUS[:1], BATCHES[:1], DTYPES[:1], MODELS, LOADERS[:2])
    elif num <= 60:
        chosen = itertools.product(GPUS[:1], BATCHES[:1], DTYPES, MODELS, LOADERS)
    else:
        chosen = itertools.product(GPUS, BATCHES, DTYPES, MODELS, LOADERS, (None, "default"))
    found = [_edited(real, number, num_steps, *row) for number, row in enumerate(chosen)]
    found = [copy.deepcopy(found[i % len(found)]) for i in range(num)]
    _spoil(found)
    return found


def write_made_up(folder: Path, num: int, *, num_steps: int = 32) -> Path:
    """Write them into a folder, one file each."""
    folder.mkdir(parents=True)
    for number, record in enumerate(made_up(num, num_steps=num_steps)):
        name = f"{number:03d}-{record['model']}-{record['loader']}-{record['dtype']}.json"
        (folder / name).write_text(json.dumps(record, indent=1) + "\n", "utf-8")
    return folder


def _edited(
    real: dict[str, Any],
    number: int,
    num_steps: int,
    gpu: tuple[str, float],
    batch: int,
    dtype: tuple[str, float],
    model: tuple[str, int, int, float],
    loader: tuple[str, float],
    compile_mode: str | None = None,
) -> dict[str, Any]:
    chance = random.Random(number)
    record = copy.deepcopy(real)
    name, top1, top5, model_rate = model
    model_rate *= gpu[1] * dtype[1] * (1.2 if compile_mode else 1) * (1 + 0.1 * (batch > 32))
    loader_rate = loader[1] * (1 + 0.1 * (gpu[1] > 1)) * chance.uniform(0.95, 1.05)
    rate = min(model_rate, loader_rate) * chance.uniform(0.82, 0.97)
    num_samples = record["data"]["num_samples"]
    its_steps = -(-num_samples // batch)  # of an epoch
    num_epochs = max(1, num_steps // its_steps)
    num_images, num_steps = num_epochs * num_samples, num_epochs * its_steps
    windows, steps_s = [], []
    for _ in range(3):
        wall_s = num_images / rate * chance.uniform(0.97, 1.03)
        shares = [chance.gauss(1, 0.06) for _ in range(num_steps)]
        total = sum(shares)
        its_steps_s = [wall_s * share / total for share in shares]
        steps_s += its_steps_s
        stall = max(0.02, min(0.9, 1 - loader_rate / model_rate))
        windows.append(
            {
                "num_images": num_images,
                "num_steps": num_steps,
                "wall_s": sum(its_steps_s),
                "wait_s": stall * sum(its_steps_s),
            }
        )
    record |= {
        "schema_version": 3,
        "model": name,
        "weights": "IMAGENET1K_V1",
        "loader": loader[0],
        "device": "cuda:0",
        "dtype": dtype[0],
        "batch_size": batch,
        "compile_mode": compile_mode,
        "num_threads": 16,
        "created": f"2026-01-02T{number // 60 % 24:02d}:{number % 60:02d}:00+00:00",
    }
    record["environment"] |= {
        "cpu": "MADE-UP CPU",
        "num_cores": 32,
        "gpus": [{"name": gpu[0], "memory_bytes": 85_000_000_000}],
        "driver": "580.82.07",
    }
    record["data"] |= {"page_cache": "warm"}
    record["throughput"] = {
        "num_images": 3 * num_images,
        "num_epochs": 3 * num_epochs,
        "batch_size": batch,
        "wall_s": sum(window["wall_s"] for window in windows),
        "step_times_s": steps_s,
        "windows": windows,
        "is_settled": number % 17 != 5,
    }
    factor = record["throughput"]["wall_s"] / record["telemetry"]["wall_s"]
    record["telemetry"] |= {
        "wall_s": record["throughput"]["wall_s"],
        "num_images": 3 * num_images,
        "num_cores": 32,
        "cpu_s": record["telemetry"]["cpu_s"] * factor,
        "kernel_cpu_s": None,
        "num_faults": None,
    }
    record["compilation"] = compile_mode and {
        "num_graphs": 1,
        "num_graph_breaks": 0,
        "num_recompiles": 0,
    }
    record["loader_ceiling"] = {"num_images": 1000, "wall_s": 1000 / loader_rate}
    record["model_ceiling"] = {"num_images": 4096, "wall_s": 4096 / model_rate}
    record["rounds"] = []
    record["config"] |= {"batch_size": None}
    latency_s = batch / model_rate + batch / loader_rate
    record["latency"] = {
        "batch_size": batch,
        "samples_s": [latency_s * chance.uniform(0.98, 1.1) for _ in range(10)],
    }
    hits = top1 - (number * 7) % 4
    record["accuracy"] = {"num_samples": 1000, "top1_correct": hits, "top5_correct": top5}
    record["parity"]["is_reference"] = loader[0] == "torchvision" and dtype[0] == "float32"
    return record


def _spoil(records: list[dict[str, Any]]) -> None:
    """Make some of the rows such that a report has to mark them."""
    if len(records) < 6:
        return
    records[3]["throughput"]["wall_s"] *= 2  # INVALID
    if len(records) < 20:
        return
    records[7]["parity"] |= {"only_reference_correct": 40, "only_row_correct": 3}  # FAIL
    records[7]["parity"]["num_agreeing"] = 940
    records[10]["parity"]["pixels"] |= {"mean_levels": 4.35, "cause": "a crop beside it"}
    records[10]["parity"]["pixels"] |= {"worst_mean_levels": 9.5, "max_levels": 90.0}
    records[10]["parity"]["pixels"] |= {"share_above_one": 0.5}
    records[13]["data"] |= {"digest": "f" * 64}
    records[16]["data"] |= {"page_cache": "cold"}
    records[19]["config"]["quick"] = True
