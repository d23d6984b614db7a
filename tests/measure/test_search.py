"""The search finds planted optima in few trials, and never tries what cannot fit."""

import dataclasses
import itertools
import math
import random
from collections.abc import Callable

import pytest

from fastbench.measure.gaussian_process import Axis
from fastbench.measure.search import Parts, Place, Search, Tried

AXES = (
    Axis(
        "batch_size", (4, 8, 16, 32, 64, 128, 256), 3, effect=0.4, reach=3, memory=1, to_model=True
    ),
    Axis("num_threads", (1, 2, 3, 4, 6, 8), 5, effect=0.4, reach=1.5),
    Axis("prefetch", (1, 2, 4), 1, effect=0.08, reach=1.5, memory=0.25),
)


def planted(seed: int) -> Callable[[Place], float | None]:
    """Batches saturate until memory ends; the threads' peak moves with the batch."""
    rng = random.Random(seed)
    half, most, peak = rng.uniform(2, 60), rng.choice([32, 64, 128, 256]), rng.uniform(1, 8)
    shift, width = rng.uniform(0, 0.2), rng.uniform(1, 2.5)

    def rate(place: Place) -> float | None:
        batch, threads, prefetch = (axis.values[i] for axis, i in zip(AXES, place, strict=True))
        assert isinstance(batch, int)
        assert isinstance(threads, int)
        if batch > most:
            return None
        off = math.log2(threads / peak) + shift * math.log2(batch / 32)
        ahead = 1 - 0.05 / int(prefetch or 0)
        return 1000 * ahead * batch / (batch + half) * math.exp(-((off / width) ** 2) / 2)

    return rate


def found(seed: int, num: int) -> float:
    """What the best after `num` trials is worth, as a share of the optimum."""
    rate, noise = planted(seed), random.Random(f"noise {seed}")
    search, tried = Search(AXES), Tried()
    for _ in range(num):
        place = search.next(tried)
        assert place is not None
        value = rate(place)
        tried.values[place] = None if value is None else value * math.exp(noise.gauss(0, 0.03))
        if value is None:
            tried.no_memory.add(place)
    best = search.best(tried)
    assert best is not None
    places = itertools.product(*(range(len(axis.values)) for axis in AXES))
    return (rate(best) or 0) / max(rate(place) or 0 for place in places)


def test_planted_optima_are_found_in_twelve_trials() -> None:
    assert sum(found(seed, 12) >= 0.95 for seed in range(20)) >= 19


SHARED = (
    Axis("batch_size", (4, 8, 16, 32, 64, 128, 256), 3, effect=0.4, reach=3, to_model=True),
    Axis("num_threads", (1, 2, 3, 4, 6, 8, 12, 16), 7, effect=0.4, reach=1.5),
    Axis("model_threads", (1, 2, 3, 4, 6, 8, 12, 16), 7, 0.4, 1.5, to_loader=False, to_model=True),
)


def on_shared_cores(seed: int, place: Place) -> tuple[float, Parts]:
    """Loader and model share 16 cores: threads that the slower part lacks are lost to the other."""
    rng = random.Random(seed)
    load, run, half = rng.uniform(100, 600), rng.uniform(20, 200), rng.uniform(1, 20)
    batch, threads, torch = (axis.values[i] for axis, i in zip(SHARED, place, strict=True))
    assert isinstance(batch, int)
    assert isinstance(threads, int)
    assert isinstance(torch, int)
    loader = load * threads / (1 + 0.02 * threads)
    model = run * torch / (1 + 0.05 * torch) * batch / (batch + half)
    busy = min(loader, model) * (threads / loader + torch / model)
    both = min(loader, model) * min(1, 16 / busy)
    return both, Parts(loader, model, threads / loader, torch / model)


def found_on_shared_cores(seed: int, num: int, *, tells_parts: bool) -> float:
    """What the best after `num` trials is worth, as a share of the optimum."""
    noise, search, tried = random.Random(f"noise {seed}"), Search(SHARED, 16), Tried()

    def noisy(value: float) -> float:
        return value * math.exp(noise.gauss(0, 0.03))

    for _ in range(num):
        place = search.next(tried)
        assert place is not None
        rate, parts = on_shared_cores(seed, place)
        tried.values[place] = noisy(rate)
        if tells_parts:
            tried.parts[place] = Parts(*map(noisy, dataclasses.astuple(parts)))
    best = search.best(tried)
    assert best is not None
    places = itertools.product(*(range(len(axis.values)) for axis in SHARED))
    return on_shared_cores(seed, best)[0] / max(on_shared_cores(seed, p)[0] for p in places)


def test_what_the_parts_are_alone_saves_trials() -> None:
    with_parts, without = (
        sum(found_on_shared_cores(seed, 7, tells_parts=tells) >= 0.95 for seed in range(20))
        for tells in (True, False)
    )
    assert with_parts >= 18
    assert without <= with_parts - 4


def test_parts_of_some_trials_only_are_not_used() -> None:
    values: dict[Place, float | None] = {(3, 7, 7): 100.0, (0, 0, 0): 20.0}
    some = Tried(dict(values), parts={(3, 7, 7): Parts(300.0, 100.0)})
    assert Search(SHARED, 16).next(some) == Search(SHARED, 16).next(Tried(dict(values)))


