"""Each advice of the closed list is given where there is reason for it, and only there."""

import msgspec
import pytest
from builders.ranks import of_ranks
from builders.records import make

from fastbench.records.advice import ACCURACY, NAMES, THROUGHPUT, advise, worst_of
from fastbench.records.engine import Engine
from fastbench.records.record import UNREAD, Record
from fastbench.records.speed import (
    Ceiling,
    Compilation,
    GpuTelemetry,
    Round,
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


def in_kernel(share: float, num_faults: int, freed_memory: str | None = None) -> Record:
    used = {"cpu_s": 1.0, "kernel_cpu_s": share, "num_faults": num_faults}
    environment = {"num_cores": 2} | ({"freed_memory": freed_memory} if freed_memory else {})
    return quiet(telemetry=msgspec.structs.replace(TELEMETRY, **used), environment=environment)


def padded(batch_size: int, num_steps: int) -> Record:
    """100 images an epoch in so many batches, and three epochs."""
    windows = [Window(num_images=100, num_steps=num_steps, wall_s=0.2, wait_s=0.0)] * 3
    return quiet(
        batch_size=batch_size,
        model_ceiling=ceiling(0.195 * 100 / (batch_size * num_steps)),
        throughput=msgspec.structs.replace(
            throughput(0.2, 0.2, 0.2),
            batch_size=batch_size,
            step_times_s=[0.2 / num_steps] * (3 * num_steps),
            windows=windows,
        ),
    )


def under_quota(**changes: object) -> Record:
    quota = {"cpu_quota": 0.5, "num_periods": 300, "num_throttled": 0}
    return quiet(telemetry=msgspec.structs.replace(TELEMETRY, **{**quota, **changes}))


def limited(loader_s: float, model_s: float, **changes: object) -> Record:
    return quiet(loader_ceiling=ceiling(loader_s), model_ceiling=ceiling(model_s), **changes)


def to_within(percent: str, *walls_s: float) -> Record:
    return quiet(throughput=throughput(*walls_s), config={"max_interval": percent})


def in_rounds(*shares: float) -> Record:
    """Rounds in which end to end is so much of the model alone, and the loader faster."""

    def window(wall_s: float) -> Window:
        return Window(num_images=10, num_steps=1, wall_s=wall_s, wait_s=0.0)

    rounds = [
        Round(end_to_end=window(1 / share), loader=window(0.9), model=window(1.0))
        for share in shares
    ]
    num = len(rounds)
    return quiet(
        rounds=rounds,
        loader_ceiling=Ceiling(num_images=10 * num, wall_s=0.9 * num),
        model_ceiling=Ceiling(num_images=10 * num, wall_s=1.0 * num),
    )


def apart(loader_s: float, model_s: float, **changes: object) -> Record:
    """Of a model on a GPU, which shares no cores with the loader."""
    return limited(loader_s, model_s, device="cuda:0", **changes)


def on_machines(*machines: dict[str, object], **changes: object) -> Record:
    """A rank on each."""
    hosts = [f"node{number}" for number, _ in enumerate(machines)]
    return of_ranks(*[100] * len(machines), hosts=hosts, machines=list(machines), **changes)


def replaying(each: int, **changes: object) -> Record:
    """The images have so many bytes each."""
    return quiet(data={"num_samples": 100, "num_bytes": 100 * each}, **changes)


# Of each: records that ask for it and for nothing else, and what is said; records that do not.
CASES: dict[str, tuple[list[tuple[Record, str]], list[Record]]] = {
    # The loader alone has 526 images/s, which may be 3.8 MB each on two cores.
    "above-decoding": (
        [
            (replaying(3_900_000), "2.1 GB/s of JPEGs, more than 2 cores can decode"),
            (replaying(4_100_000, loader_ceiling=None), "500 images/s are 2.0 GB/s"),
        ],
        [
            replaying(3_700_000),
            replaying(3_900_000, loader_settings={"decoder": "none while it is timed"}),
            replaying(3_900_000, labels=UNREAD),
            replaying(3_900_000, device="cuda:0"),
            replaying(3_900_000, environment={}),
        ],
    ),
    # The model alone has 513 images/s, which may be 3.9e9 multiply-accumulates on two cores.
    "above-arithmetic": (
        [
            (quiet(num_macs=3_950_000_000), "4.1 TFLOP/s, more than 2 cores can compute"),
            (quiet(num_macs=39_500_000_000, dtype="bfloat16"), "40.5 TFLOP/s"),
        ],
        [
            quiet(num_macs=3_800_000_000),
            quiet(num_macs=3_950_000_000, dtype="float16"),
            quiet(num_macs=3_950_000_000, device="cuda:0"),
        ],
    ),
    "recompiled": (
        [
            (compiled(num_recompiles=2), "made 2 more graphs"),
            (compiled(num_recompiles=1), "made 1 more graph in"),
        ],
        [compiled(), quiet(compilation=None)],
    ),
    "ran-eagerly": ([(compiled(num_graphs=0), "made no graph")], [compiled()]),
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
    "unlike-machines": (
        [
            (
                on_machines({"cpu": "A CPU"}, {"cpu": "A CPU"}, {"cpu": "B CPU"}),
                "the 3 machines are unlike: device A CPU and B CPU",
            ),
            (
                on_machines(
                    {"cpu": "A CPU", "gpus": [{"name": "H100"}], "driver": "580.1"},
                    {"cpu": "B CPU", "gpus": [{"name": "H200"}], "driver": "590.1"},
                    device="cuda:0",
                ),
                "device H100 and H200, CPU A CPU and B CPU, driver 580.1 and 590.1",
            ),
            (
                on_machines({"packages": {"torch": "2.9"}}, {"packages": {"torch": "2.10"}}),
                "unlike: torch 2.9 and 2.10",
            ),
        ],
        [
            on_machines({"cpu": "A CPU", "affinity": "0-3"}, {"cpu": "A CPU", "affinity": "4-7"}),
            on_machines({"driver": "580.1"}, {"driver": None}),
            of_ranks(100, 100),
        ],
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
    # A quarter of the CPU time, and a thousand page faults each of the 300 images.
    "in-kernel": (
        [
            (in_kernel(0.26, 300_000), "took 26 % of the CPU time"),
            (in_kernel(0.5, 600_000), "(2,000 page faults an image)"),
        ],
        [in_kernel(0.24, 300_000), in_kernel(0.5, 299_000), quiet(telemetry=None)],
    ),
    # 500 images/s may be 1.1 times a ceiling: 455, that is 100 in 0.22 s.
    "above-ceiling": (
        [
            (limited(0.221, 0.2), "1.10x the loader alone"),
            (limited(0.2, 0.24), "1.20x the model alone"),
            (in_rounds(1.03, 1.04, 1.05, 1.05, 1.06, 1.07), "1.05x the model alone (95 %: 1.03 to"),
            (in_rounds(1.1, 1.11), "1.10x the model alone, which cannot be"),
        ],
        [
            limited(0.219, 0.2),
            quiet(loader_ceiling=None, model_ceiling=None),
            in_rounds(0.99, 1.04, 1.05, 1.05, 1.06, 1.07),
            in_rounds(1.05, 1.06),
        ],
    ),
    # 100 images at a batch size of 64 are two batches, of which 28 places are empty.
    "padded": (
        [(padded(64, 2), "21.9 % of the places in the batches of 64 were empty")],
        [padded(20, 5), padded(35, 3), quiet(data={"num_samples": 100})],
    ),
    "random-weights": (
        [(quiet(weights="none"), "weights are random")],
        [quiet(weights="none", accuracy=None), quiet(weights="embedded")],
    ),
    "doubted-accuracy": (
        [(quiet(accuracy_doubts=["this is odd", "so is that"]), "this is odd; so is that")],
        [quiet(), quiet(weights="none", accuracy=None, accuracy_doubts=["it"])],
    ),
    "unsettled": (
        [(quiet(throughput=throughput(0.2, 0.2, is_settled=False)), "had not settled")],
        [quiet(throughput=throughput(0.2, 0.2, is_settled=None))],
    ),
    "noisy": (
        [(quiet(throughput=throughput(0.1895, 0.2, 0.2105)), "differ by 11 %")],
        [quiet(throughput=throughput(0.1905, 0.2, 0.2095)), quiet(throughput=throughput(0.2))],
    ),
    # Student's interval of three windows: 2.48 times the deviation of their logarithms.
    "wide": (
        [(to_within("3%", 0.196, 0.2, 0.204), "known to 5.1 %, and not to the 3 %")],
        [
            to_within("6%", 0.196, 0.2, 0.204),
            to_within("1", 0.2, 0.2, 0.2),
            quiet(throughput=throughput(0.196, 0.2, 0.204)),
        ],
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
    "straggler": (
        [
            (of_ranks(100, 100, 89), "rank 2 is 12 % slower than the median rank: model-bound"),
            (of_ranks(89, 100, hosts=("a", "b")), "rank 0 on a is 12 % slower than the median"),
        ],
        [of_ranks(100, 100, 92), of_ranks(100)],
    ),
    "graph-breaks": (
        [
            (compiled(num_graph_breaks=n), s)
            for n, s in ((3, "3 graph breaks)"), (1, "1 graph break)"))
        ],
        [compiled()],
    ),
    # The loader takes 0.14 of the 0.2 s; 0.8 of that is waited for, or less.
    "serial": (
        [(apart(0.14, 0.15, throughput=waiting(0.113)), "for 56 % of the time the host waits")],
        [apart(0.17, 0.1701, throughput=waiting(0.19)), limited(0.14, 0.15)],
    ),
    # The end is 0.2 s for 100 images; together they must reach 0.85 of the slower: 0.17 s.
    "contended": (
        [
            (apart(0.1699, 0.1699), "reach 85 % of the slower one"),
            (apart(0.14, 0.15, throughput=waiting(0.111)), "reach 75 % of the slower one"),
            (quiet(loader_ceiling=None, model_ceiling=ceiling(0.1)), "reach 50 %"),
            # On the same cores one after the other takes 0.1699 s.
            (limited(0.085, 0.0849), "reach 85 % of what two who share the cores can"),
        ],
        [apart(0.1701, 0.1701), limited(0.085, 0.0851), limited(0.14, 0.15)],
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


MEASURE = "more --num-threads, or --loader all to see which is the fastest here"


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
        assert said in advice.seen
        assert str(advice) == f"{advice.seen}: {advice.remedy}"


@pytest.mark.parametrize("name", NAMES)
def test_it_is_not_given_short_of_it(name: str) -> None:
    _, short = CASES[name]
    for record in short:
        assert named(record) == []


@pytest.mark.parametrize(
    ("changes", "remedy"),
    [
        # What is the fastest on few cores is not sent to a slower one.
        ({"loader": "torchvision-tensor", "device": "cpu"}, "a machine with a GPU, or more cores"),
        ({"loader": "torchvision", "device": "cpu"}, "--loader torchvision-tensor"),
        ({"loader": "dali", "device": "cpu"}, "--loader torchvision-tensor"),
        ({"loader": "other", "device": "cpu"}, "more --num-threads"),
        # Which is the fastest on many cores, or on a GPU, is not known before it is measured.
        ({"loader": "dali", "device": "cpu", "environment": {"num_cores": 96}}, MEASURE),
        ({"loader": "torchvision-tensor", "device": "cpu", "environment": {}}, MEASURE),
        ({"loader": "torchvision", "device": "cuda:0"}, MEASURE),
        ({"loader": "dali", "device": "cuda:0"}, MEASURE),
    ],
)
def test_what_to_try_when_the_loader_is_slow(changes: dict[str, object], remedy: str) -> None:
    (advice,) = advise(limited(0.2, 0.1, **changes))
    assert (advice.name, advice.remedy) == ("loader-bound", remedy)


@pytest.mark.parametrize(
    ("changes", "remedy"),
    [
        ({"compile_mode": None}, "--compile, or another engine (--preset engines)"),
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
    (advice,) = advise(limited(0.08, 0.08, device=device))
    assert (advice.name, advice.remedy) == ("contended", remedy)


def test_one_thread_is_not_to_be_fewer() -> None:
    (advice,) = advise(limited(0.08, 0.08, device="cpu", num_threads=1))
    assert (advice.name, advice.remedy) == ("contended", "more cores")


def test_an_engine_and_a_loader_with_more_threads_than_cores_are_to_have_fewer() -> None:
    def remedy(engine: Engine, **changes: object) -> str:
        (advice,) = advise(limited(0.08, 0.08, device="cpu", engine=engine, **changes))
        assert advice.name == "contended"
        return advice.remedy

    openvino = Engine(name="openvino", num_threads=2)
    assert remedy(openvino, num_threads=2) == (
        "fewer --model-threads (2) and --num-threads (2): 4 share 2 cores"
    )
    assert remedy(openvino, num_threads=1) == (
        "fewer --model-threads (2) and --num-threads (1): 3 share 2 cores"
    )
    one = Engine(name="openvino", num_threads=1)
    assert remedy(one, num_threads=1) == "more cores"
    assert remedy(Engine(name="openvino"), num_threads=2) == "fewer --num-threads"
    compiled = Engine(name="compile", num_threads=2)  # torch's threads sleep while they wait
    assert remedy(compiled, num_threads=2, compile_mode="default") == "fewer --num-threads"


def test_the_gravest_comes_first() -> None:
    record = limited(
        0.05,
        0.1,
        throughput=throughput(0.1, 0.2, 0.3, is_settled=False),
        compilation=Compilation(num_graphs=1, num_graph_breaks=1, num_recompiles=1),
    )
    assert named(record) == [
        "recompiled", "unsettled", "noisy", "graph-breaks", "contended", "model-bound",
    ]  # fmt: skip


def test_of_several_rows_each_is_said_of_the_worst_one() -> None:
    slow, noisy, both = (
        limited(0.05, 0.2),
        quiet(throughput=throughput(0.17, 0.2, 0.2)),
        limited(0.04, 0.2, throughput=throughput(0.1, 0.2, 0.3)),
    )
    every = [advise(record) for record in (slow, noisy, both, quiet())]
    said = worst_of(every)
    assert [(row, advice.name) for row, advice in said] == [(2, "noisy"), (2, "model-bound")]
    assert [advice.num_rows for _, advice in said] == [2, 2]
    assert said[0][1].in_doubt == (
        "throughput in doubt, not ranked by it: the windows' throughputs differ by 133 % "
        "(the worst of 2 rows)"
    )
    assert worst_of([[]]) == []


def test_what_has_no_size_is_one_only_in_the_same_words() -> None:
    reasons = (["power"], ["heat"], ["power"])
    every = [advise(on_gpu(throttle_reasons=list(its))) for its in reasons]
    assert [row for row, _ in worst_of(every)] == [0, 1]
    assert {advice.num_rows for _, advice in worst_of(every)} == {1}


def test_doubts_and_hints() -> None:
    """Doubts stand before hints; of a figure that is not known there is none."""
    about = {name: advise(asking[0][0])[0].about for name, (asking, _) in CASES.items()}
    assert [name for name in NAMES if not about[name]] == [
        "straggler", "graph-breaks", "serial", "contended", "loader-bound", "model-bound",
    ] == list(NAMES[-6:])  # fmt: skip
    assert [name for name in NAMES if about[name] == THROUGHPUT] == [
        "recompiled", "above-ceiling", "padded", "unsettled", "noisy", "wide",
    ]  # fmt: skip
    assert [name for name in NAMES if about[name] == ACCURACY] == [
        "random-weights",
        "doubted-accuracy",
    ]
    unknown = quiet(data={"num_samples": 100, "page_cache": None})
    assert advise(unknown) == []


def test_the_remedy_for_page_faults_is_not_what_is_in_force() -> None:
    for freed_memory, remedy in ((None, "keep"), ("system", "keep"), ("keep", "LD_PRELOAD")):
        (advice,) = advise(in_kernel(0.5, 600_000, freed_memory))
        assert remedy in advice.remedy


def test_no_kernel_time_is_a_share_too() -> None:
    for seconds, share in ((None, None), (0.0, 0.0), (0.15, 0.5)):
        assert msgspec.structs.replace(TELEMETRY, kernel_cpu_s=seconds).kernel_share == share
