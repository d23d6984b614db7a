"""What several ranks did is added up, and what cannot be added up is refused."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import msgspec
import pytest
from builders.rank_reports import (
    GPU,
    NUM_SAMPLES,
    STEP_S,
    changed,
    merged,
    reports,
    telemetry,
)

from fastbench.core.errors import LoaderError
from fastbench.records.speed import Latency, Telemetry, Throughput
from fastbench.runner.merge_ranks import Report, together


def timed(found: list[Report]) -> dict[str, Any]:
    return dict(merged(found).timed)


def test_images_and_windows_are_of_all_ranks() -> None:
    throughput: Throughput = timed(reports("aa"))["throughput"]
    assert (throughput.num_images, throughput.num_epochs) == (4 * NUM_SAMPLES, 4)
    first, second = throughput.windows
    assert (first.num_images, first.num_steps) == (2 * NUM_SAMPLES, 12)
    # From the first start to the last end: 6 steps, and what the second rank began later.
    assert (first.wall_s, second.wall_s) == pytest.approx((0.65, 0.65))
    assert throughput.wall_s == pytest.approx(1.3)
    assert first.wait_s == pytest.approx(0.015)
    assert throughput.images_per_s == pytest.approx(20 / 0.65)
    assert throughput.is_settled is True


def test_a_window_is_no_shorter_than_a_ranks() -> None:
    """Across machines each has its own clock."""
    first, second = reports("ab")
    first = replace(first, walls_s=[0.3, 0.3])
    walls_s = [window.wall_s for window in timed([first, second])["throughput"].windows]
    assert walls_s == pytest.approx([0.6, 0.6])


def test_step_times_are_window_by_window_and_rank_by_rank() -> None:
    steps_s = timed(reports("aaa"))["throughput"].step_times_s
    found = [round(1e4 * abs(each - STEP_S)) for each in steps_s[::4]]
    assert found == [0, 10, 20, 1, 11, 21]
    assert len(steps_s) == 24


@pytest.mark.parametrize(
    ("settled", "expected"), [((True, False), False), ((True, None), None), ((True, True), True)]
)
def test_ranks_have_settled_when_all_have(
    settled: tuple[bool | None, ...], expected: bool | None
) -> None:
    found = [
        changed(
            each,
            throughput=msgspec.structs.replace(each.passes.timed["throughput"], is_settled=its),
        )
        for each, its in zip(reports("aa"), settled, strict=True)
    ]
    assert timed(found)["throughput"].is_settled is expected


def test_hits_and_predictions_are_those_of_all_samples_in_their_order() -> None:
    passes = merged(reports("aaa"))
    scores = passes.scores
    assert scores.predictions == [*range(NUM_SAMPLES)]
    assert scores.hits == [(7, 10), (4, 10)] * 2
    assert scores.times_seen == [4] * NUM_SAMPLES
    assert scores.probabilities == [[0.75, 0.25]] * NUM_SAMPLES
    assert scores.places == [1, 2, 0, 4, 5, 3, 7, 8, 9, 6]
    assert passes.num_recompiles == 0 + 1 + 2


def test_what_one_rank_does_not_know_the_row_does_not() -> None:
    first, second = reports("aa")
    scores = replace(second.passes.scores, hits=None, probabilities=None)
    second = replace(second, passes=replace(second.passes, scores=scores))
    second = changed(second, telemetry=None, loader_ceiling=None)
    second = changed(
        second,
        rounds=[msgspec.structs.replace(x, loader=None) for x in second.passes.timed["rounds"]],
    )
    passes = merged([first, second])
    assert (passes.scores.hits, passes.scores.probabilities) == (None, None)
    assert (passes.timed["telemetry"], passes.timed["loader_ceiling"]) == (None, None)
    assert [each.loader for each in passes.timed["rounds"]] == [None, None]
    assert passes.timed["model_ceiling"] is not None


def test_rates_of_rounds_are_added() -> None:
    """Rank 0 does 20 images in 0.5 s and rank 1 in 1 s, of the loader alone twice as many."""
    found = timed(reports("aa"))
    assert len(found["rounds"]) == 2
    for each in found["rounds"]:
        assert each.end_to_end.images_per_s == pytest.approx(40 + 20)
        assert each.loader.images_per_s == pytest.approx(80 + 40)
        assert each.end_to_end.wait_s / each.end_to_end.wall_s == pytest.approx((0.2 + 0.1) / 2)
    assert found["loader_ceiling"].images_per_s == pytest.approx(120)
    assert found["loader_ceiling"].cpu_s == pytest.approx(0.1 + 0.2)
    assert found["model_ceiling"].images_per_s == pytest.approx(60)
    assert found["model_ceiling"].cpu_s is None


def test_latency_is_that_of_all_and_the_warm_up_the_slowest() -> None:
    found = timed(reports("aa"))
    assert found["latency"] == Latency(batch_size=2, samples_s=[0.1] * 3 + [0.2] * 3)
    assert found["other_latencies"] == [Latency(batch_size=1, samples_s=[0.05, 0.1])]
    warm_up = found["warm_up"]
    assert (warm_up.model_load_s, warm_up.loader_start_s, warm_up.num_batches) == (2.0, 9.0, 11)


def test_each_rank_is_told_with_its_machine() -> None:
    found = timed(reports("aba", ([0], [0], [1])))
    parts = found["ranks"]
    assert [(x.rank, x.local_rank, x.machine, x.host) for x in parts] == [
        (0, 0, 0, "host a"), (1, 0, 1, "host b"), (2, 1, 0, "host a"),
    ]  # fmt: skip
    assert [x.num_samples for x in parts] == [3, 3, 4]
    assert [x.cores for x in parts] == [[0], [0], [1]]
    assert [x.device for x in parts] == ["cuda:0", "cuda:0", "cuda:1"]
    assert [x["host"] for x in found["machines"]] == ["a", "b"]
    assert timed(reports("aa"))["machines"] == []


# ------------------------------------------------------------------------------------ shares


def with_samples(report: Report, samples: range) -> Report:
    return replace(report, samples=samples)


SHARES: dict[str, tuple[Callable[[list[Report]], list[Report]], str]] = {
    "they overlap": (
        lambda found: [found[0], with_samples(found[1], range(4, 10))],
        "Rank 1 has scored 5 samples from 4 on, and its share are 5 from 5.jpg on",
    ),
    "one is left out": (
        lambda found: [found[0], with_samples(found[1], range(6, 10))],
        "Rank 1 has scored 5 samples from 6 on, and its share are 5 from 5.jpg on",
    ),
    "a rank is missing": (
        lambda found: found[:1],
        "Rank 0 has scored 5 samples from 0 on, and its share are 10 from 0.jpg on",
    ),
    "the order is another": (
        lambda found: found[::-1],
        "Rank 0 has scored 5 samples from 5 on, and its share are 5 from 0.jpg on",
    ),
    "a sample was not scored": (
        lambda found: [
            found[0],
            replace(
                found[1],
                passes=replace(
                    found[1].passes,
                    scores=replace(found[1].passes.scores, best=found[1].passes.scores.best[1:]),
                ),
            ),
        ],
        "Rank 1 has scored 4 samples from 5 on, and its share are 5 from 5.jpg on",
    ),
}


@pytest.mark.parametrize("case", SHARES)
def test_shares_that_do_not_have_each_sample_once_are_refused(case: str) -> None:
    change, said = SHARES[case]
    with pytest.raises(LoaderError, match=said):
        merged(change(reports("aa")))


@pytest.mark.parametrize("what", ["num_epochs", "windows"])
def test_ranks_with_other_epochs_or_windows_are_refused(what: str) -> None:
    first, second = reports("aa")
    throughput: Throughput = second.passes.timed["throughput"]
    other = {"num_epochs": 5, "windows": throughput.windows[1:]}[what]
    second = changed(second, throughput=msgspec.structs.replace(throughput, **{what: other}))
    with pytest.raises(LoaderError, match="'dali' were timed with different epochs"):
        merged([first, second])


# --------------------------------------------------------------------------------- telemetry


def used(
    places: list[tuple[str, list[int]]], *changes: dict[str, Any], wall_s: float = 2.0
) -> Telemetry:
    """Of ranks that used 0.5 CPU seconds each, while others took 0.75 of their cores."""
    parts = [
        telemetry(2.0, 20, len(cores), **of)
        for (_, cores), of in zip(places, changes or ({},) * len(places), strict=True)
    ]
    found = together(places, parts, wall_s)
    assert found is not None
    return found


def test_cpu_time_is_summed_and_other_ranks_are_not_foreign() -> None:
    found = used([("a", [0, 1]), ("a", [0, 1])])
    assert (found.cpu_s, found.kernel_cpu_s, found.num_faults) == (1.0, 0.2, 100)
    assert found.foreign_cpu_s == 0.75 - 0.5
    assert (found.num_cores, found.num_images) == (2, 40)
    assert found.rss_bytes == [2_000, 4_000]


@pytest.mark.parametrize(
    ("places", "num_cores", "foreign_s"),
    [
        ([("a", [0]), ("a", [1])], 2, 1.5),  # each has its own
        ([("a", [0, 1]), ("b", [0, 1])], 4, 1.5),  # of two machines
        ([("a", [0, 1]), ("a", [0, 1]), ("a", [2]), ("b", [0])], 4, 0.25 + 0.75 + 0.75),
        ([("a", [0, 1]), ("a", [1, 2])], 3, None),  # what was foreign to both cannot be told
    ],
)
def test_cores_and_what_others_took_of_them(
    places: list[tuple[str, list[int]]], num_cores: int, foreign_s: float | None
) -> None:
    found = used(places)
    assert (found.num_cores, found.foreign_cpu_s) == (num_cores, foreign_s)


def test_what_others_took_is_not_known_of_all() -> None:
    places = [("a", [0]), ("a", [1])]
    assert used(places, {}, {"foreign_cpu_s": None}).foreign_cpu_s is None
    assert used(places, {"foreign_cpu_s": 0.1}, {"foreign_cpu_s": 0.0}).foreign_cpu_s == 0.1
    # A rank's CPU time is read a moment before another's.
    here = [("a", [0]), ("a", [0])]
    assert used(here, {"foreign_cpu_s": 0.4}, {"cpu_s": 0.5}).foreign_cpu_s == 0


def test_a_quota_is_that_of_a_machine() -> None:
    quota = {"cpu_quota": 1.5, "num_periods": 20, "num_throttled": 3}
    found = used([("a", [0, 1]), ("a", [0, 1]), ("b", [0, 1])], quota, quota, quota)
    assert (found.cpu_quota, found.num_periods, found.num_throttled) == (3.0, 40, 6)
    assert used([("a", [0]), ("a", [1])]).cpu_quota is None


def test_readings_are_as_many_as_every_rank_has() -> None:
    found = used([("a", [0]), ("a", [1])], {}, {"rss_bytes": [5, 6, 7], "num_readings": 3})
    assert (found.num_readings, found.rss_bytes) == (2, [1_005, 2_006])


def test_the_rows_seconds_count() -> None:
    """Another rank may have been the first in each window."""
    assert used([("a", [0]), ("a", [1])], wall_s=2.5).wall_s == 2.5
    longer = together([("a", [0])], [telemetry(2.25, 20, 1)], 2.0)
    assert longer is not None
    assert longer.wall_s == 2.25


def test_power_and_energy_of_gpus_are_summed() -> None:
    other = msgspec.structs.replace(
        GPU,
        energy_j=50.0,
        throttle_reasons=["power brake"],
        power_w=[10.0],
        num_foreign_processes=0,
    )
    gpu = used([("a", [0]), ("a", [1])], {"gpu": GPU}, {"gpu": other}).gpu
    assert gpu is not None
    assert (gpu.energy_j, gpu.power_w, gpu.power_limit_w) == (150.0, [100.0], 1400.0)
    assert (gpu.sm_utilization_pct, gpu.memory_utilization_pct) == ([40.0, 60.0], [20.0, 30.0])
    assert gpu.jpeg_utilization_pct == []
    assert gpu.temperature_c == [40.0, 45.0]
    assert gpu.memory_used_bytes == [6_000_000_000, 8_000_000_000]
    assert gpu.throttle_reasons == ["power cap", "power brake"]
    assert gpu.num_foreign_processes == 1


def test_a_gpu_that_one_rank_does_not_know() -> None:
    places = [("a", [0]), ("a", [1])]
    assert used(places, {"gpu": GPU}, {"gpu": None}).gpu is None
    silent = msgspec.structs.replace(GPU, energy_j=None, num_foreign_processes=None)
    gpu = used(places, {"gpu": GPU}, {"gpu": silent}).gpu
    assert gpu is not None
    assert (gpu.energy_j, gpu.num_foreign_processes) == (None, None)
    assert gpu.power_w == [180.0, 220.0]
