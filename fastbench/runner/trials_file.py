"""The trials of a search, on disk: `trials.jsonl` in its folder.

The first line says what is searched, each other line is a trial, raw. The file is written anew
after each, whole, so a search that ends in whatever way goes on with all of them.
"""

from __future__ import annotations

import signal
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal

import msgspec

from fastbench.core.atomic_files import write_whole, writing
from fastbench.core.errors import (
    CrashError,
    FastbenchError,
    LimitError,
    OutOfMemoryError,
    UsageError,
    os_errors_as,
)
from fastbench.core.reading import read_regular
from fastbench.measure.loader_settings import Found  # noqa: TC001 - msgspec reads it
from fastbench.measure.search import Parts
from fastbench.records.fields import Amount, Count, Duration, Settings, Stored
from fastbench.records.speed import Ceiling  # noqa: TC001 - msgspec reads it

if TYPE_CHECKING:
    from pathlib import Path

    from fastbench.measure.gaussian_process import Axis

TRIALS_FILE: Final = "trials.jsonl"
_VERSION: Final = 1


@dataclass(frozen=True)
class Space:
    """What may be tried, and what the trials hold for: the device, and the images' identity.

    `has_energy` says whether the device counts its energy; loader and model share `num_cores`.
    `loader_search` is the loader's own: of the loader alone, with the default batch. What it found
    is the default here.
    """

    axes: tuple[Axis, ...]
    num_cores: int
    device: str
    identity: str
    has_energy: bool
    environment: dict[str, Any]
    loader_search: Found | None = None


class Measured(Stored, frozen=True, kw_only=True):
    """One trial's window; SI units. `samples_s` are batch latencies, where these were measured.

    `loader` and `model` are what each is alone, where throughput is searched for.
    """

    num_images: Count
    wall_s: Duration
    samples_s: list[Duration] = msgspec.field(default_factory=list)
    cpu_s: Amount | None = None
    energy_j: Amount | None = None
    loader: Ceiling | None = None
    model: Ceiling | None = None

    @property
    def parts(self) -> Parts | None:
        """The parts alone; None where one was not measured. The model takes the rest of the CPU."""
        loader, model = self.loader, self.model
        if loader is None or model is None:
            return None
        rates = loader.images_per_s, model.images_per_s
        if not (loader.cpu_s and self.cpu_s):
            return Parts(*rates)
        of_loader = loader.cpu_s / loader.num_images
        rest = self.cpu_s / self.num_images - of_loader
        return Parts(*rates, of_loader, rest) if rest > 0 else Parts(*rates)


class Searched(Stored, frozen=True, kw_only=True):
    """What a search is about. `options` are those of a run, by field, as they were given.

    `axes` has the values of each setting, `default` the one of each without the search, which the
    loader's own, `loader_search`, may have found.
    """

    version: Count = _VERSION
    created: str
    command: str
    objective: str
    trials: Count
    minutes: Amount
    options: dict[str, Any]
    axes: dict[str, list[bool | int | float | str | None]]
    default: Settings
    loader_search: Found | None = None
    device: str
    identity: str
    environment: dict[str, Any]


class TuneTrial(Stored, frozen=True, kw_only=True):
    """Settings that were tried. `measured` is None if that failed, and `why` says of what.

    `side` is of a trial that confirms the winner. `seconds` are those of its whole process.
    """

    settings: Settings
    measured: Measured | None
    seconds: Amount
    why: str | None = None
    out_of_memory: bool = False
    side: Literal["default", "winner"] | None = None


class TrialsFile:
    """The file of one search, and what is in it."""

    def __init__(self, folder: Path, searched: Searched, trials: list[TuneTrial]) -> None:
        self.path = folder / TRIALS_FILE
        self.searched = searched
        self.trials = trials

    @classmethod
    def read(cls, folder: Path) -> TrialsFile:
        """Those of an earlier search. Raises `UsageError` if there is none, or it is damaged."""
        path = folder / TRIALS_FILE
        with os_errors_as(UsageError, f"{path} cannot be read", "Name a folder of fastbench tune."):
            head, *lines = read_regular(path).splitlines() or [b""]
        try:
            searched = msgspec.json.decode(head, type=Searched)
            trials = [msgspec.json.decode(line, type=TuneTrial) for line in lines]
        except msgspec.DecodeError as error:
            raise UsageError(
                f"{path} is damaged, or of another version ({error}). Search anew, with another "
                f"--output."
            ) from error
        return cls(folder, searched, trials)

    def add(self, trial: TuneTrial) -> None:
        """One more. Raises `OutputError` if it cannot be written."""
        self.trials.append(trial)
        self.write()

    def write(self) -> None:
        """Write all. Raises `OutputError` if that fails."""
        lines = [msgspec.json.encode(each) + b"\n" for each in (self.searched, *self.trials)]
        with writing("The trials", self.path):
            write_whole(self.path, b"".join(lines))


def is_out_of_memory(error: FastbenchError) -> bool:
    """Whether an error says that settings need too much memory; a kill is mostly the system's."""
    if isinstance(error, CrashError):
        return error.status == -signal.SIGKILL
    return isinstance(error, OutOfMemoryError | LimitError)
