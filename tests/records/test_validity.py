"""Records that contradict themselves are found out, each by what is wrong with it."""

import math

import msgspec
import pytest
from builders.consistent_record import ACCURACY, CLASSES, STEPS_S, THROUGHPUT, WINDOW, sound
from builders.records import make

from fastbench.records.speed import Ceiling, Window
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


OTHER_RUN = "throughput and step times are not of the same run"
CASES = {
    "no step times": (timed(step_times_s=[]), "there are 0 steps, and 3 epochs"),
    "steps of a slower run": (timed(step_times_s=[2 * s for s in STEPS_S]), OTHER_RUN),
    "steps of a faster run": (timed(step_times_s=[0.97 * s for s in STEPS_S]), OTHER_RUN),
    "half the wall time": (timed(wall_s=0.3, windows=[]), OTHER_RUN),
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
        "the windows have 31 steps, and 30 step times",
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
        "the loader alone took 3.000 s of 2 cores in 1.000 s",
    ),
    "more hits than samples": (scored(top1_correct=101, top5_correct=101), "101 hits of top-1"),
    "more top-1 than top-5": (scored(top5_correct=89), "90 hits of top-1 and 89 of top-5"),
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
        agreeing(100),
        timed(windows=[]),  # a record of version 2
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
    for said in ("times add up to", "images add up to", "20 steps", "4 epochs"):
        assert any(said in text for text in found), said
