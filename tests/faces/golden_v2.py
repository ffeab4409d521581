"""What version 2 of our own format promises, written from its specification: requests, answers, streams, errors."""

from __future__ import annotations

from typing import Any

from midstream.core.agents import Delivery, HttpTool, Tool
from midstream.core.errors import BadRequest, LimitReached, NotFound, StoreDown
from midstream.core.outcome import Outcome, Step
from midstream.core.parts import Citation, Media
from midstream.core.secret import Secret
from midstream.core.usage import Usage

_CITY = {"type": "object", "properties": {"city": {"type": "string"}, "key": {"type": "string"}}, "required": ["city"]}

#: body -> the members of the ask that it makes (all others as they are by themselves).
ASKED: list[tuple[dict[str, Any], dict[str, Any]]] = [
    ({"user": "hi", "agent_id": "agt_1"}, {"text": "hi", "agent": "agt_1"}),
    ({"user": "hi", "bridge_id": "b"}, {"text": "hi", "agent": "b"}),
    ({"user": "hi", "agent_id": "a", "bridge_id": "a"}, {"text": "hi", "agent": "a"}),
    (
        {"user": "hi", "agent_id": "a", "bridge_id": "A" * 24},
        {"text": "hi", "agent": "agt_" + "a" * 24, "slug": "a"},
    ),
    (
        {"user": "hi", "service": "s", "model": "m", "configuration": {"service": "s", "model": "m"}},
        {"text": "hi", "service": "s", "model": "m", "configuration": {"service": "s", "model": "m"}},
    ),
    (
        {"user": "hi", "agent_id": "a", "version_id": "v", "thread_id": "t", "sub_thread_id": "s", "org_id": "org_1"},
        {"text": "hi", "agent": "a", "version": "v", "thread": "t", "sub_thread": "s", "org": "org_1"},
    ),
    (
        {
            "user": "hi", "service": "openai", "model": "gpt-4o", "apikey": "sk-1",
            "configuration": {"creativity_level": 0.5, "prompt": "Be brief."},
            "variables": {"a": {"b": 1}}, "variables_path": {"f": {"x": "a.b"}},
        },
        {
            "text": "hi", "service": "openai", "model": "gpt-4o", "api_key": Secret("sk-1"),
            "configuration": {"creativity_level": 0.5, "prompt": "Be brief."},
            "variables": {"a": {"b": 1}}, "variables_path": {"f": {"x": "a.b"}},
        },
    ),
    ({"user": "hi", "response_type": "json"}, {"text": "hi", "response_type": "json"}),
    (
        {"user": "hi", "response_type": {"type": "json_schema", "json_schema": {"type": "object"}}},
        {"text": "hi", "response_type": {"type": "json_schema", "json_schema": {"type": "object"}}},
    ),
    ({"user": "hi", "response_format": {"type": "default"}}, {"text": "hi"}),
    (
        {"user": "hi", "response_format": {"type": "webhook", "cred": {"url": "https://example.org/hook"}}},
        {"text": "hi", "delivery": Delivery("webhook", {"url": "https://example.org/hook"})},
    ),
    (
        {"user": "hi", "response_format": {"type": "RTLayer", "cred": {"channel": "c"}}},
        {"text": "hi", "delivery": Delivery("live", {"channel": "c"})},
    ),
    (
        {"user": "hi", "response_format": {"type": "queue", "cred": {"name": "q"}}},
        {"text": "hi", "delivery": Delivery("queue", {"name": "q"})},
    ),
    (
        {
            "user": "hi", "tools": ["f", "tool_2"], "built_in_tools": ["web_search"], "tool_choice": "auto",
            "template_id": "tpl_1", "guardrails": {"is_enabled": True}, "is_playground": True,
        },
        {
            "text": "hi", "tools": ("f", "tool_2"), "built_in_tools": ("web_search",), "tool_choice": "auto",
            "template": "tpl_1", "guardrails": {"is_enabled": True}, "playground": True,
        },
    ),
    ({"user": "hi", "tools": []}, {"text": "hi", "tools": ()}),
    (
        {
            "user": "see", "images": ["https://example.org/a.png", {"url": "data:image/png;base64,aGk="}],
            "files": [{"url": "https://example.org/a.pdf", "mime_type": "application/pdf", "name": "a.pdf"}],
            "user_urls": [
                {"url": "https://example.org/b.wav", "type": "audio"}, "https://example.org/c",
                "https://example.org/d.PNG?e=.pdf",
            ],
        },
        {
            "text": "see",
            "media": (
                Media("image", url="https://example.org/a.png"), Media("image", "image/png", data="aGk="),
                Media("file", "application/pdf", url="https://example.org/a.pdf", name="a.pdf"),
                Media("audio", url="https://example.org/b.wav"), Media("file", url="https://example.org/c"),
                Media("image", "image/png", url="https://example.org/d.PNG?e=.pdf"),
            ),
            "places": ("images[0]", "images[1]", "files[0]", "user_urls[0]", "user_urls[1]", "user_urls[2]"),
        },
    ),
    (
        {"images": ["https://example.org/a.png"]},
        {"media": (Media("image", url="https://example.org/a.png"),), "places": ("images[0]",)},
    ),
    (
        {
            "user": "hi",
            "extra_tools": [
                {
                    "type": "function",
                    "function": {"name": "f", "description": "does", "parameters": _CITY, "strict": True},
                    "url": "https://example.org/{city}", "method": "GET", "headers": {"x": "y"},
                    "toolAndVariablePath": {"key": "keys.f"},
                },
                {
                    "name": "g", "description": "more", "url": "https://example.org/g", "response_path": "data.x",
                    "tool_and_variable_path": {"key": "keys.g"}, "effect": "pure", "timeout_seconds": 5,
                },
            ],
        },
        {
            "text": "hi",
            "extra_tools": (
                Tool("extra_tools_0", "f", "does", "http", _CITY, HttpTool("GET", "https://example.org/{city}"),
                     mapped={"key": "keys.f"}, headers={"x": "y"}, strict=True),
                Tool("extra_tools_1", "g", "more", "http", {"type": "object"},
                     HttpTool("POST", "https://example.org/g", response_path="data.x"), effect="pure",
                     timeout_seconds=5.0, mapped={"key": "keys.g"}),
            ),
        },
    ),
    (
        {"user": "hi", "tools": [{"name": "g", "url": "https://example.org/g"}, "f", "h"]},
        {
            "text": "hi", "tools": ("f", "h"), "tool_places": (1, 2),
            "extra_tools": (
                Tool("tools_0", "g", "", "http", {"type": "object"}, HttpTool("POST", "https://example.org/g")),
            ),
        },
    ),
]  # fmt: skip


