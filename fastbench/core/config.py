"""The configuration of a run: its options, read and checked.

It reads no file and no environment, and needs no torch.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from fastbench.core.option_conflicts import check
from fastbench.core.options import declared
from fastbench.core.run_options import RunOptions
from fastbench.core.value_types import CALIBRATION_AUTO

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, kw_only=True)
class RunConfig(RunOptions):
    """The options of one `fastbench run`. Raises `UsageError` for a value that cannot be."""

    def __post_init__(self) -> None:
        """Read each value, and check what does not depend on the machine."""
        for name, each in OPTIONS.items():
            object.__setattr__(self, name, each.read(getattr(self, name)))
        if self.quantize == "int8" and self.calibration is None:
            object.__setattr__(self, "calibration", CALIBRATION_AUTO)
        check(self)

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> RunConfig:
        """The configuration in a record; an option that it lacks has its default."""
        return cls(**{name: value for name, value in stored.items() if name in OPTIONS})


OPTIONS: Final = declared(RunConfig)
"""The options of a run, by field."""
SWEPT: Final = tuple(name for name, each in OPTIONS.items() if each.swept)
"""Options that may be given again, besides model and loader: every combination is a row."""
NOT_COMPARED: Final = frozenset(
    name for name, each in OPTIONS.items() if each.changes not in ("pipeline", "process")
)
"""Options that `--ab` refuses: its windows do not depend on them."""
