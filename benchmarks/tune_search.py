"""How many trials does `fastbench tune` need? Its search against others, on planted optima.

A surface says how fast a pipeline is with some settings: batches saturate, or are out of memory;
its threads have a peak; loader and model share the cores; a setting of the loader's own moves the
peak. It also says how fast loader and model are alone, and how much CPU time they take where that
matters, as a trial does. Each seed draws its numbers anew, and each figure of a trial scatters by
3 %. Counted is in how many seeds the settings that a search calls the best are within 5 % of the
optimum after 8, 12 and 16 trials. All begin with the default settings; only ours looks at the
parts. The guesses of `measure/search.py` were chosen on the seeds 100 to 399. The record has those
from 0 on.

A GPU's JPEG engines are there twice. DALI has a search of its own for their share, its threads and
its queue, by the loader alone: a run begins with what that finds, and so do all methods on the
surface "engines". Only ours also knows the figures of that search. On "engines, not searched" there
was none, as where `--quick` is given.

    uv run --with optuna --with cmaes python benchmarks/tune_search.py [--seeds N] [--output FILE]
"""

from __future__ import annotations

import argparse
import dataclasses
import functools
import itertools
import json
import math
import random
import shlex
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fastbench.core.atomic_files import write_text
from fastbench.measure import loader_settings, machine
from fastbench.measure.gaussian_process import (
    OF_BATCHES,
    OF_MODEL_THREADS,
    OF_PREFETCH,
    OF_THREADS,
    Axis,
)
from fastbench.measure.search import Parts, Place, Search, Tried

NOISE = 0.03
NEAR = 0.95
AFTER = (8, 12, 16)
SAMPLERS = ("RandomSampler", "TPESampler", "CmaEsSampler", "GPSampler")
THREADS = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96)

Settings = dict[str, Any]
Planted = tuple[float, Parts]
"""Images/s end to end, and the parts alone."""
Surface = Callable[[Settings], Planted | None]
"""What is planted for some settings; None where they are out of memory."""


@dataclass(frozen=True)
class Space:
    """What may be tried, on how many cores; the loader has searched for some settings itself."""

    axes: list[Axis]
    num_cores: int
    planted: Surface
    searched: tuple[str, ...] = ()


@dataclass(frozen=True)
class Problem:
    """A space that begins with its default, how to measure a place, and the loader's own trials."""

    search: Search
    measure: Callable[[Place], Planted | None]
    loaders: dict[Place, float]


Method = Callable[[Problem, int], Iterator[Place]]
"""Gives what it calls the best after each trial, of which there are so many at most."""


def amdahl(threads: float, serial: float) -> float:
    return threads / (1 + serial * (threads - 1))


def lower(a: float, b: float, sharpness: float) -> float:
    """The lower of two rates, rounded off where they meet."""
    return float((a**-sharpness + b**-sharpness) ** (-1 / sharpness))


def axes_of(first: int, cores: int, *, beyond: int = 1, on_cpu: bool = False) -> list[Axis]:
    """As `fastbench tune` makes them, of batches from `first` on."""
    sizes = tuple(first * 2**k for k in range(9 if on_cpu else 8))
    threads = (*(x for x in THREADS if x < cores), cores)
    more = tuple(x for x in THREADS if x > cores)[:beyond]
    model_threads = Axis("model_threads", threads, len(threads) - 1, **OF_MODEL_THREADS)
    return [
        Axis("batch_size", sizes, 4, **OF_BATCHES),
        Axis("num_threads", threads + more, len(threads) - 1, **OF_THREADS),
        *([model_threads] if on_cpu else []),
        Axis("prefetch", (1, 2, 4, 8), 1, **OF_PREFETCH),
    ]


