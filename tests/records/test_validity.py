"""Records that contradict themselves are found out, each by what is wrong with it."""

import math

import msgspec
import pytest
from builders.consistent_record import ACCURACY, CLASSES, STEPS_S, THROUGHPUT, WINDOW, sound
from builders.records import make, parity, pixels
from builders.runs import on_gpu

from fastbench.records.accuracy import Confusion, Pixels, Published, Running
from fastbench.records.speed import (
    Ceiling,
    Compilation,
    GpuTelemetry,
    Latency,
    Telemetry,
    Window,
)
from fastbench.records.validity import find_contradictions


def timed(**changes: object) -> dict[str, object]:
    return {"throughput": msgspec.structs.replace(THROUGHPUT, **changes)}  # type: ignore[arg-type]


def windows(first: dict[str, float], second: dict[str, float] | None = None) -> list[Window]:
    return [
        msgspec.structs.replace(WINDOW, **first),  # type: ignore[arg-type]
        msgspec.structs.replace(WINDOW, **(second or {})),  # type: ignore[arg-type]
        WINDOW,
    ]


def scored(**changes: object) -> dict[str, object]:
    return {"accuracy": msgspec.structs.replace(ACCURACY, **{"per_class": None, **changes})}  # type: ignore[arg-type]


def by_class(**changes: list[int]) -> dict[str, object]:
    return scored(per_class=msgspec.structs.replace(CLASSES, **changes))


def agreeing(num: int) -> dict[str, object]:
    parity = make().parity
    assert parity is not None
    same = {"only_reference_correct": 0, "only_row_correct": 0}
    return {"parity": msgspec.structs.replace(parity, num_samples=100, num_agreeing=num, **same)}


def compared(**changes: object) -> dict[str, object]:
    """Parity of 100 images with these changes, its pixels `exact` where they say nothing else."""
    found = parity(pixels(agreeing=100), num_samples=100, num_agreeing=97)
    of_pixels = {name: changes.pop(name) for name in Pixels.__struct_fields__ if name in changes}
    pixels_ = msgspec.structs.replace(found.pixels, **{"num_samples": 100, **of_pixels})
    return {"parity": msgspec.structs.replace(found, pixels=pixels_, **changes)}


def watched(**changes: object) -> dict[str, object]:
    """Telemetry of the three windows, on a GPU of 700 W and 80 GB."""
    made = on_gpu("A GPU", watts=100.0)
    telemetry = made["telemetry"]
    assert isinstance(telemetry, Telemetry)
    gpu_names = GpuTelemetry.__struct_fields__
    of_gpu = {name: changes.pop(name) for name in gpu_names if name in changes}
    gpu = msgspec.structs.replace(telemetry.gpu, **of_gpu)
    whole = {"wall_s": 0.6, "num_images": 300, "num_cores": 2, "cpu_s": 0.5, "gpu": gpu, **changes}
    return {
        "telemetry": msgspec.structs.replace(telemetry, **whole),
        "environment": {
            "num_cores": 2,
            "gpus": [{"name": "A GPU", "memory_bytes": 80_000_000_000}],
        },
    }


def running(*counts: tuple[int, int, int], every: int = 50) -> dict[str, object]:
    names = ("num_samples", "top1_correct", "top5_correct")
    values = [Running(**dict(zip(names, each, strict=True))) for each in counts]
    return {**scored(running=values), "config": {"running": every}}


def confused(label: int, name: str, predicted: int, its_name: str, count: int) -> dict[str, object]:
    confusion = Confusion(
        label=label, label_name=name, predicted=predicted, predicted_name=its_name, count=count
    )
    return scored(per_class=CLASSES, confusions=[confusion])


