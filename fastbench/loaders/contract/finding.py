"""What became of one rule of the contract."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, kw_only=True)
class RuleFinding:
    """What became of one rule when a loader was held to the contract.

    `told` is neither good nor bad. `text` is what was seen, or why nothing was.
    """

    rule: str
    outcome: Literal["ok", "FAIL", "skipped", "told"]
    text: str

    @classmethod
    def of_the_rest(cls, why: str) -> RuleFinding:
        """None of the rules that are left can be tried."""
        return cls(rule="the other rules", outcome="skipped", text=why)
