"""The figures of one run as words: tables of figures, ratios and the project's thresholds, in Markdown and JSON."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import agent_report
import plot
import tables

Result = dict[str, Any]
SHOWN = (
    "ok", "err", "incomplete", "abandoned", "rps", "rps_core", "us_req", "p50", "p99", "chunks_s", "chunks_core",
    "us_chunk", "first50", "delay50", "delay99", "cpu", "kb_stream", "tls_connections", "foreign_pct", "steal_pct",
    "sample", "skipped", "fail",
)  # fmt: skip


def phase_line(target: str, phase: str, measured: Result) -> str:
    """One phase as it is printed while the run goes on."""
    return f"{target:13} {phase:8} " + " ".join(f"{key}={measured[key]}" for key in SHOWN if key in measured)


def figure(result: Result, phase: str, key: str) -> float | None:
    """A measured number, None when the phase was not run, was skipped, or gave nothing."""
    measured = result.get("phases", {}).get(phase, {})
    if measured.get("skipped") or measured.get("fail") or not (measured.get("ok") or measured.get("chunks")):
        return None
    value = measured.get(key)
    return None if value is None else float(value)


def added(run: Result, result: Result, key: str) -> float | None:
    """Microseconds of one plain request over the same request without a gateway."""
    direct = run["targets"].get("direct", {})
    with_gateway, without = figure(result, "p1", key), figure(direct, "p1", key)
    return None if with_gateway is None or without is None else with_gateway - without


def delivered(result: Result, phase: str) -> float | None:
    """The share of the chunks due in the window that arrived in it."""
    chunks = figure(result, phase, "chunks_s")
    return None if chunks is None else min(chunks / 20_000, 1.0)


def foreign(result: Result) -> float | None:
    """The worst phase's share of the gateway's core that other programs used or the hypervisor took, per cent."""
    shares = [p["foreign_pct"] + p["steal_pct"] for p in result.get("phases", {}).values() if "foreign_pct" in p]
    return max(shares, default=None)


def extra(result: Result, phase: str) -> float | None:
    """Microseconds of CPU a request over p32."""
    more, base = figure(result, phase, "us_req"), figure(result, "p32", "us_req")
    return None if more is None or base is None else more - base


@dataclass(frozen=True)
class Row:
    words: str
    value: Callable[[Result, Result], float | None]  # (the run, one target)
    form: str = "{:,.0f}"


def _of(phase: str, key: str, scale: float = 1) -> Callable[[Result, Result], float | None]:
    def value(_run: Result, result: Result) -> float | None:
        number = figure(result, phase, key)
        return None if number is None else number * scale

    return value


def _paced(phase: str, words: str) -> list[Row]:
    return [
        Row(f"{words}: chunks delivered, % of due", lambda _, r: (delivered(r, phase) or 0) * 100 or None, "{:.1f}"),
        Row("… broken or unordered streams", lambda _, r: figure(r, phase, "err")),
        Row("… % of a core", _of(phase, "cpu", 100), "{:.0f}"),
        Row("… CPU µs a chunk", _of(phase, "us_chunk"), "{:.1f}"),
        Row("… delay added to a chunk p50 ms", _of(phase, "delay50", 1e-3), "{:.2f}"),
        Row("… delay added to a chunk p99 ms", _of(phase, "delay99", 1e-3), "{:.2f}"),
        Row("… kB a stream", _of(phase, "kb_stream"), "{:.1f}"),
    ]


ROWS = (
    Row("plain, 32 connections: requests a CPU second", _of("p32", "rps_core")),
    Row("… CPU µs a request", _of("p32", "us_req"), "{:,.1f}"),
    Row("… p99 ms", _of("p32", "p99", 1e-3), "{:.2f}"),
    Row("plain, 256 connections: requests a CPU second", _of("p256", "rps_core")),
    Row("added latency, one connection, p50 µs", lambda run, r: added(run, r, "p50")),
    Row("added latency, one connection, p99 µs", lambda run, r: added(run, r, "p99")),
    Row("burst stream, one connection: first chunk p50 µs", _of("s1", "first50")),
    Row("burst streams, 32 connections: chunks a CPU second", _of("s32", "chunks_core")),
    *_paced("k1000", "1,000 paced streams"),
    *_paced("x1000", "1,000 translated streams"),
    *_paced("a1000", "1,000 Anthropic streams"),
    *_paced("g1000", "1,000 Gemini streams"),
    Row("40 kB prompt: CPU µs more a request", lambda _, r: extra(r, "p32-40k"), "{:,.1f}"),
    Row("TLS upstream: CPU µs more a request", lambda _, r: extra(r, "tls32"), "{:,.1f}"),
    Row("… TLS connections opened", _of("tls32", "tls_connections")),
    Row("ready after s", lambda _, r: r.get("start_s"), "{:.2f}"),
    Row("idle RSS MB", lambda _, r: r.get("rss_idle"), "{:.0f}"),
    Row("RSS at the end MB", lambda _, r: r.get("rss_end"), "{:.0f}"),
    Row("noise: others on the gateway's core, worst phase, %", lambda _, r: foreign(r), "{:.0f}"),
)

# measure, how it is read, whether more is better
COMPARED = (
    ("requests a CPU second, 32 connections", _of("p32", "rps_core"), True),
    ("requests a CPU second, 256 connections", _of("p256", "rps_core"), True),
    ("added latency p50", lambda run, r: added(run, r, "p50"), False),
    ("burst chunks a CPU second", _of("s32", "chunks_core"), True),
    ("CPU a paced chunk", _of("k1000", "us_chunk"), False),
    ("CPU a translated chunk", _of("x1000", "us_chunk"), False),
    ("kB a stream", _of("k1000", "kb_stream"), False),
    ("idle RSS", lambda _, r: r.get("rss_idle"), False),
)


@dataclass(frozen=True)
class Threshold:
    words: str
    limit: float
    at_least: bool
    value: Callable[[Result, Result], float | None]  # (the run, Midstream's result)


def _times(peer: str) -> Callable[[Result, Result], float | None]:
    def value(run: Result, ours: Result) -> float | None:
        theirs = run["targets"].get(peer, {})
        return tables.ratio(figure(ours, "p32", "rps_core"), figure(theirs, "p32", "rps_core"))

    return value


def _percent(value: float | None) -> float | None:
    return None if value is None else value * 100


THRESHOLDS = (
    Threshold("plain requests a CPU second, times LiteLLM", 40, True, _times("litellm")),
    Threshold("plain requests a CPU second, times Portkey", 4, True, _times("portkey")),
    Threshold("plain requests a CPU second, % of nginx", 9, True, lambda run, r: _percent(_times("nginx")(run, r))),
    Threshold("1,000 paced streams: chunks delivered, %", 99, True, lambda _, r: _percent(delivered(r, "k1000"))),
    Threshold("1,000 paced streams: broken or unordered", 0, False, _of("k1000", "err")),
    Threshold("1,000 paced streams: chunk delay p99, ms", 5, False, _of("k1000", "delay99", 1e-3)),
    Threshold("1,000 paced streams: % of a core", 60, False, _of("k1000", "cpu", 100)),
    Threshold("1,000 paced streams: kB a stream", 30, False, _of("k1000", "kb_stream")),
    Threshold(
        "translated streams: CPU, times untranslated", 1.6, False,
        lambda _, r: tables.ratio(figure(r, "x1000", "us_chunk"), figure(r, "k1000", "us_chunk")),
    ),
    Threshold("burst chunks a CPU second", 150_000, True, _of("s32", "chunks_core")),
    Threshold("added latency p50, ms", 0.5, False, lambda run, r: (added(run, r, "p50") or 0) / 1e3 or None),
    Threshold("added latency p99, ms", 1.5, False, lambda run, r: (added(run, r, "p99") or 0) / 1e3 or None),
    Threshold("40 kB prompt: µs more a request", 60, False, lambda _, r: extra(r, "p32-40k")),
    Threshold("ready after, s", 1.2, False, lambda _, r: r.get("start_s")),
    Threshold("idle RSS, MB", 90, False, lambda _, r: r.get("rss_idle")),
)  # fmt: skip


def figures_table(run: Result, names: list[str]) -> str:
    lines = []
    for row in ROWS:
        values = [row.value(run, run["targets"][name]) for name in names]
        if any(v is not None for v in values):
            lines.append([row.words, *("–" if v is None else row.form.format(v) for v in values)])
    return tables.table(["", *(run["targets"][name]["label"] for name in names)], lines)


def ratios(run: Result, ours: str, names: list[str]) -> dict[str, dict[str, float | None]]:
    """How many times better (above 1) or worse than each peer."""
    mine = run["targets"][ours]
    table: dict[str, dict[str, float | None]] = {}
    for words, value, more_is_better in COMPARED:
        row = {}
        for name in names:
            a, b = value(run, mine), value(run, run["targets"][name])
            times = tables.ratio(a, b) if more_is_better else tables.ratio(b, a)
            row[name] = times if times is None or times > 0 else None
        table[words] = row
    return table


def ratios_table(run: Result, ours: str, names: list[str]) -> str:
    lines = [
        [words, *(tables.times_words(row[name]) for name in names)]
        for words, row in ratios(run, ours, names).items()
        if any(v is not None for v in row.values())
    ]
    return tables.table(["better by", *(run["targets"][name]["label"] for name in names)], lines)


def thresholds(run: Result, ours: str) -> list[Result]:
    """Beside each limit of the project what was measured; nothing is asserted."""
    mine = run["targets"][ours]
    return [tables.compared(t.words, t.limit, t.value(run, mine), at_least=t.at_least) for t in THRESHOLDS]


def machine(run: Result) -> str:
    m = run["machine"]
    return (
        f"{m['cpu']}, {m['cores']} cores, Linux {m['kernel']}; "
        f"load {m['load_before']} before, {m['load_after']} after. "
        "Figures are of one core and of this machine: compare ratios."
    )


def markdown(run: Result) -> str:
    names = [name for name, result in run["targets"].items() if not result.get("skipped")]
    parts = [
        f"# Benchmark of {run['when']}" + (" (quick)" if run["quick"] else ""),
        machine(run),
        *([figures_table(run, names)] if names else []),
    ]
    for ours in (name for name in names if name.startswith("midstream")):
        label = run["targets"][ours]["label"]
        peers = [name for name in names if not name.startswith("midstream") and name != "direct"]
        if peers:
            parts += [f"## {label} against each", ratios_table(run, ours, peers)]
        parts += [f"## {label}: the project's thresholds", tables.thresholds_table(thresholds(run, ours))]
        if run["targets"][ours].get("accounts"):
            parts += ["Accounts after the run:", "\n".join(f"- {x}" for x in run["targets"][ours]["accounts"]["lines"])]
    if "agents" in run:
        parts.append(agent_report.markdown(run["agents"]).rstrip())
    words = [f"- {r['label']}: {r['skipped']}" for r in run["targets"].values() if r.get("skipped")]
    words += [f"- {r['label']} {r['died']}" for r in run["targets"].values() if r.get("died")]
    words += [
        f"- {r['label']}, {name}: {p.get('skipped') or p.get('fail')}"
        for r in run["targets"].values()
        for name, p in r.get("phases", {}).items()
        if (p.get("skipped") or p.get("fail")) and p.get("skipped") != "cannot be asked so"
    ]
    if words:
        parts += ["## Left out", "\n".join(words)]
    return "\n\n".join(parts) + "\n"


def write(run: Result, folder: Path) -> None:
    """results.json, results.md and results.svg; the tables are printed too."""
    folder.mkdir(parents=True, exist_ok=True)
    names = [name for name, result in run["targets"].items() if not result.get("skipped")]
    peers = [name for name in names if not name.startswith("midstream") and name != "direct"]
    for ours in (name for name in names if name.startswith("midstream")):
        run.setdefault("ratios", {})[ours] = ratios(run, ours, peers)
        run.setdefault("thresholds", {})[ours] = thresholds(run, ours)
    if "agents" in run:
        run["agent_ratios"] = agent_report.better_by(run["agents"])
        run["agent_thresholds"] = agent_report.limits(run["agents"])
    (folder / "results.json").write_text(json.dumps(run, indent=1, ensure_ascii=False))
    text = markdown(run)
    (folder / "results.md").write_text(text)
    panels = [
        plot.Panel(
            row.words.removeprefix("… "),
            [(run["targets"][n]["label"], row.value(run, run["targets"][n])) for n in names],
        )
        for row in PLOTTED
    ]
    (folder / "results.svg").write_text(plot.svg(panels, f"Measured {run['when']} on one core"))
    print(f"\n{text}\nWritten: {folder}/results.md, results.json, results.svg")


PLOTTED = (
    Row("plain requests a CPU second (more is better)", _of("p32", "rps_core")),
    Row("burst chunks a CPU second (more is better)", _of("s32", "chunks_core")),
    Row("added latency p50, µs (less is better)", lambda run, r: added(run, r, "p50")),
    Row("CPU µs a chunk, 1,000 paced streams (less is better)", _of("k1000", "us_chunk")),
    Row("kB a stream, 1,000 paced streams (less is better)", _of("k1000", "kb_stream")),
    Row("idle RSS, MB (less is better)", lambda _, r: r.get("rss_idle")),
)