OTHER_RUN = "throughput and step times are not of the same run"
CASES = {
    "no step times": (timed(step_times_s=[]), "there are 0 steps, and 3 epochs"),
    "steps of a slower run": (timed(step_times_s=[2 * s for s in STEPS_S]), OTHER_RUN),
    "steps of a faster run": (timed(step_times_s=[0.97 * s for s in STEPS_S]), OTHER_RUN),
    "half the wall time": (timed(wall_s=0.3, windows=[]), OTHER_RUN),
    "a clock too slow": (
        timed(kernel_s=0.92),
        "the windows take 0.600 s, and 0.92 s by the kernel's clock",
    ),
    "a clock too fast": (
        timed(kernel_s=1.0, wall_s=6.0, step_times_s=[10 * s for s in STEPS_S], windows=[]),
        "the windows take 6.000 s, and 1.00 s by the kernel's clock",
    ),
    "a window left out": (
        timed(windows=[WINDOW] * 2),
        "the windows' times add up to 0.400 s, and not to 0.600 s",
    ),
    "a longer window": (
        timed(windows=windows({"wall_s": 0.21})),
        "the windows' times add up to 0.610 s, and not to 0.600 s",
    ),
    "a window's images": (
        timed(windows=windows({"num_images": 90})),
        "the windows' images add up to 290, and not to 300",
    ),
    "a window's steps": (
        timed(windows=windows({"num_steps": 11})),
        "the windows' steps add up to 31, and not to 30",
    ),
    "a wait too long": (
        timed(windows=windows({}, {"wait_s": 0.21})),
        "window 2 waited 0.210 s of its 0.200 s",
    ),
    "a negative wait": (
        timed(windows=windows({"wait_s": -0.01})),
        "window 1 waited -0.010 s of its 0.200 s",
    ),
    "a wait of NaN": (
        timed(windows=windows({"wait_s": math.nan})),
        "window 1 waited nan s of its 0.200 s",
    ),
    "a negative window": (
        timed(windows=windows({"wall_s": -0.1}, {"wall_s": 0.5})),
        "window 1 waited 0.010 s of its -0.100 s",
    ),
    "half an epoch": (
        timed(num_images=250, windows=windows({"num_images": 50})),
        "250 images are not 3 epochs of 100",
    ),
    "an epoch too many": (timed(num_epochs=4), "300 images are not 4 epochs of 100"),
    "a loader's half epoch": (
        {"loader_ceiling": Ceiling(num_images=150, wall_s=1.0)},
        "the loader alone had 150 images, which are not a multiple of 100",
    ),
    "a model's half batch": (
        {"model_ceiling": Ceiling(num_images=105, wall_s=1.0)},
        "the model alone had 105 images, which are not a multiple of 10",
    ),
    "a loader on more cores than there are": (
        {"loader_ceiling": Ceiling(num_images=100, wall_s=1.0, cpu_s=3.0)},
        "the loader alone took 3.000 CPU seconds of 2 cores in 1.000 s",
    ),
    "more hits than samples": (scored(top1_correct=101, top5_correct=101), "101 hits of top-1"),
    "more top-1 than top-5": (scored(top5_correct=89), "90 hits of top-1 and 89 of top-5"),
    "a miss of top-5 among five": (scored(num_classes=5), "among 5 classes a sample is no hit"),
    "more classes than there are": (
        scored(per_class=CLASSES, num_classes=1),
        "2 classes have samples, and the model has 1",
    ),
    "negative hits": (scored(top1_correct=-1), "-1 hits of top-1"),
    "a sample not scored": (scored(num_samples=99), "99 samples are scored of 100"),
    "a class's samples": (
        by_class(num_samples=[50, 49]),
        "the classes' samples add up to 99, and not to 100",
    ),
    "a class's top-1": (
        by_class(top1_correct=[44, 45]),
        "the classes' hits of top-1 add up to 89, and not to 90",
    ),
    "a class's top-5": (
        by_class(top5_correct=[47, 49]),
        "the classes' hits of top-5 add up to 96, and not to 95",
    ),
    "images doubled": (
        {
            **timed(
                num_images=600,
                num_epochs=6,
                windows=[msgspec.structs.replace(WINDOW, num_images=200)] * 3,
            )
        },
        "there are 30 steps, and 6 epochs in batches of 10 take 60",
    ),
    "images of another window": (
        timed(windows=windows({"num_images": 150}, {"num_images": 50})),
        "window 2 has 50 images, which are no whole epochs of 100",
    ),
    "time of another window": (
        timed(windows=windows({"wall_s": 0.25}, {"wall_s": 0.15})),
        "window 2 has a wall time of 0.150 s, and its steps take 0.200 s",
    ),
    "a class of too many hits": (
        by_class(top1_correct=[52, 38], top5_correct=[52, 43]),
        "the class a has 52 hits of top-1 and 52 of top-5 among 50 samples",
    ),
    "more agree than are": (agreeing(101), "101 of 100 predictions agree"),
    "lost and won, and all agree": (
        compared(only_reference_correct=2, only_row_correct=2),
        "4 images are lost or won against the reference, and 97 of 100 predictions agree",
    ),
    "more lost than are wrong": (
        compared(num_agreeing=80, only_reference_correct=11, only_row_correct=0),
        "11 images are lost and 0 won against the reference, and 90 of 100 are right",
    ),
    "lost, and not known how many are won": (compared(only_row_correct=None), "and not both"),
    "parity of fewer images": (
        {"parity": parity(num_samples=99, num_agreeing=90)},
        "99 predictions are compared of 100",
    ),
    "more pixels than images": (
        {"parity": parity(pixels(), num_samples=100, num_agreeing=97)},
        "top-1 agrees on 128 of 128 images whose pixels are compared, of 100",
    ),
    "more uncompared than images": (compared(num_uncompared=101), "101 of 100 images stood out"),
    "a mean above the worst": (
        compared(mean_levels=0.4),
        "pixels differ by 0.4 levels in the mean",
    ),
    "a worst image above the most": (compared(worst_mean_levels=1.2), "by 1.2 in the worst image"),
    "no pixel above one": (compared(share_above_one=0.1), "0.1 of them by more than one"),
    "pixels above one of none": (compared(max_levels=9.0), "0 of them by more than one"),
    "logits": (
        compared(max_logits=0.001),
        "logits differ by 0.01 in the mean and by 0.001 at most",
    ),
    "more changed than are": ({"num_changed": 101}, "101 of 100 predictions changed"),
    "top-1 above top-5": (
        {"published": Published(top1=0.9, top5=0.8)},
        "a top-1 of 0.9 and a top-5 of 0.8 is published",
    ),
    "classes of unlike lists": (by_class(top5_correct=[95]), "are not equally long"),
    "wnids of no class": (
        scored(per_class=msgspec.structs.replace(CLASSES, wnids=[])),
        "are not equally long",
    ),
    "one output of two classes": (by_class(outputs=[1, 1]), "two classes are the same output"),
    "confused with itself": (confused(0, "a", 0, "a", 1), "output 0 (a) is taken for output 0 (a)"),
    "confused by another name": (confused(0, "b", 1, "b", 1), "and the classes have other names"),
    "confused more than wrong": (confused(0, "a", 1, "b", 7), "more samples of a are taken for"),
    "running values of others": (
        running((40, 36, 38), (100, 90, 95)),
        "running values are of [40, 100] images and so on, and not of each 50",
    ),
    "running values that fall": (
        running((50, 46, 48), (100, 45, 95)),
        "the part up to image 100 has -1 hits of top-1 and 47 of top-5 among 50 samples",
    ),
    "other batches": ({"batch_size": 20}, "batches have 20 images, and those of the windows 10"),
    "a latency of other batches": (
        {"latency": Latency(batch_size=1, samples_s=[0.1])},
        "batches have 10 images, and those of the latency 1",
    ),
    "batches that were not asked for": (
        {"config": {"batch_size": 64}},
        "batches have 10 images, and those of the configuration 64",
    ),
    "above the limit": ({"config": {"limit": 99}}, "there are 100 images, and the limit is 99"),
    "sizes of other images": (
        {"data": {"num_samples": 100, "pixels": {"2**17": 60, "2**18": 50}}},
        "the images by size add up to 110, and not to 100",
    ),
    "compiled without graphs": ({"compile_mode": "default"}, "its graphs are not counted"),
    "eager with graphs": (
        {"compilation": Compilation(num_graphs=1, num_graph_breaks=0, num_recompiles=0)},
        "the row is eager, and has graphs of torch.compile",
    ),
    "a first batch after the warm-up": (
        {"warm_up": msgspec.structs.replace(make().warm_up, first_batch_s=1.6)},
        "the first batch took 1.600 s of a warm-up of 1.500 s",
    ),
    "telemetry of other images": (watched(num_images=200), "telemetry is of 200 images, not 300"),
    "telemetry of another time": (
        watched(wall_s=6.0),
        "telemetry is of 6.000 s, and the windows 0.600 s",
    ),
    "telemetry of other cores": (
        watched(num_cores=4),
        "telemetry is of 4 cores, and the run had 2",
    ),
    "more CPU time than there is": (
        watched(cpu_s=1.2, foreign_cpu_s=1.0),
        "all processes took 2.200 CPU seconds of 2 cores in 0.600 s",
    ),
    "readings without memory": (watched(num_readings=3), "2 of 3 readings have a memory"),
    "more values than readings": (
        watched(sm_clock_mhz=[1.0] * 3),
        "sm_clock_mhz has 3 values of 2 readings",
    ),
    "more power than the limit": (
        watched(power_w=[1500.0]),
        "the GPU drew 1,500 W, and its limit is 700 W",
    ),
    "more memory than there is": (
        watched(memory_used_bytes=[90_000_000_000]),
        "90,000,000,000 bytes of GPU memory were used of 80,000,000,000",
    ),
    "fewer than none agree": (agreeing(-1), "-1 of 100 predictions agree"),
}