def memory_ends(rng: random.Random) -> Space:
    """A GPU: the batch saturates, its memory ends, and enough threads are enough."""
    half, most = rng.uniform(10, 120), rng.choice([256, 512, 1024, 4096])
    cores = rng.choice([8, 16, 32])
    one, serial, peak = rng.uniform(100, 400), rng.uniform(0.005, 0.05), rng.uniform(0.6, 1)
    peak, over = peak * cores, rng.uniform(0, 0.3)
    model = one * amdahl(cores, serial) * rng.uniform(0.4, 1)

    def planted(x: Settings) -> Planted | None:
        if x["batch_size"] * (1 + x["prefetch"] / 8) > 1.3 * most:
            return None
        threads = x["num_threads"]
        busy = min(threads, peak) + 0.2 * max(0, threads - peak)
        loader = one * amdahl(busy, serial) / (1 + over * max(0, math.log2(threads / peak)))
        loader *= 1 - 0.25 * 2 ** -x["prefetch"]
        ours = model * x["batch_size"] / (x["batch_size"] + half)
        both = lower(loader, ours, 4 + 2 * math.log2(x["prefetch"] + 1))
        return both, Parts(loader, ours, min(threads, cores) / loader, 1 / ours)

    return Space(axes_of(16, cores), cores, planted)


def engines(rng: random.Random) -> Space:
    """A GPU that decodes: a share of JPEG engines, and the threads for the rest, have a peak."""
    cores = rng.choice([16, 32, 64])
    peak, width, best = rng.uniform(0.15, 0.8) * cores, rng.uniform(1, 2.5), rng.uniform(0.3, 0.9)
    half, most = rng.uniform(5, 60), rng.choice([512, 1024, 4096])
    fastest = rng.uniform(3000, 9000)
    model = fastest * rng.uniform(0.9, 2)
    batch = axes_of(16, cores)[0]
    threads = tuple(sorted({*(x for x in (4, 8, 16, 24) if x < cores), cores}))
    axes = [
        batch,
        Axis("num_threads", threads, len(threads) - 1, **OF_THREADS),
        Axis("prefetch", (2, 3, 4), 0, **OF_PREFETCH),
        Axis("load", (0.0, 0.1, 0.2, 0.35, 0.5, 0.65, 0.8, 1.0), 7),
    ]

    def planted(x: Settings) -> Planted | None:
        if x["batch_size"] > most:
            return None
        off = math.log2(x["num_threads"] / (peak * (1.6 - x["load"])))
        loader = fastest * (1 - 0.5 * abs(x["load"] - best)) * math.exp(-((off / width) ** 2) / 2)
        full = x["batch_size"] / (x["batch_size"] + half)
        parts = Parts(loader * full * (1 - 0.2 * 2 ** -x["prefetch"]), model * full)
        return lower(parts.loader, parts.model, 6), parts

    return Space(axes, cores, planted, ("load", "num_threads", "prefetch"))


def shared_cores(rng: random.Random, cores: int) -> Space:
    """A CPU: loader and model share the cores, large batches leave the cache, memory ends."""
    load, run = rng.uniform(200, 600), rng.uniform(20, 400)
    serial, model_serial = rng.uniform(0, 0.05), rng.uniform(0.02, 0.15)
    half, cache, slope = rng.uniform(0.5, 6), rng.uniform(16, 128), rng.uniform(0.02, 0.15)
    switch, most = rng.uniform(0.05, 0.4), rng.choice([128, 512, 512])

    def planted(x: Settings) -> Planted | None:
        batch, threads, torch = x["batch_size"], x["num_threads"], x["model_threads"]
        if batch * (1 + x["prefetch"] / 8) > 1.3 * most:
            return None
        model = run * amdahl(torch, model_serial) * batch / (batch + half)
        model /= 1 + slope * max(0, math.log2(batch / cache))
        alone = load * amdahl(threads, serial)
        both = lower(alone, model, 8 * (1 - 0.5 * 2 ** -x["prefetch"]))
        loader_cpu_s = (1 + serial * (threads - 1)) / load
        busy = both * (loader_cpu_s + torch / model)
        crowd = math.log2((threads + torch) / cores)
        crowded = 1 + switch * (max(0, crowd - 1) + 0.5 * max(0, crowd))
        parts = Parts(min(alone, cores / loader_cpu_s), model, loader_cpu_s, torch / model)
        return both * min(1, cores / busy) / crowded, parts

    return Space(axes_of(2, cores, on_cpu=True), cores, planted)


