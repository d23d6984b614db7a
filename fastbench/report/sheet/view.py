"""What somebody asks to see of a report's rows: columns, order, groups, prices."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from fastbench.core.errors import UsageError
from fastbench.records.load_facts import LOAD
from fastbench.report.columns.load import UNDER_LOAD

if TYPE_CHECKING:
    from collections.abc import Mapping

    from fastbench.report.columns.column import Column


@dataclass(frozen=True, kw_only=True)
class View:
    """What to show of the rows.

    `columns` names columns and sets. `by` groups by a column; `across` groups by what was run, with
    that column's values side by side in each group; with either, `baseline` is the side that the
    others are held against. `sort` is a column, the best first; `reverse` turns the order round.
    `prices` are dollars an hour by device. `is_data` is for programs: nothing adapts.
    """

    columns: str = "default"
    sort: Column | None = None
    reverse: bool = False
    by: Column | None = None
    across: Column | None = None
    baseline: str | None = None
    prices: Mapping[str, float] = field(default_factory=dict)
    is_data: bool = False

    def __post_init__(self) -> None:
        """Refuse options that do not go together."""
        if self.by and self.across:
            raise UsageError("--by and --across are two ways to group. Give one of them.")
        if self.baseline is not None and not self.contrast:
            raise UsageError(
                "--baseline is a value of the column of --by or --across. Give one of them too, "
                "such as --by gpu."
            )
        if self.contrast and self.contrast.topic in (LOAD, UNDER_LOAD):
            raise UsageError(
                f"{self.contrast.name} is a column of rows under load, which are not grouped. "
                f"Group by a column of rows of `fastbench run`, such as --by gpu."
            )

    @property
    def contrast(self) -> Column | None:
        """The column whose values are held against each other."""
        return self.by or self.across
