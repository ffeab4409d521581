"""Minutes of mixed traffic: what has ended leaves nothing behind, neither memory nor sockets nor open accounts."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from . import fault_words
from .agents_at import Agents
from .outcomes import ask
from .serving import ADMIN_KEY, Serving
from .test_faults import descriptors, resident
from .upstream import Asked, Said, Upstream, stream, whole
from .waiting import until

TOML = """
[providers.up]
kind = "openai_compatible"
base_url = "{url}/v1"
[providers.failing]
kind = "openai_compatible"
base_url = "{url}/v1"
[limits]
agent_points = 100000000
thread_points = 100000000
"""
HEADERS = {"authorization": f"Bearer {ADMIN_KEY}", "content-type": "application/json"}
#: Seconds of traffic before memory is looked at first, then until it is looked at again; who asks at once.
WARM, SECONDS, CLIENTS = 45.0, 120.0, 12
#: Kilobytes that a server may grow by in between. A page that a request had leaked would be some sixty thousand.
GROWTH = 6_000
CHAT, MESSAGES, GEMINI = "/v1/chat/completions", "/v1/messages", "/v1beta/models/midstream/rehearsal"


def answer(asked: Asked) -> Said:
    if b'"cut"' in asked.body:
        return stream(fault_words.chat_chunk({"content": "so far"}), cut=True)
    return whole(fault_words.whole("chat", ("hello", "there")))


def chat(text: str, model: str = "midstream/rehearsal", **more: Any) -> tuple[str, Any]:
    return CHAT, {"model": model, "messages": [{"role": "user", "content": text}], **more}


def jobs(agent: str) -> Iterator[tuple[str, Any, float, set[int]]]:
    """What is asked: path, body, seconds after which its client hangs up, and the statuses that are right."""
    tools = [{"type": "function", "function": {"name": "f", "parameters": {"type": "object", "properties": {}}}}]
    said = {"model": "midstream/rehearsal", "max_tokens": 50, "messages": [{"role": "user", "content": "say 9 words"}]}
    for number in itertools.count():
        yield (*chat("hello"), 30, {200})
        yield (*chat("say 60 words", stream=True), 30, {200})
        yield (*chat("use f", tools=tools, stream=number % 2 == 0), 30, {200})
        yield (*chat("fail:400"), 30, {400})
        yield (*chat("pace 5, say 500 words", stream=True), 0.2, set())
        yield (*chat("hello", "up/m"), 30, {200})
        yield (*chat("cut", "failing/m", stream=True), 30, {200, 503})
        yield (*chat("long " * 8_000, store=True), 30, {200})
        yield (MESSAGES, {**said, "stream": True}, 30, {200})
        yield (f"{MESSAGES}/count_tokens", {name: said[name] for name in ("model", "messages")}, 30, {200})
        yield (f"{GEMINI}:streamGenerateContent?alt=sse", {"contents": [{"parts": [{"text": "hi"}]}]}, 30, {200})
        yield (CHAT, b'{"model":', 30, {400})
        yield ("/api/v1/conversation", {"agentId": agent, "message": "hello", "stream": number % 2 == 0}, 30, {200})
        turn = {"agent_id": agent, "user": "hello", "thread_id": f"t{number % 50}"}
        yield ("/api/v2/model/chat/completion", turn, 30, {200})


async def traffic(port: int, agent: str, seconds: float) -> Counter[str]:
    """How often each path was answered; fails on the first wrong answer."""
    counts: Counter[str] = Counter()
    end = time.monotonic() + seconds
    waiting = jobs(agent)

    async def client() -> None:
        while time.monotonic() < end:
            path, body, patience, right = next(waiting)
            data = body if isinstance(body, bytes) else msgspec.json.encode(body)
            try:
                got = await ask(port, "POST", path, data, HEADERS, patience)
            except TimeoutError:
                assert not right, f"no answer to {data[:100]!r}"
            else:
                assert got.status in right, (data[:100], got.raw[:500])
            counts[path] += 1

    await asyncio.gather(*(client() for _ in range(CLIENTS)))
    return counts


@pytest.mark.long
def test_minutes_of_mixed_traffic_leave_no_memory_no_socket_and_no_open_account_behind(tmp_path: Path) -> None:
    with Upstream(answer) as upstream, Serving(tmp_path, TOML.format(url=upstream.url)) as serving:
        assert serving.process is not None
        pid = serving.process.pid
        agent = Agents(serving).agent()
        until(lambda: serving.ask("GET", "/docs").status == 200)
        asyncio.run(traffic(serving.port, agent, WARM))
        before = resident(pid)
        counts = asyncio.run(traffic(serving.port, agent, SECONDS))
        print(counts, before, resident(pid))
        assert sum(counts.values()) > 1_000
        assert resident(pid) - before < GROWTH
        until(lambda: all(run["status"] != "running" for run in runs(serving)), 30)
        idle = descriptors(pid)
        assert idle < 60, "nobody is there any more"


def runs(serving: Serving) -> list[dict[str, Any]]:
    return list(serving.ask("GET", "/v1/admin/runs?limit=1000").json["data"])
