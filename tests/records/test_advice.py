"""Each advice of the closed list is given where there is reason for it, and only there."""

import msgspec
import pytest
from builders.records import make

from fastbench.records.advice import NAMES, Advice, advise, advise_all
from fastbench.records.record import Record
from fastbench.records.speed import (
    Ceiling,
    Compilation,
    GpuTelemetry,
    Telemetry,
    Throughput,
    Window,
)

GPU = GpuTelemetry(
    energy_j=60.0,
    power_w=[100.0],
    power_limit_w=300.0,
    sm_utilization_pct=[50.0],
    memory_utilization_pct=[50.0],
    jpeg_utilization_pct=[0.0],
    sm_clock_mhz=[1000.0],
    temperature_c=[50.0],
    memory_used_bytes=[1],
    throttle_reasons=[],
    num_foreign_processes=0,
)
TELEMETRY = Telemetry(
    wall_s=0.6,
    interval_s=0.1,
    num_readings=6,
    num_images=300,
    num_cores=2,
    cpu_s=0.3,
    foreign_cpu_s=0.01,
    rss_bytes=[1],
    gpu=GPU,
)


def quiet(**changes: object) -> Record:
    """500 images/s end to end, loader alone 526, model alone 513: nothing is to be said."""
    record = make(
        batch_size=10,
        data={"num_samples": 100},
        throughput=throughput(0.2, 0.2, 0.2),
        loader_ceiling=ceiling(0.19),
        model_ceiling=ceiling(0.195),
        telemetry=TELEMETRY,
    )
    return msgspec.structs.replace(record, **changes)


def throughput(*walls_s: float, is_settled: bool | None = True) -> Throughput:
    return Throughput(
        num_images=100 * len(walls_s),
        num_epochs=len(walls_s),
        batch_size=10,
        wall_s=sum(walls_s),
        step_times_s=[wall_s / 10 for wall_s in walls_s for _ in range(10)],
        windows=[Window(num_images=100, num_steps=10, wall_s=s, wait_s=0.0) for s in walls_s],
        is_settled=is_settled,
    )


def waiting(wait_s: float) -> Throughput:
    windows = [Window(num_images=100, num_steps=10, wall_s=0.2, wait_s=wait_s)] * 3
    return msgspec.structs.replace(throughput(0.2, 0.2, 0.2), windows=windows)


def ceiling(wall_s: float) -> Ceiling:
    return Ceiling(num_images=100, wall_s=wall_s)


def compiled(num_graphs: int = 1, num_graph_breaks: int = 0, num_recompiles: int = 0) -> Record:
    return quiet(
        compilation=Compilation(
            num_graphs=num_graphs,
            num_graph_breaks=num_graph_breaks,
            num_recompiles=num_recompiles,
        )
    )


def on_gpu(**changes: object) -> Record:
    gpu = msgspec.structs.replace(GPU, **changes)
    return quiet(telemetry=msgspec.structs.replace(TELEMETRY, gpu=gpu))


def beside(foreign_cpu_s: float | None) -> Record:
    return quiet(telemetry=msgspec.structs.replace(TELEMETRY, foreign_cpu_s=foreign_cpu_s))


def under_quota(**changes: object) -> Record:
    quota = {"cpu_quota": 0.5, "num_periods": 300, "num_throttled": 0}
    return quiet(telemetry=msgspec.structs.replace(TELEMETRY, **{**quota, **changes}))


def limited(loader_s: float, model_s: float, **changes: object) -> Record:
    return quiet(loader_ceiling=ceiling(loader_s), model_ceiling=ceiling(model_s), **changes)


