"""Counts for Prometheus, kept in plain dictionaries: a few additions per run, text made only when asked for."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterable

from ..core.serving import Target
from ..core.usage import Usage

BOUNDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0)
Labels = tuple[tuple[str, str], ...]
#: Models are named by callers, so there is no end to them: those beyond this many are counted together.
MODELS = 1000
OTHERS = "(others)"


class _Counts:
    """Of one model. tokens: input, output, cached, reasoning. seconds: calls by BOUNDS, those beyond, all seconds."""

    __slots__ = ("attempts", "seconds", "tokens")

    def __init__(self) -> None:
        self.attempts: dict[str, int] = {}
        self.tokens = [0, 0, 0, 0]
        self.seconds = [0.0] * (len(BOUNDS) + 2)


class Metrics:
    """gauges: name -> (help, function that tells its value now)."""

    def __init__(self) -> None:
        self._runs: dict[tuple[str, str, str], int] = {}
        self._models: dict[tuple[str, str], _Counts] = {}
        self.gauges: dict[str, tuple[str, Callable[[], float]]] = {}

    def run_ended(self, face: str, kind: str, status: str) -> None:
        name = (face, kind, status)
        self._runs[name] = self._runs.get(name, 0) + 1

    def attempt_settled(self, target: Target, status: str, usage: Usage, seconds: float) -> None:
        """seconds: from the call to its end."""
        pair = (target.provider, target.model)
        counts = self._models.get(pair)
        if counts is None:
            if len(self._models) >= MODELS:
                pair = (target.provider, OTHERS)
            counts = self._models.setdefault(pair, _Counts())
        counts.attempts[status] = counts.attempts.get(status, 0) + 1
        tokens = counts.tokens
        tokens[0] += usage.input_tokens
        tokens[1] += usage.output_tokens
        tokens[2] += usage.cached_tokens
        tokens[3] += usage.out_reasoning
        histogram = counts.seconds
        histogram[bisect_left(BOUNDS, seconds)] += 1
        histogram[-1] += seconds

    def text(self) -> bytes:
        """The Prometheus text format, version 0.0.4."""
        lines: list[str] = []
        _counter(lines, "midstream_runs_total", "Runs by how they ended.", (
            ((("face", face), ("kind", kind), ("status", status)), count)
            for (face, kind, status), count in self._runs.items()
        ))  # fmt: skip
        _counter(lines, "midstream_attempts_total", "Upstream calls by how they ended.", (
            ((("provider", provider), ("model", model), ("status", status)), count)
            for (provider, model), counts in self._models.items()
            for status, count in counts.attempts.items()
        ))  # fmt: skip
        _counter(lines, "midstream_tokens_total", "Tokens; cached are part of input, reasoning of output.", (
            ((("provider", provider), ("model", model), ("type", word)), count)
            for (provider, model), counts in self._models.items()
            for word, count in zip(("input", "output", "cached", "reasoning"), counts.tokens, strict=True)
        ))  # fmt: skip
        self._histogram(lines)
        for name, (says, value) in self.gauges.items():
            lines += [f"# HELP {name} {says}", f"# TYPE {name} gauge", f"{name} {value()}"]
        return ("\n".join(lines) + "\n").encode()

    def _histogram(self, lines: list[str]) -> None:
        name = "midstream_attempt_duration_seconds"
        lines += [f"# HELP {name} From an upstream call to its end.", f"# TYPE {name} histogram"]
        for (provider, model), counted in self._models.items():
            counts = counted.seconds
            labels: Labels = (("provider", provider), ("model", model))
            total = 0
            for bound, count in zip((*map(str, BOUNDS), "+Inf"), counts, strict=False):
                total += int(count)
                lines.append(f"{name}_bucket{_labels((*labels, ('le', bound)))} {total}")
            lines += [f"{name}_sum{_labels(labels)} {counts[-1]}", f"{name}_count{_labels(labels)} {total}"]


def _counter(lines: list[str], name: str, says: str, samples: Iterable[tuple[Labels, int]]) -> None:
    lines += [f"# HELP {name} {says}", f"# TYPE {name} counter"]
    lines += [f"{name}{_labels(labels)} {count}" for labels, count in samples]


def _labels(labels: Labels) -> str:
    return "{" + ",".join(f'{name}="{_escaped(value)}"' for name, value in labels) + "}"


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
