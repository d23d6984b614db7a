"""The search finds planted optima in few trials, and never tries what cannot fit."""

import itertools
import math
import random
from collections.abc import Callable

import pytest

from fastbench.measure.search import Axis, Place, Search, Tried

AXES = (
    Axis("batch_size", (4, 8, 16, 32, 64, 128, 256), 3, effect=0.4, reach=3, takes_memory=True),
    Axis("num_threads", (1, 2, 3, 4, 6, 8), 5, effect=0.4, reach=1.5),
    Axis("prefetch", (1, 2, 4), 1, effect=0.08, reach=1.5, takes_memory=True),
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


def test_it_begins_with_the_default_and_repeats_nothing() -> None:
    search, tried = Search(AXES[1:]), Tried()
    places = []
    while (place := search.next(tried)) is not None:
        places.append(place)
        tried.values[place] = 1.0 + place[0]
    assert places[0] == (5, 1)
    assert len(places) == len({*places}) == 18


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