def _hi(**more: Any) -> dict[str, Any]:
    return {"user": "hi", "agent_id": "a", **more}


#: body -> (status, field, code).
REFUSED: list[tuple[dict[str, Any], tuple[int, str, str]]] = [
    ({"agent_id": "a"}, (400, "user", "user_message_missing")),
    ({"agent_id": "a", "user": "  "}, (400, "user", "user_message_missing")),
    (_hi(bridge_id="b"), (400, "agent_id", "contradictory")),
    (_hi(agent_id="agt_" + "a" * 24, bridge_id="b" * 24), (400, "agent_id", "contradictory")),
    (_hi(apikey="sk-1\n"), (400, "apikey", "invalid_request")),
    (_hi(apikey="sk-\u20ac"), (400, "apikey", "invalid_request")),
    (_hi(service="openai", configuration={"service": "groq"}), (400, "configuration.service", "contradictory")),
    (_hi(model="a", configuration={"model": "b"}), (400, "configuration.model", "contradictory")),
    (_hi(agnet_id="b"), (400, "agnet_id", "unknown_parameter")),
    (_hi(files=["data:;base64,AAAA"]), (400, "files[0].mime_type", "invalid_request")),
    (
        _hi(files=[{"url": "data:image/png;base64,AAAA", "mime_type": "application/pdf"}]),
        (400, "files[0].mime_type", "contradictory"),
    ),
    ({"user": "hi", "version_id": "ver_1"}, (400, "agent_id", "missing_required_parameter")),
    (_hi(user=5), (400, "user", "invalid_request")),
    (_hi(configuration=[]), (400, "configuration", "invalid_request")),
    (_hi(configuration={"apikey": "sk-1"}), (400, "configuration.apikey", "invalid_request")),
    (_hi(variables="x"), (400, "variables", "invalid_request")),
    (_hi(variables_path={"f": "x"}), (400, "variables_path", "invalid_request")),
    (_hi(response_type=5), (400, "response_type", "invalid_request")),
    (_hi(response_format="webhook"), (400, "response_format", "invalid_request")),
    (_hi(response_format={"type": "pigeon"}), (400, "response_format.type", "invalid_request")),
    (_hi(response_format={"cred": {"url": "https://x.example"}}), (400, "response_format.cred", "contradictory")),
    (_hi(response_format={"kind": "webhook"}), (400, "response_format.kind", "unknown_parameter")),
    *[(_hi(**{place: told} if place == "guardrails" else {place: {"guardrails": told}}),
       (400, f"{place}{'.guardrails' if place == 'configuration' else ''}.output.webhook.headers.a", "invalid_request"))
      for place in ("guardrails", "configuration")
      for told in [{"output": {"webhook": {"url": "https://x", "headers": {"a": "x {{ secret:S1}}"}}}}]],
    (_hi(extra_tools=[{"url": "https://x"}]), (400, "extra_tools[0].name", "missing_required_parameter")),
    (_hi(extra_tools=[{"name": "f"}]), (400, "extra_tools[0].url", "missing_required_parameter")),
    (_hi(extra_tools=[{"name": "f", "url": "https://x", "verb": "GET"}]),
     (400, "extra_tools[0].verb", "unknown_parameter")),
    *[(_hi(**{field: [{"type": "custom", "name": "f", "url": "https://x"}]}),
       (400, f"{field}[0].type", "invalid_request"))
      for field in ("extra_tools", "tools")],
    (_hi(extra_tools=[{"name": "f", "url": "https://x", "method": "CALL"}]),
     (400, "extra_tools[0].method", "invalid_request")),
    (_hi(extra_tools=[{"name": "f", "url": "https://x", "toolAndVariablePath": {}, "tool_and_variable_path": {}}]),
     (400, "extra_tools[0].toolAndVariablePath", "contradictory")),
    *[(_hi(extra_tools=[{"name": "f", "url": "https://x", **wrong}]),
       (400, f"extra_tools[0].{next(iter(wrong))}", "invalid_request"))
      for wrong in (
          {"name": "has space"}, {"name": "x" * 65}, {"url": "nope"}, {"url": "file:///etc/passwd"}, {"url": "http:///a"},
          {"url": "http://x/a b"}, {"timeout_seconds": 0}, {"timeout_seconds": -1.5}, {"timeout_seconds": 1e9},
          {"headers": {"bad name": "x"}}, {"headers": {"x": "a\r\nb: c"}}, {"parameters": {"type": "string"}},
          {"parameters": {"type": 5}}, {"parameters": {"required": "city"}}, {"parameters": {"$ref": "#/nowhere"}},
          {"parameters": {"properties": {"n": {"type": "numbre"}}}},
      )],
    *[(_hi(**{field: [{"name": "f", "url": "https://x", **wrong}]}), (400, f"{field}[0].{where}", "invalid_request"))
      for field in ("extra_tools", "tools")
      for wrong, where in (
          ({"headers": {"a": "b", "x-leak": "{{secret:S1}}"}}, "headers.x-leak"),
          ({"headers": {"Host": "b.example"}}, "headers.Host"),
          ({"headers": {"x-leak": "Bearer {{ secret:tool_65f0c0ffee.authorization }}"}}, "headers.x-leak"),
          ({"url": "https://x/{{secret:S1}}"}, "url"),
      )],
    (_hi(extra_tools=[{"name": "f", "url": "https://x"}] * 2), (400, "extra_tools", "contradictory")),
    (_hi(tools=[{"name": "f", "url": "https://x"}], extra_tools=[{"name": "f", "url": "https://y"}]),
     (400, "extra_tools", "contradictory")),
    (_hi(tools=[5]), (400, "tools[0]", "invalid_request")),
    (_hi(tools=["weather", {"name": "bad name", "url": "https://x"}]), (400, "tools[1].name", "invalid_request")),
    (_hi(tools=["weather", {"name": "f", "url": "https://x"}, "news", {"url": "https://x"}]),
     (400, "tools[3].name", "missing_required_parameter")),
    (_hi(images=["ftp://x"]), (400, "images[0].url", "invalid_request")),
    (_hi(files=[{"name": "x"}]), (400, "files[0].url", "missing_required_parameter")),
    (_hi(user_urls=[5]), (400, "user_urls[0]", "invalid_request")),
    (_hi(is_playground="yes"), (400, "is_playground", "invalid_request")),
    (_hi(stream=1), (400, "stream", "invalid_request")),
]  # fmt: skip

