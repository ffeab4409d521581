"""A provider on loopback that answers in whichever dialect it is asked, and refuses what the real service refuses.

`DialectUpstream().answer` is an `upstream.Answer`. A provider's base URL is `{url}/{kind}` (or `{url}/{kind}/v1`), so
that each kind gets its service's own habits. What it says depends on the last user text:

    fail 400|429|529   an error, in the dialect's grammar
    (a tool's name)    calls it, if it was offered; several names: all of them in one answer
    think              thinks first, signed where the dialect signs
    aloud              says "One moment." before its calls
    short              stops at the limit of its length
    (an image)         names what it was shown
    (a schema)         an instance
    (a forced tool)    calls it
    otherwise          "Hé🙂 from KIND: TEXT", and the system prompt if there is one

Given tool results, it reports them."""

from __future__ import annotations

import base64
import itertools
import json
import re
import struct
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from . import dialect_said as said_in
from .dialect_heard import Complaint, Heard, hear
from .upstream import Asked, Said, whole

VECTOR = [0.25, -0.5, 1.0]


@dataclass
class Call:
    id: str
    name: str
    arguments: dict[str, Any]


@dataclass
class Saying:
    """An answer in neutral words, in the order thought, text, calls. signature: of the thought."""

    model: str
    text: str = ""
    thought: str = ""
    signature: str = ""
    calls: list[Call] = field(default_factory=list)
    short: bool = False


class Failure(Exception):
    def __init__(self, status: int, message: str) -> None:
        self.status = status
        self.message = message


class DialectUpstream:
    """arguments: what a tool is called with, by its name. agent: of the words above, take only "please use NAME" (an
    agent's own long prompts are full of the others). heard: every chat request that was understood, and
    refused: every complaint about one that was not."""

    def __init__(self, arguments: Mapping[str, dict[str, Any]] | None = None, agent: bool = False) -> None:
        self.agent = agent
        self.arguments = dict(arguments or {})
        self.heard: list[Heard] = []
        self.refused: list[str] = []
        self.said: list[Saying] = []
        self._numbers = itertools.count(1)

    def answer(self, asked: Asked) -> Said:
        path = asked.path.partition("?")[0]
        provider, _, rest = path.lstrip("/").partition("/")
        dialect = _dialect_of(rest)
        try:
            if rest.endswith(("count_tokens", ":countTokens")):
                return whole({"input_tokens": 42} if dialect == "anthropic" else {"totalTokens": 42})
            if "mbed" in rest.rpartition("/")[2]:
                return whole(_embedded(dialect, asked.json))
            if asked.method == "GET":
                return whole({"object": "list", "data": []})
            model, _, verb = rest.partition("models/")[2].partition(":")
            heard = hear(provider, dialect, model, verb.startswith("stream"), asked.json)
            self.heard.append(heard)
            saying = self._script(heard)
            self.said.append(saying)
        except Complaint as complaint:
            self.refused.append(f"{provider}: {complaint}")
            return said_in.failure(dialect, 400, str(complaint))
        except Failure as failure:
            return said_in.failure(dialect, failure.status, failure.message)
        except (KeyError, TypeError, ValueError, IndexError) as error:
            self.refused.append(f"{provider}: not understood: {error!r} in {asked.body.decode()}")
            return said_in.failure(dialect, 400, "malformed")
        return said_in.answer(heard, saying)

    def _script(self, heard: Heard) -> Saying:
        text = "".join(re.findall(r"please use \w+", heard.text)) if self.agent else heard.text
        for status in (400, 429, 529):
            if f"fail {status}" in text:
                raise Failure(status, f"the upstream says no with {status}")
        saying = Saying(heard.model, short="short" in text)
        if "think" in text:
            number = next(self._numbers)
            saying.thought, saying.signature = f"Let me think about it, {number}.", f"c2lnbmVkIG{number:06}"
        if heard.results:
            saying.text = "The tools said: " + "; ".join(sorted(result for _, _, result in heard.results))
            return saying
        names = [name for name in heard.tools if name in text] or [name for name in (heard.must_call,) if name]
        saying.calls = [Call(self._id(heard), name, self.arguments.get(name, {"city": name})) for name in names]
        if names:
            saying.text = "One moment." if "aloud" in text else ""
            return saying
        if heard.schema is not None:
            saying.text = json.dumps(dict.fromkeys(heard.schema["properties"], "Paris"))
        elif heard.images:
            saying.text = "I see " + ", ".join(f"{mime} {data}" for mime, data in heard.images)
        else:
            told = f" (told: {heard.system})" if heard.system else ""
            saying.text = f"Hé🙂 from {heard.provider}: {text}{told}"
        return saying

    def _id(self, heard: Heard) -> str:
        number = next(self._numbers)
        return {"mistral": f"m{number:08}", "anthropic": f"toolu_{number:08}", "gemini": ""}.get(
            heard.provider, f"call_{number:08}"
        )


def _dialect_of(path: str) -> str:
    if path.startswith("v1beta/"):
        return "gemini"
    if path.startswith("v1/messages"):
        return "anthropic"
    return "responses" if path.endswith("/responses") else "chat"


def _embedded(dialect: str, body: Any) -> Any:
    if dialect == "gemini" and "content" in body:
        return {"embedding": {"values": VECTOR}, "usageMetadata": {"promptTokenCount": 4}}
    if dialect == "gemini":
        return {"embeddings": [{"values": VECTOR} for _ in body["requests"]]}
    inputs = body["input"] if isinstance(body["input"], list) else [body["input"]]
    vector: Any = VECTOR
    if body.get("encoding_format") == "base64":
        vector = base64.b64encode(struct.pack(f"<{len(VECTOR)}f", *VECTOR)).decode()
    return {
        "object": "list",
        "model": body["model"],
        "data": [{"object": "embedding", "index": index, "embedding": vector} for index, _ in enumerate(inputs)],
        "usage": {"prompt_tokens": 4, "total_tokens": 4},
    }
