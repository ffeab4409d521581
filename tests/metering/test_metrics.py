from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from midstream.core.serving import Target
from midstream.core.usage import Usage
from midstream.metering import metrics
from midstream.metering.metrics import BOUNDS, Metrics

NAME = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*")
LABEL = re.compile(r'([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\\n]|\\["\\n])*)"(,|\})')
HEAD = re.compile(r"# (HELP|TYPE) ([a-zA-Z_:][a-zA-Z0-9_:]*) (.+)")
ESCAPES = {"\\\\": "\\", '\\"': '"', "\\n": "\n"}
Samples = dict[tuple[str, tuple[tuple[str, str], ...]], float]


def parsed(text: bytes) -> tuple[Samples, dict[str, str]]:
    """Prometheus' text format 0.0.4, strictly: samples by name and labels, and the type of each family. A family's
    lines stand together, HELP and TYPE first, no sample twice."""
    samples: Samples = {}
    types: dict[str, str] = {}
    family, ended = "", set()
    assert text.endswith(b"\n")
    for line in text.decode().removesuffix("\n").split("\n"):
        head = HEAD.fullmatch(line)
        if head:
            if head[1] == "HELP":
                assert head[2] not in types
                ended.add(family)
                family = head[2]
                assert family not in ended
            else:
                assert head[2] == family
                assert head[3] in ("counter", "gauge", "histogram")
                types[family] = head[3]
            continue
        name, labels, value = _sample(line)
        suffixes = ("_bucket", "_sum", "_count") if types[family] == "histogram" else ("",)
        assert name in {family + suffix for suffix in suffixes}, line
        assert (name, labels) not in samples
        samples[(name, labels)] = value
    return samples, types


def _sample(line: str) -> tuple[str, tuple[tuple[str, str], ...], float]:
    name = NAME.match(line)
    assert name, line
    at, labels = name.end(), []
    if line[at] == "{":
        at += 1
        while True:
            label = LABEL.match(line, at)
            assert label, line
            labels.append((label[1], re.sub(r"\\.", lambda escape: ESCAPES[escape[0]], label[2])))
            at = label.end()
            if label[3] == "}":
                break
    assert line[at] == " "
    return name[0], tuple(labels), float(line[at + 1 :])


USED = Usage(uncached_in=5, cache_read=3, out_text=4, out_reasoning=2)


def test_an_empty_process_gives_a_text_that_parses():
    samples, types = parsed(Metrics().text())
    assert samples == {}
    assert types["midstream_attempt_duration_seconds"] == "histogram"


def test_tokens_are_counted_by_type_and_cached_ones_are_part_of_the_input():
    counted = Metrics()
    counted.attempt_settled(Target("p", "m", ""), "ok", USED, 0.2)
    counted.attempt_settled(Target("p", "m", ""), "failed", USED, 0.2)
    samples, _ = parsed(counted.text())
    tokens = {labels[2][1]: value for (name, labels), value in samples.items() if name == "midstream_tokens_total"}
    assert tokens == {"input": 16, "output": 12, "cached": 6, "reasoning": 4}
    assert samples[("midstream_attempts_total", (("provider", "p"), ("model", "m"), ("status", "failed")))] == 1


@given(st.lists(st.floats(0, 1000, allow_nan=False), min_size=1, max_size=30))
def test_the_histogram_is_cumulative_and_its_last_bucket_is_its_count(seconds: list[float]):
    counted = Metrics()
    for one in seconds:
        counted.attempt_settled(Target("p", "m", ""), "ok", USED, one)
    samples, _ = parsed(counted.text())
    name = "midstream_attempt_duration_seconds"
    pair = (("provider", "p"), ("model", "m"))
    for bound in BOUNDS:
        assert samples[(f"{name}_bucket", (*pair, ("le", str(bound))))] == sum(one <= bound for one in seconds)
    assert samples[(f"{name}_bucket", (*pair, ("le", "+Inf")))] == len(seconds)
    assert samples[(f"{name}_count", pair)] == len(seconds)
    assert samples[(f"{name}_sum", pair)] == pytest.approx(sum(seconds))


@given(st.text(), st.text())
def test_any_name_survives_as_a_label(provider: str, model: str):
    counted = Metrics()
    counted.attempt_settled(Target(provider, model, ""), "ok", USED, 1.0)
    counted.run_ended("face", "chat", "completed")
    samples, _ = parsed(counted.text())
    assert samples[("midstream_attempts_total", (("provider", provider), ("model", model), ("status", "ok")))] == 1


def test_a_gauge_tells_its_value_of_now_in_full():
    counted = Metrics()
    now = [12_345_678]
    counted.gauges["midstream_things"] = ("Things.", lambda: now[0])
    assert parsed(counted.text())[0][("midstream_things", ())] == 12_345_678
    now[0] = 1
    assert parsed(counted.text())[0][("midstream_things", ())] == 1


def test_names_that_callers_make_up_do_not_make_endless_series(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(metrics, "MODELS", 3)
    counted = Metrics()
    for number in range(50):
        counted.attempt_settled(Target("p", f"m{number}", ""), "failed", USED, 1.0)
    samples, _ = parsed(counted.text())
    seen = {labels[1][1]: value for (name, labels), value in samples.items() if name == "midstream_attempts_total"}
    assert seen == {"m0": 1, "m1": 1, "m2": 1, metrics.OTHERS: 47}