def flat(rng: random.Random) -> Space:
    """Nothing matters but a little."""
    most, drop = rng.uniform(30, 300), rng.uniform(0, 0.02)

    def planted(x: Settings) -> Planted:
        model = most * (1 - drop * abs(math.log2(x["batch_size"] / 32)))
        return model, Parts(3 * most, model)

    return Space(axes_of(2, 4, on_cpu=True), 4, planted)


def far(rng: random.Random) -> Space:
    """The optimum is at one end or the other, and the default is up to a hundred times slower."""
    batch, width = rng.choice([2, 4, 256, 512]), rng.uniform(2, 4)
    threads, other = rng.choice([1, 2, 3, 24]), rng.uniform(1.5, 3)

    def planted(x: Settings) -> Planted:
        off = math.log2(x["batch_size"] / batch) / width, math.log2(x["num_threads"] / threads)
        hill = math.exp(-(off[0] ** 2) / 2 - (off[1] / other) ** 2 / 2)
        loader = 100 * hill * (1 - 0.1 * 2 ** -x["prefetch"])
        return loader, Parts(loader, 1000)

    _, *others = axes_of(2, 16)
    return Space([axes_of(2, 16, on_cpu=True)[0], *others], 16, planted)


SURFACES: dict[str, Callable[[random.Random], Space]] = {
    "memory ends": memory_ends,
    "engines": engines,
    "engines, not searched": lambda rng: dataclasses.replace(engines(rng), searched=()),
    "2 cores": lambda rng: shared_cores(rng, 2),
    "16 to 64 cores": lambda rng: shared_cores(rng, rng.choice([16, 32, 64])),
    "flat": flat,
    "far": far,
}


# ------------------------------------------------------------------------------------ the methods


def ours(problem: Problem, num: int, *, tells_parts: bool = True) -> Iterator[Place]:
    """`measure/search.py`, with the parts of each trial or without."""
    search, tried = problem.search, Tried(loaders=problem.loaders)
    while len(tried.values) < num and (place := search.next(tried)) is not None:
        if (measured := problem.measure(place)) is None:
            tried.values[place] = None
            tried.no_memory.add(place)
        else:
            tried.values[place], parts = measured
            if tells_parts:
                tried.parts[place] = parts
        yield search.best(tried) or place


def of_both(measured: Planted | None) -> float:
    """Images/s end to end, 0 where that failed."""
    return measured[0] if measured else 0.0


def coordinates(problem: Problem, num: int) -> Iterator[Place]:
    """One axis after the other, in steps of two, then of one, as long as it gets better."""
    search, measure = problem.search, problem.measure
    found: dict[Place, float] = {}
    best = search.default
    found[best] = of_both(measure(best))
    yield best
    for step in (2, 1, 1, 1):
        for axis, direction in itertools.product(range(len(best)), (1, -1)):
            while len(found) < num:
                place = (*best[:axis], best[axis] + direction * step, *best[axis + 1 :])
                if not 0 <= place[axis] < len(search.axes[axis].values):
                    break
                if place not in found:
                    found[place] = of_both(measure(place))
                    yield max(found, key=found.__getitem__)
                if found[place] <= found[best]:
                    break
                best = place


def optunas(sampler: str, seed: int) -> Method:
    """One of Optuna's samplers, told the logarithms, and failures as such."""
    import optuna  # type: ignore[import-not-found]

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    warnings.simplefilter("ignore")
    few = {} if sampler == "RandomSampler" else {"n_startup_trials": 4}

    def run(problem: Problem, num: int) -> Iterator[Place]:
        search, measure = problem.search, problem.measure
        made = getattr(optuna.samplers, sampler)(seed=seed, **few)
        study = optuna.create_study(direction="maximize", sampler=made)
        study.enqueue_trial({x.name: x.default for x in search.axes})
        found: dict[Place, float] = {}
        for _ in range(num):
            trial = study.ask()
            place = tuple(trial.suggest_int(x.name, 0, len(x.values) - 1) for x in search.axes)
            value = of_both(measure(place))
            if value:
                study.tell(trial, math.log(value))
            else:
                study.tell(trial, state=optuna.trial.TrialState.FAIL)
            found[place] = value
            yield max(found, key=found.__getitem__)

    return run