@pytest.mark.parametrize("case", CASES)
def test_a_contradiction_is_found(case: str) -> None:
    changes, said = CASES[case]
    found = find_contradictions(sound(**changes))
    assert any(said in text for text in found), found


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"accuracy": None, "parity": None, "loader_ceiling": None, "model_ceiling": None},
        scored(),
        scored(top1_correct=0, top5_correct=0),
        {**scored(top1_correct=100, top5_correct=100), "parity": None},
        agreeing(0),
        compared(),
        watched(),
        watched(gpu=None, foreign_cpu_s=None),
        running((50, 46, 48), (100, 90, 95)),
        running((30, 30, 30), (60, 60, 60), (90, 80, 85), (100, 90, 95), every=30),
        confused(0, "a", 1, "b", 6),
        confused(0, "a", 7, "not in the data", 6),
        agreeing(100),
        timed(windows=[]),  # a record of version 2
        timed(kernel_s=0.9),
        timed(kernel_s=0.3),
        timed(windows=windows({"wait_s": 0.0}, {"wait_s": 0.2})),
        timed(step_times_s=[0.02] * 30),
        timed(step_times_s=[0.99 * s for s in STEPS_S]),  # the last synchronisation
        timed(step_times_s=[0.1, 0.3, *([0.2 / 28] * 28)], windows=[]),
    ],
)
def test_a_sound_record_has_none(changes: dict[str, object]) -> None:
    assert find_contradictions(sound(**changes)) == []


def test_several_contradictions_are_all_told() -> None:
    changes = {**timed(num_epochs=4, windows=[WINDOW] * 2), **scored(num_samples=99)}
    found = find_contradictions(sound(**changes))
    for said in ("times add up to", "images add up to", "steps add up to 20", "4 epochs"):
        assert any(said in text for text in found), said
