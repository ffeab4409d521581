"""The figures of agents' turns as words."""

from __future__ import annotations

from typing import Any

import tables

Result = dict[str, Any]
OURS, PEER = "midstream", "langgraph"

#: Words, key, form, whether more is better (None: not compared).
ROWS: tuple[tuple[str, str, str, bool | None], ...] = (
    ("turns with a round of two tools: a CPU second", "turns_core", "{:,.0f}", True),
    ("… least of the repeats", "turns_core_least", "{:,.0f}", None),
    ("… most of the repeats", "turns_core_most", "{:,.0f}", None),
    ("… a second, 8 at once", "turns_s", "{:,.0f}", True),
    ("… % of a core that the server used", "busy_pct", "{:.0f}", None),
    ("… % of a core that the fake model and tools used", "upstream_pct", "{:.0f}", None),
    ("turns without tools: a CPU second", "plain_core", "{:,.0f}", True),
    ("one at a time: a turn without tools, p50 ms", "plain_ms", "{:.2f}", False),
    ("one at a time: a turn with two tools, p50 ms", "two_ms", "{:.2f}", False),
    ("… beyond model and tools, ms an iteration of two", "iteration_ms", "{:.2f}", False),
    ("… what the round of tools adds beyond them, ms", "more_ms", "{:.2f}", False),
    ("five tools of 1 s in one round, s", "five_s", "{:.2f}", False),
    ("200 stored messages add beyond the model's reading, p50 ms", "history_ms", "{:.2f}", False),
    ("RSS at the end, MB", "rss_mb", "{:.0f}", False),
    ("noise: others on the server's core, worst repeat, %", "noise_pct", "{:.0f}", None),
)


def _number(result: Result, key: str) -> float | None:
    value = result.get(key)
    return None if value is None else float(value)


def line(name: str, result: Result) -> str:
    """One server as it is printed while the run goes on."""
    if result.get("skipped"):
        return f"{name}: agents: skipped: {result['skipped']}"
    figures = " ".join(f"{key}={form.format(result[key])}" for _, key, form, _ in ROWS)
    return "\n".join([f"{name:16} agents   {figures}", *(f"  {check}" for check in result["checks"])])


def better_by(results: dict[str, Result]) -> dict[str, dict[str, float | None]]:
    """How many times better (above 1) or worse Midstream is than each peer, by measure."""
    ours = results.get(OURS, {})
    table: dict[str, dict[str, float | None]] = {}
    for words, key, _, more in ROWS:
        if more is None:
            continue
        a = _number(ours, key)
        pairs = {name: _number(result, key) for name, result in results.items() if name != OURS}
        table[words] = {name: tables.ratio(a, b) if more else tables.ratio(b, a) for name, b in pairs.items()}
    return table


def limits(results: dict[str, Result]) -> list[Result]:
    """Beside each limit of the project what was measured; nothing is asserted."""
    ours, peer = results.get(OURS, {}), results.get(PEER, {})
    times = tables.ratio(_number(ours, "turns_core"), _number(peer, "turns_core"))
    return [
        tables.compared("turns a CPU second, times LangGraph + FastAPI", 3, times, at_least=True),
        tables.compared("beyond model and tools, ms an iteration", 2, _number(ours, "iteration_ms"), at_least=False),
        tables.compared("five tools of 1 s in one round, s", 1.1, _number(ours, "five_s"), at_least=False),
        tables.compared("200 stored messages, ms more", 3, _number(ours, "history_ms"), at_least=False),
    ]


def markdown(results: dict[str, Result]) -> str:
    there = {name: result for name, result in results.items() if not result.get("skipped")}
    heads = [result["label"] for result in there.values()]
    lines = [[words, *(form.format(one[key]) for one in there.values())] for words, key, form, _ in ROWS]
    parts = ["## Turns of agents", tables.table(["", *heads], lines)]
    peers = [name for name in there if name != OURS]
    if OURS in there and peers:
        rows = [[words, *(tables.times_words(row[n]) for n in peers)] for words, row in better_by(there).items()]
        parts.append(tables.table(["Midstream better by", *(there[name]["label"] for name in peers)], rows))
    if OURS in there:
        parts.append(tables.thresholds_table(limits(there)))
    parts += ["\n".join(f"- {one['label']}: {check}" for check in one["checks"]) for one in there.values()]
    left_out = [f"- {one['label']}: left out: {one['skipped']}" for one in results.values() if one.get("skipped")]
    return "\n\n".join([*parts, *(["\n".join(left_out)] if left_out else [])]) + "\n"