def test_cpu_time_that_is_not_known_bounds_nothing() -> None:
    """The model alone says that its batches do not matter, and the loader that its threads do."""
    values: dict[Place, float | None] = {(3, 7, 7): 100.0, (3, 3, 7): 52.0, (5, 7, 7): 101.0}
    parts = {
        (3, 7, 7): Parts(100.0, 900.0),
        (3, 3, 7): Parts(52.0, 900.0, 0.01),
        (5, 7, 7): Parts(101.0, 900.0),
    }
    assert Search(SHARED, 16).best(Tried(values, parts=parts)) in ((3, 7, 7), (5, 7, 7))


def test_the_end_of_the_memory_is_searched_for_in_halves() -> None:
    """Images/s grow with the batch up to a limit that only a failure shows."""
    axis = Axis("batch_size", tuple(2**i for i in range(12)), 0, 0.4, 3, memory=1, to_model=True)
    for most in range(2, 12):
        search, tried = Search([axis]), Tried()
        while (place := search.next(tried)) is not None:
            fits = place[0] < most
            tried.values[place] = 100 * 1.3 ** place[0] if fits else None
            if not fits:
                tried.no_memory.add(place)
            if search.best(tried) == (most - 1,):
                break
        assert search.best(tried) == (most - 1,)
        assert len(tried.no_memory) <= 3


def test_it_begins_with_the_default_and_repeats_nothing() -> None:
    search, tried = Search(AXES[1:]), Tried()
    places = []
    while (place := search.next(tried)) is not None:
        places.append(place)
        tried.values[place] = 1.0 + place[0]
    assert places[0] == (5, 1)
    assert len(places) == len({*places}) == 18


ENGINES = (
    Axis("batch_size", (64, 128, 256, 512), 2, effect=0.4, reach=3, memory=1, to_model=True),
    Axis("num_threads", (4, 8, 16, 24), 3, effect=0.4, reach=1.5),
    Axis("load", (0.0, 0.1, 0.2, 0.35, 0.5, 0.65, 0.8, 1.0), 7),
)


def test_what_the_loader_reached_before_counts() -> None:
    """Its own search has found a hill; the first trial says that the model is fast enough."""
    hill = {
        (2, threads, load): 2000 - 300.0 * abs(threads - 1) - 200 * abs(load - 4)
        for threads in (0, 1, 3)
        for load in (0, 3, 4, 5, 7)
    }
    default = (2, 3, 7)
    tried = Tried({default: 800.0}, parts={default: Parts(hill[default], 9000.0)})
    search = Search(ENGINES, 16)
    alone = search.next(tried)
    tried.loaders = hill
    place = search.next(tried)
    assert alone is not None
    assert place is not None
    assert place[1:] == (1, 4) != alone[1:]


def test_what_the_loader_reached_before_is_no_trial() -> None:
    """And it says nothing where the parts of the trials are not known."""
    tried = Tried({(2, 3, 7): 800.0, (1, 3, 7): 500.0})
    before = Search(ENGINES).next(tried)
    tried.loaders = {(2, 1, 4): 2000.0}
    assert Search(ENGINES).next(tried) == before
    assert Search(ENGINES).best(tried) == (2, 3, 7)


def test_settings_have_a_place() -> None:
    search = Search(ENGINES)
    for place in ((0, 0, 0), (2, 3, 7), (3, 1, 4)):
        assert search.place({**search.settings(place), "prefetch": 2}) == place


def test_what_is_next_follows_from_the_trials_alone() -> None:
    tried = Tried({(3, 5, 1): 100.0, (5, 2, 1): 120.0, (1, 0, 0): 30.0})
    assert Search(AXES).next(tried) == Search(AXES).next(tried)


def test_nothing_that_needs_more_memory_than_what_failed_is_tried() -> None:
    search, tried = Search(AXES), Tried({(3, 5, 1): 100.0, (4, 0, 1): None}, {(4, 0, 1)})
    for _ in range(40):
        place = search.next(tried)
        assert place is not None
        assert not (place[0] >= 4 and place[2] >= 1)
        tried.values[place] = 100.0 + place[0]


def test_after_a_default_out_of_memory_comes_the_next_smaller_batch() -> None:
    tried = Tried({(3, 5, 1): None}, {(3, 5, 1)})
    search = Search(AXES)
    assert search.best(tried) is None
    assert search.next(tried) == (2, 5, 1)


def test_the_best_is_not_the_luckiest() -> None:
    """One value that stands out by less than the noise, among others that rise another way."""
    axis = (Axis("num_threads", (1, 2, 3, 4, 6, 8), 5, effect=0.4, reach=1.5),)
    values = {(0,): 50.0, (1,): 80.0, (2,): 97.0, (3,): 99.0, (4,): 97.5, (5,): 99.5}
    search = Search(axis)
    assert search.best(Tried(dict(values))) in ((2,), (3,), (4,), (5,))
    assert search.best(Tried({**values, (0,): 500.0})) == (0,)


@pytest.mark.parametrize(
    ("values", "far"), [((1, 2, 4), 2.0), ((0.0, 0.1, 0.5, 1.0), 1.0), ((None, 1, 2), 1.0)]
)
def test_numbers_are_apart_by_doublings_and_others_by_their_places(
    values: tuple[float | None, ...], far: float
) -> None:
    assert Axis("x", values, 0, reach=1).distances[0, -1] == pytest.approx(far)