# Of each: records that ask for it and for nothing else, and what is said; records that do not.
CASES: dict[str, tuple[list[tuple[Record, str]], list[Record]]] = {
    "recompiled": (
        [
            (compiled(num_recompiles=2), "made 2 more graphs"),
            (compiled(num_recompiles=1), "made 1 more graph in"),
        ],
        [compiled(), quiet(compilation=None)],
    ),
    "ran-eagerly": ([(compiled(num_graphs=0), "made no graph")], [compiled()]),
    "graph-breaks": (
        [
            (compiled(num_graph_breaks=n), s)
            for n, s in ((3, "3 graph breaks)"), (1, "1 graph break)"))
        ],
        [compiled()],
    ),
    "throttled": (
        [(on_gpu(throttle_reasons=["power", "heat"]), "lowered its clocks (power, heat)")],
        [
            on_gpu(),
            quiet(telemetry=None),
            quiet(telemetry=msgspec.structs.replace(TELEMETRY, gpu=None)),
        ],
    ),
    "cpu-throttled": (
        [(under_quota(num_throttled=3), "used up in 1 % of its periods")],
        [under_quota(num_throttled=2), under_quota(num_periods=0), quiet()],
    ),
    "foreign-gpu": (
        [
            (on_gpu(num_foreign_processes=2), "2 other processes on the GPU"),
            (on_gpu(num_foreign_processes=1), "1 other process on the GPU"),
        ],
        [on_gpu(num_foreign_processes=None)],
    ),
    # A tenth of 0.6 s on 2 cores. Of a quota of 0.5 core others take what they do not leave of it.
    "foreign-cpu": (
        [
            (beside(0.121), "took 10 %"),
            (under_quota(foreign_cpu_s=0.6 * 1.75), "took 50 %"),
            (under_quota(foreign_cpu_s=0.121, cpu_quota=4.0), "took 10 %"),
        ],
        [beside(0.119), beside(None), under_quota(foreign_cpu_s=0.6 * 1.5)],
    ),
    # 500 images/s may be 1.1 times a ceiling: 455, that is 100 in 0.22 s.
    "above-ceiling": (
        [
            (limited(0.221, 0.2), "1.10x the loader alone"),
            (limited(0.2, 0.24), "1.20x the model alone"),
        ],
        [limited(0.219, 0.2), quiet(loader_ceiling=None, model_ceiling=None)],
    ),
    "unsettled": (
        [(quiet(throughput=throughput(0.2, 0.2, is_settled=False)), "had not settled")],
        [quiet(throughput=throughput(0.2, 0.2, is_settled=None))],
    ),
    "noisy": (
        [(quiet(throughput=throughput(0.1895, 0.2, 0.2105)), "differ by 11 %")],
        [quiet(throughput=throughput(0.1905, 0.2, 0.2095)), quiet(throughput=throughput(0.2))],
    ),
    "as-found": (
        [
            (
                quiet(data={"num_samples": 100, "page_cache": "as found"}),
                "the page cache is as it was found",
            )
        ],
        [quiet(data={"num_samples": 100, "page_cache": state}) for state in ("warm", "cold")],
    ),
    # The loader takes 0.14 of the 0.2 s; 0.8 of that is waited for, or less.
    "serial": (
        [(limited(0.14, 0.15, throughput=waiting(0.113)), "for 56 % of the time the host waits")],
        [limited(0.17, 0.1701, throughput=waiting(0.19))],
    ),
    # The end is 0.2 s for 100 images; together they must reach 0.85 of the slower: 0.17 s.
    "contended": (
        [
            (limited(0.1699, 0.1699), "reach 85 % of the slower one"),
            (limited(0.14, 0.15, throughput=waiting(0.111)), "reach 75 % of the slower one"),
            (quiet(loader_ceiling=None, model_ceiling=ceiling(0.1)), "reach 50 %"),
        ],
        [limited(0.1701, 0.1701)],
    ),
    "loader-bound": (
        [(limited(0.2, 0.1599), "the model alone is 1.3x as fast")],
        [limited(0.2, 0.1601), quiet(model_ceiling=None)],
    ),
    "model-bound": (
        [(limited(0.05, 0.2), "the loader alone is 4.0x as fast")],
        [limited(0.1601, 0.2), quiet(loader_ceiling=None)],
    ),
}


def named(record: Record) -> list[str]:
    return [advice.name for advice in advise(record)]


def test_every_advice_has_a_case() -> None:
    """In the order of the list, which is that of their weight."""
    assert tuple(CASES) == NAMES


