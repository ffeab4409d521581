"""The fake model and the fake tools of agents' turns, in a process of their own: agent_upstream.py PORT.

The model asks for every tool that it is offered, once, then says the user's last words and how many results are as they
should be. /tool answers at once, /slow after a second, /-/count with what was served; /-/model and /-/tool do the same
uncounted."""

from __future__ import annotations

import asyncio
import json
import sys
from typing import Any

RESULT = b'{"sky":"clear"}'
served = {"model": 0, "tools": 0}


def words(message: str, results: int) -> str:
    """What the model says in the end: what a client must be answered."""
    return f"{message}: {results} results"


def _text(content: Any) -> str:
    return content if isinstance(content, str) else "".join(part.get("text", "") for part in content or ())


def _model(asked: dict[str, Any]) -> bytes:
    messages, tools = asked["messages"], asked.get("tools") or []
    if tools and messages[-1]["role"] != "tool":
        calls = [
            {
                "id": f"c{len(messages)}_{place}",
                "type": "function",
                "function": {"name": tool["function"]["name"], "arguments": '{"city":"Oslo"}'},
            }
            for place, tool in enumerate(tools)
        ]
        message: dict[str, Any] = {"role": "assistant", "content": None, "tool_calls": calls}
        stop = "tool_calls"
    else:
        last = max(place for place, one in enumerate(messages) if one["role"] == "user")
        good = sum(one["role"] == "tool" and _text(one["content"]) == RESULT.decode() for one in messages[last:])
        message, stop = {"role": "assistant", "content": words(_text(messages[last]["content"]), good)}, "stop"
    usage = {"prompt_tokens": 9, "completion_tokens": 3, "total_tokens": 12}
    choice = {"index": 0, "message": message, "finish_reason": stop}
    answer = {"id": "c", "object": "chat.completion", "created": 1, "model": "m", "choices": [choice], "usage": usage}
    return json.dumps(answer).encode()


async def _answer(path: str, body: bytes) -> bytes:
    if path == "/-/count":
        return json.dumps(served).encode()
    kind = "tools" if path.endswith(("/tool", "/slow")) else "model"
    served[kind] += not path.startswith("/-/")
    if path == "/slow":
        await asyncio.sleep(1)
    if kind == "tools":
        return RESULT
    return _model(json.loads(body))


async def _client(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while True:
            head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
            size = int(head.partition("content-length: ")[2].partition("\r\n")[0] or 0)
            said = await _answer(head.split(" ")[1], await reader.readexactly(size))
            start = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n"
            writer.write(start % len(said) + said)
    except (asyncio.IncompleteReadError, ConnectionError):
        writer.close()


async def _serve(port: int) -> None:
    server = await asyncio.start_server(_client, "127.0.0.1", port, limit=1 << 26)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(_serve(int(sys.argv[1])))
