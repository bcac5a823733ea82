"""What a row reports: two figures for the same work, their ratio, and the targets that they are held to."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from core.errors import RagVisionError


class RowFailed(RagVisionError):
    """A row could not be measured; the sentence says what was missing."""


class Scale(StrEnum):
    """How much work a row does: tiny for tests, usual for a table, full for the figures that take minutes."""

    TINY = "tiny"
    USUAL = "usual"
    FULL = "full"

    def pick(self, tiny: int, usual: int, full: int | None = None) -> int:
        """The amount for this scale."""
        return {Scale.TINY: tiny, Scale.USUAL: usual, Scale.FULL: usual if full is None else full}[self]


@dataclass(frozen=True, slots=True)
class Figure:
    """One side of a row: who did the work, and what it took."""

    what: str
    value: float


@dataclass(frozen=True, slots=True)
class Check:
    """One target. ``kind`` is "at least", "at most" or "exactly"."""

    what: str
    value: float
    kind: str
    limit: float
    unit: str = ""

    def __post_init__(self) -> None:
        if self.kind not in ("at least", "at most", "exactly"):
            raise ValueError(f"a check is at least, at most or exactly its limit, not {self.kind!r}")

    @property
    def ok(self) -> bool:
        """Whether the target is met."""
        if self.kind == "at least":
            return self.value >= self.limit
        if self.kind == "at most":
            return self.value <= self.limit
        return self.value == self.limit


@dataclass(frozen=True, slots=True)
class Row:
    """One row of the table. ``n`` is how often each side was timed; the figures are medians.

    ``ratio`` is how many times faster ours is, or where a row allows us to be slower, our time divided by
    theirs; which of the two its check says. ``facts`` are further numbers by name.
    """

    what: str
    ours: Figure | None = None
    against: Figure | None = None
    unit: str = "ms"
    ratio: float | None = None
    n: int = 0
    checks: tuple[Check, ...] = ()
    facts: dict[str, Any] = field(default_factory=dict)
    note: str = ""
    error: str = ""
    name: str = ""
    seconds: float = 0.0

    @property
    def ok(self) -> bool:
        """Measured, and every target met."""
        return not self.error and all(check.ok for check in self.checks)

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""

        def figure(side: Figure | None) -> dict[str, Any] | None:
            return None if side is None else {"what": side.what, "value": _rounded(side.value)}

        return {
            "name": self.name,
            "what": self.what,
            "ok": self.ok,
            "ours": figure(self.ours),
            "against": figure(self.against),
            "unit": self.unit,
            "ratio": None if self.ratio is None else _rounded(self.ratio),
            "n": self.n,
            "checks": [
                {
                    "what": c.what,
                    "value": _rounded(c.value),
                    "kind": c.kind,
                    "limit": c.limit,
                    "unit": c.unit,
                    "ok": c.ok,
                }
                for c in self.checks
            ],
            "facts": {k: _rounded(v) if isinstance(v, float) else v for k, v in self.facts.items()},
            "note": self.note,
            "error": self.error or None,
            "seconds": self.seconds,
        }


def at_least(what: str, value: float, limit: float, unit: str = "") -> Check:
    """A target from below."""
    return Check(what, value, "at least", limit, unit)


def at_most(what: str, value: float, limit: float, unit: str = "") -> Check:
    """A target from above."""
    return Check(what, value, "at most", limit, unit)


def exactly(what: str, value: float, limit: float, unit: str = "") -> Check:
    """A count that may not differ."""
    return Check(what, value, "exactly", limit, unit)


def _rounded(value: float) -> float:
    """Four significant digits: more would be noise."""
    return float(f"{value:.4g}")
