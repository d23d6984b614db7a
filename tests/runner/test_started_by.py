"""What torchrun and srun say of a process, and what only looks like it."""

from __future__ import annotations

import pytest

from fastbench.core.errors import UsageError
from fastbench.runner.cluster import Started, first_host, started_by

TORCHRUN = {
    "RANK": "9",
    "WORLD_SIZE": "16",
    "LOCAL_RANK": "1",
    "LOCAL_WORLD_SIZE": "8",
    "MASTER_ADDR": "box1",
    "MASTER_PORT": "29512",
    "TORCHELASTIC_USE_AGENT_STORE": "True",
}
BATCH_SCRIPT = {
    "SLURM_JOB_ID": "12",
    "SLURM_NTASKS": "16",
    "SLURM_PROCID": "0",
    "SLURM_LOCALID": "0",
    "SLURM_JOB_NODELIST": "gpu[07-08]",
}
SRUN = {
    **BATCH_SCRIPT,
    "SLURM_PROCID": "9",
    "SLURM_LOCALID": "1",
    "SLURM_STEP_ID": "0",
    "SLURM_STEP_NUM_TASKS": "16",
    "SLURM_STEP_NODELIST": "gpu[07-08]",
}


def without(environment: dict[str, str], name: str) -> dict[str, str]:
    return {key: value for key, value in environment.items() if key != name}


def test_torchrun() -> None:
    assert started_by(TORCHRUN) == Started("torchrun", 9, 16, 1, ("box1", 29512), True)
    # As a PyTorchJob of Kubernetes sets them, without torchrun: a process a pod.
    pod = {name: TORCHRUN[name] for name in ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")}
    assert started_by(pod) == Started("torchrun", 9, 16, 0, ("box1", 29512), False)
    # srun may have started torchrun.
    assert started_by(SRUN | TORCHRUN) == started_by(TORCHRUN)


def test_srun() -> None:
    started = started_by(SRUN)
    assert started is not None
    assert started[:4] == ("srun", 9, 16, 1)
    host, port = started.address
    assert host == "gpu07"
    assert 29_500 <= port < 39_500
    assert started.has_store is False
    # All tasks of a step have one address, and those of another step another.
    first = started_by(SRUN | {"SLURM_PROCID": "0", "SLURM_LOCALID": "0"})
    other = started_by(SRUN | {"SLURM_STEP_ID": "1"})
    assert first is not None
    assert other is not None
    assert first.address == started.address != other.address
    given = started_by(SRUN | {"MASTER_ADDR": "box1", "MASTER_PORT": "1234"})
    assert given is not None
    assert given.address == ("box1", 1234)


@pytest.mark.parametrize(
    "environment",
    [
        {},
        {"RANK": "0", "WORLD_SIZE": "2"},
        BATCH_SCRIPT,
        TORCHRUN | {"RANK": "0", "WORLD_SIZE": "1"},
        SRUN | {"SLURM_PROCID": "0", "SLURM_STEP_NUM_TASKS": "1"},  # a shell by srun --pty
    ],
)
def test_a_process_by_itself(environment: dict[str, str]) -> None:
    assert started_by(environment) is None


@pytest.mark.parametrize(
    ("environment", "said"),
    [
        (
            TORCHRUN | {"RANK": "-1"},
            "torchrun started this process, and has RANK=-1, WORLD_SIZE=16",
        ),
        (TORCHRUN | {"WORLD_SIZE": ""}, "has RANK=9, WORLD_SIZE=, LOCAL_RANK=1"),
        (TORCHRUN | {"MASTER_PORT": "x"}, "MASTER_PORT=x. Unset them, or start it with torchrun."),
        (TORCHRUN | {"WORLD_SIZE": "9"}, "torchrun says that this is rank 9 of 9"),
        (TORCHRUN | {"WORLD_SIZE": "0"}, "torchrun says that this is rank 9 of 0"),
        (without(SRUN, "SLURM_LOCALID"), "srun started this process, .* SLURM_LOCALID=None"),
        (SRUN | {"SLURM_PROCID": "16"}, "srun says that this is rank 16 of 16"),
    ],
)
def test_an_environment_that_contradicts_itself(environment: dict[str, str], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        started_by(environment)


@pytest.mark.parametrize(
    ("nodes", "first"),
    [
        ("gpu07", "gpu07"),
        ("gpu[07-12,20],cpu1", "gpu07"),
        ("gpu[7,9]", "gpu7"),
        ("login,gpu[07-12]", "login"),
        ("rack-2-[003-004]", "rack-2-003"),
        ("n[1-2]-ib,n7-ib", "n1-ib"),
        ("localhost", "localhost"),
    ],
)
def test_the_first_of_slurms_nodes(nodes: str, first: str) -> None:
    assert first_host(nodes) == first
