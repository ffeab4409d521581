"""Figures as tables in Markdown: ratios, and the project's limits beside what was measured."""

from __future__ import annotations

from typing import Any

import plot

Result = dict[str, Any]


def ratio(a: float | None, b: float | None) -> float | None:
    return a / b if a is not None and b else None


def table(head: list[str], lines: list[list[str]]) -> str:
    rows = [head, ["---"] * len(head), *lines]
    return "\n".join("| " + " | ".join(row) + " |" for row in rows)


def times_words(times: float | None) -> str:
    if times is None:
        return "–"
    return f"{times:,.0f}×" if times >= 10 else f"{times:.2f}×"


def compared(words: str, limit: float, value: float | None, *, at_least: bool) -> Result:
    met = None if value is None else value >= limit if at_least else value <= limit
    return {"threshold": words, "limit": f"{'≥' if at_least else '≤'} {limit:,g}", "measured": value, "met": met}


def thresholds_table(checked: list[Result]) -> str:
    words = {True: "met", False: "MISSED", None: "not measured"}
    lines = [
        [c["threshold"], c["limit"], "–" if c["measured"] is None else plot.number(c["measured"]), words[c["met"]]]
        for c in checked
    ]
    return table(["", "limit", "measured", ""], lines)
