"""The Vercel AI SDK through a real server: a tool loop, whole and streamed, with each of its provider packages."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from .dialect_upstream import VECTOR, DialectUpstream
from .npm import clean_environment, installed, node
from .serving import ADMIN_KEY, Serving
from .upstream import Upstream

pytestmark = pytest.mark.long

PACKAGES = (
    "ai@6.0.326", "@ai-sdk/openai@3.0.141", "@ai-sdk/openai-compatible@2.0.87", "@ai-sdk/anthropic@3.0.138",
    "@ai-sdk/google@3.0.141", "zod@4.6.7",
)  # fmt: skip
KINDS = ("openai", "openai_response", "anthropic", "gemini", "groq", "mistral", "open_router", "openai_compatible")
PROVIDER = """
[providers.{kind}]
base_url = "{url}/{kind}{version}"
api_key = "sk-{kind}"
"""


@pytest.fixture(scope="module")
def dialects() -> DialectUpstream:
    return DialectUpstream({"look_up": {"city": "Paris"}, "json": {"city": "Paris"}})


@pytest.fixture(scope="module")
def upstream(dialects: DialectUpstream) -> Iterator[Upstream]:
    with Upstream(dialects.answer) as running:
        yield running


@pytest.fixture(scope="module")
def serving(upstream: Upstream, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    toml = "".join(
        PROVIDER.format(kind=kind, url=upstream.url, version="" if kind in ("anthropic", "gemini") else "/v1")
        for kind in KINDS
    )
    with Serving(tmp_path_factory.mktemp("vercel"), toml) as running:
        yield running


def test_every_package_finishes_a_tool_loop_with_every_provider(
    serving: Serving, dialects: DialectUpstream, tmp_path: Path
):
    folder = installed(*PACKAGES)
    models = [*(f"{kind}/m-1" for kind in KINDS), "midstream/rehearsal"]
    environ = clean_environment(tmp_path, PACKAGES=str(folder), URL=serving.url, KEY=ADMIN_KEY, MODELS=",".join(models))
    script = str(Path(__file__).parent / "node" / "vercel.mjs")
    done = subprocess.run(
        [node(), script], env=environ, capture_output=True, text=True, timeout=120, check=False, cwd=tmp_path
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert dialects.refused == []
    *loops, embedded, refused = msgspec.json.decode(done.stdout)
    assert len(loops) == 4 * len(models) * 3
    for one in loops:
        rehearsed = one["model"] == "midstream/rehearsal"
        city = "city" if rehearsed else "Paris"
        if one["way"] == "object":
            assert one["object"] == {"city": city}, one
            continue
        assert one["calls"] == [["look_up", {"city": city}]], one
        assert one["finish"] == ["tool-calls", "stop"], one
        start = "This is the rehearsal model. The tools answered: look_up said: " if rehearsed else "The tools said: "
        result = f"{city} it is"
        if one["name"] == "google":  # sends a result inside of an object of its own
            result = msgspec.json.encode({"name": "look_up", "content": result}).decode()
        assert one["text"] == start + result, one
        assert rehearsed or one["usage"] == [30, 17], one
    assert embedded["embedding"] == VECTOR
    assert refused["refusal"] == ["AI_APICallError", 400, "the upstream says no with 400"]