def test_a_quiet_record_needs_none() -> None:
    assert advise(quiet()) == []


@pytest.mark.parametrize("name", NAMES)
def test_it_is_given_alone(name: str) -> None:
    asking, _ = CASES[name]
    for record, said in asking:
        assert named(record) == [name]
        (advice,) = advise(record)
        assert said in advice.doubt
        assert str(advice) == f"{advice.doubt}: {advice.remedy}"


@pytest.mark.parametrize("name", NAMES)
def test_it_is_not_given_short_of_it(name: str) -> None:
    _, short = CASES[name]
    for record in short:
        assert named(record) == []


@pytest.mark.parametrize(
    ("changes", "remedy"),
    [
        ({"loader": "torchvision", "device": "cuda:0"}, "--loader dali"),
        ({"loader": "torchvision-tensor", "device": "cuda:0"}, "--loader dali"),
        # What is the fastest on a CPU is not sent to a slower one.
        ({"loader": "torchvision-tensor", "device": "cpu"}, "a machine with a GPU, or more cores"),
        ({"loader": "torchvision", "device": "cpu"}, "--loader torchvision-tensor"),
        ({"loader": "dali", "device": "cpu"}, "--loader torchvision-tensor"),
        ({"loader": "dali", "device": "cuda:0"}, "more --num-threads"),
        ({"loader": "other", "device": "cpu"}, "more --num-threads"),
    ],
)
def test_what_to_try_when_the_loader_is_slow(changes: dict[str, object], remedy: str) -> None:
    (advice,) = advise(limited(0.2, 0.1, **changes))
    assert (advice.name, advice.remedy) == ("loader-bound", remedy)


@pytest.mark.parametrize(
    ("changes", "remedy"),
    [
        ({"compile_mode": None}, "--compile"),
        ({"compile_mode": "default", "device": "cuda:0"}, "--dtype float16"),
        (
            {"compile_mode": "default", "device": "cuda:0", "dtype": "float16"},
            "a larger --batch-size",
        ),
        ({"compile_mode": "default", "device": "cpu"}, "a larger --batch-size"),
    ],
)
def test_what_to_try_when_the_model_is_slow(changes: dict[str, object], remedy: str) -> None:
    (advice,) = advise(limited(0.1, 0.2, **changes))
    assert (advice.name, advice.remedy) == ("model-bound", remedy)


@pytest.mark.parametrize(
    ("device", "remedy"),
    [("cpu", "fewer --num-threads"), ("cuda:0", "--loader-option dali.prefetch=4")],
)
def test_what_to_try_when_they_contend(device: str, remedy: str) -> None:
    (advice,) = advise(limited(0.1, 0.1, device=device))
    assert (advice.name, advice.remedy) == ("contended", remedy)


def test_one_thread_is_not_to_be_fewer() -> None:
    (advice,) = advise(limited(0.1, 0.1, device="cpu", num_threads=1))
    assert (advice.name, advice.remedy) == ("contended", "more cores")


def test_the_gravest_comes_first() -> None:
    record = limited(
        0.05,
        0.1,
        throughput=throughput(0.1, 0.2, 0.3, is_settled=False),
        compilation=Compilation(num_graphs=1, num_graph_breaks=1, num_recompiles=1),
    )
    assert named(record) == [
        "recompiled", "graph-breaks", "unsettled", "noisy", "contended", "model-bound",
    ]  # fmt: skip


def test_of_several_rows_each_is_said_once() -> None:
    slow, noisy, both = (
        limited(0.05, 0.2),
        quiet(throughput=throughput(0.1, 0.2, 0.3)),
        limited(0.04, 0.2, throughput=throughput(0.1, 0.2, 0.3)),
    )
    said = advise_all([slow, noisy, both], most=9)
    assert [(record, advice.name) for record, advice in said] == [
        (noisy, "noisy"),
        (slow, "model-bound"),
    ]
    assert [advice.name for _, advice in advise_all([slow, noisy, both], most=1)] == ["noisy"]
    assert advise_all([quiet()], most=3) == []
    assert isinstance(said[0][1], Advice)