def begin(space: Space, rng: random.Random) -> tuple[Search, dict[Place, float]]:
    """A search whose default is what the loader's own search found, and what that measured."""
    if not space.searched:
        return Search(space.axes, space.num_cores), {}
    default = {axis.name: axis.values[axis.default] for axis in space.axes}

    def loader_alone(settings: Settings) -> float:
        found = space.planted({**default, **settings})
        assert found is not None
        return found[1].loader * math.exp(rng.gauss(0, NOISE))

    by_name = {axis.name: axis.values for axis in space.axes}
    found = loader_settings.search({name: by_name[name] for name in space.searched}, loader_alone)
    axes = [
        dataclasses.replace(axis, default=axis.values.index(found.settings[axis.name]))
        if axis.name in space.searched
        else axis
        for axis in space.axes
    ]
    search = Search(axes, space.num_cores)
    return search, {
        search.place({**default, **trial.settings}): trial.images_per_s
        for trial in found.trials
        if trial.images_per_s
    }


def problem_of(surface: str, seed: int) -> tuple[Space, Search, dict[Place, float]]:
    """A space with its numbers drawn, and how a search of it begins."""
    drawn = f"{surface.split(',')[0]} {seed}"
    space = SURFACES[surface](random.Random(drawn))
    return space, *begin(space, random.Random(f"search {drawn}"))


def regrets(surface: str, seed: int, method: Method, num: int) -> list[float]:
    """After each trial, what the best is worth as a share of the optimum."""
    drawn = f"{surface.split(',')[0]} {seed}"
    noise, of_parts = random.Random(f"noise {drawn}"), random.Random(f"parts {drawn}")
    space, search, loaders = problem_of(surface, seed)
    sizes = [range(len(axis.values)) for axis in space.axes]

    def true(place: Place) -> float:
        return of_both(space.planted(search.settings(place)))

    def measure(place: Place) -> Planted | None:
        if (found := space.planted(search.settings(place))) is None:
            return None
        rate, parts = found
        noisy = [x and x * math.exp(of_parts.gauss(0, NOISE)) for x in dataclasses.astuple(parts)]
        return rate * math.exp(noise.gauss(0, NOISE)), Parts(*noisy)

    optimum = max(true(place) for place in itertools.product(*sizes))
    shares = [true(place) / optimum for place in method(Problem(search, measure, loaders), num)]
    return shares + [shares[-1]] * (num - len(shares))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--methods", nargs="+", help="only these (default: all)")
    parser.add_argument("--output", type=Path, help="JSON file to write, after each method")
    arguments = parser.parse_args()
    methods: dict[str, Callable[[int], Method]] = {
        "ours": lambda _: ours,
        "ours-without-parts": lambda _: functools.partial(ours, tells_parts=False),
        "coordinates": lambda _: coordinates,
        **{name: functools.partial(optunas, name) for name in SAMPLERS},
    }
    seeds = range(arguments.first_seed, arguments.first_seed + arguments.seeds)
    found: dict[str, Any] = {}
    for name in arguments.methods or methods:
        start = time.monotonic()
        found[name] = {}
        for surface in SURFACES:
            shares = [regrets(surface, seed, methods[name](seed), AFTER[-1]) for seed in seeds]
            near = {num: sum(x[num - 1] >= NEAR for x in shares) for num in AFTER}
            found[name][surface] = {"num_near_after": near, "share_of_optimum": shares}
        counts = ", ".join(
            f"{surface} {'/'.join(map(str, each['num_near_after'].values()))}"
            for surface, each in found[name].items()
        )
        print(f"{name}: {counts} ({time.monotonic() - start:.0f} s)", flush=True)
        if arguments.output:
            record = {
                "benchmark": "tune_search",
                "command": shlex.join(["uv", "run", "python", *sys.argv]),
                "environment": machine.describe(),
                "seeds": [seeds.start, seeds.stop],
                "noise": NOISE,
                "near": NEAR,
                "after": AFTER,
                "num_loader_trials": {
                    surface: [len(problem_of(surface, seed)[2]) for seed in seeds]
                    for surface in SURFACES
                },
                "methods": found,
            }
            write_text("The figures", arguments.output, json.dumps(record) + "\n")


if __name__ == "__main__":
    main()