MESSAGE = "msg_" + "a" * 24
OUTCOME = Outcome(
    text="It is sunny.",
    stop="stop",
    native_stop="end_turn",
    model="claude",
    usage=Usage(uncached_in=80, cache_read=20, out_text=40, out_reasoning=10),
    cost="0.0012",
    rounds=2,
    steps=(Step("call_1", "weather", {"city": "Oslo"}, "ok", "sunny", ms=12),),
    images=(Media("image", "image/png", data="aGk="), Media("image", url="https://example.org/a.png")),
    annotations=(Citation(url="https://example.org", title="Weather", start=0, end=5),),
    fallback=True,
    first_error="no capacity",
    missing=("name",),
    dropped=("top_k",),
    id="resp_1",
    conversation="conv_" + "c" * 24,
    thread="t",
    sub_thread="s",
    message=MESSAGE,
    answer="msg_" + "b" * 24,
)
REPLY: dict[str, Any] = {
    "success": True,
    "data": {
        "id": "resp_1",
        "content": "It is sunny.",
        "model": "claude",
        "role": "assistant",
        "finish_reason": "stop",
        "native_finish_reason": "end_turn",
        "tools_data": {
            "call_1": {
                "id": "call_1", "name": "weather", "arguments": {"city": "Oslo"}, "status": "ok", "result": "sunny",
                "error": "", "round": 1, "ms": 12,
            },
        },
        "images": ["data:image/png;base64,aGk=", "https://example.org/a.png"],
        "annotations": [{"url": "https://example.org", "title": "Weather", "start": 0, "end": 5}],
        "fallback": True,
        "firstAttemptError": "no capacity",
        "message_id": MESSAGE,
        "thread_id": "t",
        "sub_thread_id": "s",
        "missing_variables": ["name"],
        "dropped_parameters": ["top_k"],
    },
    "usage": {
        "input_tokens": 100, "output_tokens": 50, "total_tokens": 150, "cached_tokens": 20, "reasoning_tokens": 10,
        "cost": "0.0012",
    },
}  # fmt: skip

_limit = LimitReached("20 points of this thread are spent", code="metrix_limit_reached", retry_after=7.0)
_limit.limit = {"limit_type": "thread", "current_usage": 20, "limit_value": 20}
#: error -> body.
ERRORS: list[tuple[Any, dict[str, Any]]] = [
    (NotFound("no such agent: a"),
     {"success": False, "error": "no such agent: a", "code": "not_found", "message_id": None}),
    (BadRequest("user: needed", code="user_message_missing", param="user"),
     {"success": False, "error": "user: needed", "code": "user_message_missing", "message_id": None,
      "param": "user"}),
    (_limit,
     {"success": False, "error": "20 points of this thread are spent", "code": "metrix_limit_reached",
      "message_id": None, "limit_type": "thread", "current_usage": 20, "limit_value": 20}),
    (StoreDown("away"), {"success": False, "error": "away", "code": "store_unavailable", "message_id": None}),
]  # fmt: skip
