"""Sums of decimal text without rounding (SQLite has no decimal type)."""

from __future__ import annotations

from decimal import Decimal


class ExactSum:
    """An SQLite aggregate: text in, text out."""

    def __init__(self) -> None:
        self._total = Decimal(0)

    def step(self, value: str | None) -> None:
        if value is not None:
            self._total += Decimal(value)

    def finalize(self) -> str:
        return plain(self._total)


def plain(value: Decimal) -> str:
    """Digits without an exponent and without zeros that say nothing."""
    text = format(value, "f")
    return text.rstrip("0").rstrip(".") if "." in text else text
