#!/usr/bin/env python
"""What an agent's turn costs, on a fake model and fake tools in a process of their own: bench/agents.py [--seconds N].

two tools    turns a second of the server's processor time, 8 at once: two tools in one round, then text
plain        the same without tools: what is left is what an iteration of the loop adds
five slow    seconds of one turn that calls five tools of 1 s in one round
history      milliseconds that 200 stored messages add to a turn
"""

from __future__ import annotations

import argparse
import asyncio
import http.client
import json
import multiprocessing
import os
import socket
import statistics
import subprocess
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

from targets import ADMIN_KEY, midstream_program

TOML = """
[egress]
allow = ["127.0.0.1:{fake}"]
[limits]
agent_points = 1000000000
thread_points = 1000000000
[providers.up]
kind = "openai_compatible"
base_url = "http://127.0.0.1:{fake}/v1"
"""
AT_ONCE = 8


async def _serve_fake(port: int) -> None:
    async def client(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
                size = int(head.partition("content-length: ")[2].partition("\r\n")[0] or 0)
                body = await reader.readexactly(size)
                path = head.split(" ")[1]
                if path.startswith("/slow"):
                    await asyncio.sleep(1)
                said = b'{"sky":"clear"}' if path.startswith(("/slow", "/tool")) else _model(json.loads(body))
                start = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n"
                writer.write(start % len(said) + said)
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()

    server = await asyncio.start_server(client, "127.0.0.1", port, limit=1 << 26)
    await server.serve_forever()


def _model(asked: dict[str, Any]) -> bytes:
    """Asks for every tool that it is offered, once, then answers."""
    message: dict[str, Any] = {"role": "assistant", "content": "done"}
    stop = "stop"
    if asked.get("tools") and asked["messages"][-1]["role"] != "tool":
        names = [tool["function"]["name"] for tool in asked["tools"]]
        calls = [
            {"id": f"c{place}", "type": "function", "function": {"name": name, "arguments": '{"city":"Oslo"}'}}
            for place, name in enumerate(names)
        ]
        message, stop = {"role": "assistant", "content": None, "tool_calls": calls}, "tool_calls"
    usage = {"prompt_tokens": 9, "completion_tokens": 3, "total_tokens": 12}
    choice = {"index": 0, "message": message, "finish_reason": stop}
    answer = {"id": "c", "object": "chat.completion", "created": 1, "model": "m", "choices": [choice], "usage": usage}
    return json.dumps(answer).encode()


def _fake(port: int) -> None:
    asyncio.run(_serve_fake(port))


class Client:
    """One kept connection to the server."""

    def __init__(self, port: int) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)

    def post(self, path: str, body: Any) -> Any:
        headers = {"authorization": f"Bearer {ADMIN_KEY}", "content-type": "application/json"}
        self._connection.request("POST", path, json.dumps(body), headers)
        reply = self._connection.getresponse()
        data = reply.read()
        if reply.status not in (200, 201):
            raise SystemExit(f"{path}: {reply.status} {data[:500]!r}")
        return json.loads(data)

    def agent(self, fake: int, name: str, paths: list[str]) -> str:
        """Published, with one tool for each path."""
        schema = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
        tools = []
        for place, path in enumerate(paths):
            spec = {"name": f"{name}_{place}", "description": "looks", "kind": "http", "parameters": schema}
            spec["http"] = {"method": "POST", "url": f"http://127.0.0.1:{fake}{path}"}
            tools.append(self.post("/v1/admin/tools", spec)["id"])
        body = {"name": name, "slug": name, "service": "up", "configuration": {"model": "x"}, "tool_ids": tools}
        made = self.post("/v1/admin/agents", body)
        self.post(f"/v1/admin/agents/{made['id']}/publish", {"version_id": made["version_id"]})
        return str(made["id"])

    def say(self, agent: str, **more: Any) -> Any:
        return self.post("/api/v1/conversation", {"agentId": agent, "message": "hello", "stream": False, **more})


def _processor_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _turns(port: int, pid: int, agent: str, seconds: float) -> tuple[float, float]:
    """Turns a second of the clock, and of the server's processor time."""
    counts = [0] * AT_ONCE
    end = time.monotonic() + seconds

    def ask(place: int) -> None:
        client = Client(port)
        while time.monotonic() < end:
            client.say(agent)
            counts[place] += 1

    threads = [threading.Thread(target=ask, args=(place,)) for place in range(AT_ONCE)]
    began, spent = time.monotonic(), _processor_seconds(pid)
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    used = _processor_seconds(pid) - spent
    return sum(counts) / (time.monotonic() - began), sum(counts) / used


def _milliseconds(client: Client, agent: str, times: int, **more: Any) -> float:
    """Median of one turn after the other, each begun on the thread of before."""
    taken = []
    for _ in range(times):
        began = time.perf_counter()
        client.say(agent, **more)
        taken.append((time.perf_counter() - began) * 1000)
    return statistics.median(taken)


def measure(port: int, pid: int, fake: int, seconds: float) -> None:
    client = Client(port)
    two = client.agent(fake, "two", ["/tool", "/tool"])
    plain = client.agent(fake, "plain", [])
    slow = client.agent(fake, "slow", ["/slow"] * 5)
    for agent in (two, plain):
        _turns(port, pid, agent, min(1.0, seconds))
    wall, core = _turns(port, pid, two, seconds)
    _, core_plain = _turns(port, pid, plain, seconds)
    added = 1000 / core - 1000 / core_plain
    print(f"two tools: {wall:.0f} turns a second, {core:.0f} per second of a core")
    print(f"plain: {core_plain:.0f} per second of a core; a round of two tools adds {added:.2f} ms of it")
    began = time.monotonic()
    client.say(slow)
    print(f"five slow: {time.monotonic() - began:.2f} s")
    short = _milliseconds(client, plain, 20)
    conversation = client.say(plain)["conversationId"]
    for _ in range(99):
        client.say(plain, conversationId=conversation)
    long = _milliseconds(client, plain, 20, conversationId=conversation)
    print(f"history: {short:.2f} ms without, {long:.2f} ms with 200 messages: {long - short:+.2f} ms")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=8.0)
    seconds = parser.parse_args().seconds
    fake, port = _free_port(), _free_port()
    other = multiprocessing.Process(target=_fake, args=(fake,), daemon=True)
    other.start()
    with tempfile.TemporaryDirectory() as folder:
        config = Path(folder, "midstream.toml")
        config.write_text(TOML.format(fake=fake))
        command = [
            midstream_program(),
            "serve",
            "--config",
            str(config),
            "--data",
            f"{folder}/data",
            "--port",
            str(port),
        ]
        with Path(folder, "log").open("wb") as log:
            environment = {**os.environ, "MIDSTREAM_ADMIN_KEY": ADMIN_KEY}
            server = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
        try:
            deadline = time.monotonic() + 30
            while True:
                try:
                    socket.create_connection(("127.0.0.1", port), 1).close()
                    break
                except OSError:
                    if time.monotonic() > deadline:
                        raise SystemExit(Path(folder, "log").read_text()) from None
                    time.sleep(0.05)
            measure(port, server.pid, fake, seconds)
        finally:
            server.terminate()
            server.wait(30)
            other.terminate()


if __name__ == "__main__":
    main()
