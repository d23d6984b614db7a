"""What became of one rule of the contract."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

__all__ = ["OTHER_RULES", "RuleFinding"]

OTHER_RULES: Final = "the other rules"
"""In place of a rule's name: of all that are left, where none of them can be tried."""


@dataclass(frozen=True, kw_only=True)
class RuleFinding:
    """What became of one rule when a loader was held to the contract.

    `told` is neither good nor bad. `text` is what was seen, or why nothing was.
    """

    rule: str
    outcome: Literal["ok", "FAIL", "skipped", "told"]
    text: str
