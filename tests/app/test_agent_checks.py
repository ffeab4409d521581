"""What publishing refuses: all that is wrong with a version, and with what it names."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from midstream.core.ids import as_uuid

from .agent_things import agent, http_tool, made, post, published
from .asgi import Here, here

_WRONG = {"creativity_level": "hot", "max_tokens": 0, "response_type": "xml", "tool_call_count": "3"}
_WORSE = {
    "model": "", "tool_choice": 5, "tone": {}, "type": "vision", "template_id": 5, "fall_back": {"modle": "x"},
    "stop": 5, "temperature": 1, "creativity_level": 2, "guardrails": {"input": {"patterns": ["("]}},
    "response_type": "json_schema", "json_schema": {"type": 5},
}  # fmt: skip
_TOLD = [
    "model", "tool_choice", "tone", "type", "template_id", "fall_back.modle", "stop", "creativity_level",
    "guardrails.input.patterns.0", "response_type",
]  # fmt: skip


async def refusals(app: Here, agent_id: str, version_id: str) -> list[tuple[str, str]]:
    """(path, message) of all that publishing is refused with."""
    reply = await post(app, f"/agents/{agent_id}/publish", {"version_id": version_id})
    assert reply.status == 400, reply.body
    return [(one["path"], one["message"]) for one in reply.json["problems"]]


async def tool_of(app: Here, name: str, kind: str, target: Any) -> str:
    return str((await made(app, "/tools", {"name": name, "kind": kind, kind: target}))["id"])


def test_what_a_tool_names_and_there_is_not_is_told_before_it_is_published(tmp_path: Path):
    async def test(app: Here) -> None:
        draft, friend = await agent(app, "draft"), await published(app, "friend")
        wrong: list[tuple[str, Any, list[str]]] = [
            ("agent", {"agent_id": "agt_gone"}, ["no such agent: agt_gone"]),
            ("agent", {"agent_id": draft["id"]}, ["the agent draft is not published"]),
            ("agent", {"agent_id": friend["id"], "version_id": "ver_gone"}, ["no such version: ver_gone"]),
            ("builtin", {"name": "nonsense"}, ["no such built-in tool: nonsense; known: "]),
            ("mcp", {"server": "nope", "tool": "t"}, ["no such MCP server: nope"]),
            ("knowledge", {"document_ids": ["doc_1", "doc_2"]}, ["no such document: doc_1", "no such document: doc_2"]),
            ("http", {"url": "https://x.org", "headers": {"a": "{{secret:NOPE}}", "b": "{{ secret:NIX }}"}},
             ["no such secret: NOPE", "no such secret: NIX"]),
        ]  # fmt: skip
        ids = [await tool_of(app, f"t{place}", kind, target) for place, (kind, target, _) in enumerate(wrong)]
        args = [{"queries": ["q"]} if kind == "knowledge" else {} for kind, _, _ in wrong]
        pre = [{"tool_id": id, "args": one} for id, one in zip(ids, args, strict=True)]
        one = await agent(app, tool_ids=ids, pre_tools=pre)
        told = await refusals(app, one["id"], one["version_id"])
        for place, (_, _, messages) in enumerate(wrong):
            for path in (f"tool_ids.{place}", f"pre_tools.{place}.tool_id"):
                found = [message for where, message in told if where == path]
                for message, expected in zip(found, messages, strict=True):
                    assert message.startswith(f"the tool t{place}: {expected}")
        assert len(told) == 2 * sum(len(messages) for _, _, messages in wrong)

    here(tmp_path, test)


def test_tools_of_every_kind_that_name_what_there_is_are_published(tmp_path: Path):
    async def test(app: Here) -> None:
        friend = await published(app, "friend")
        server = (await made(app, "/mcp_servers", {"name": "wiki", "url": "https://mcp.example.org"}))["id"]
        document = (await made(app, "/documents", {"name": "d", "text": "x"}))["id"]
        await made(app, "/secrets", {"name": "ORG", "value": "o"})
        targets: list[tuple[str, Any]] = [
            ("agent", {"agent_id": as_uuid(friend["id"]), "version_id": as_uuid(friend["version_id"])}),
            ("agent", {"agent_id": friend["id"]}), ("builtin", {"name": "web_search"}),
            ("mcp", {"server": server, "tool": "t"}), ("mcp", {"server": "wiki", "tool": "t"}),
            ("knowledge", {"document_ids": [document]}),
            ("http", {"url": "https://x.org", "headers": {"authorization": "Bearer x", "b": "{{secret:ORG}}"}}),
        ]  # fmt: skip
        await published(app, tool_ids=[await tool_of(app, f"t{n}", *one) for n, one in enumerate(targets)])

    here(tmp_path, test)


def test_an_agent_may_be_named_by_its_slug_and_a_circle_of_slugs_is_not_published(tmp_path: Path):
    async def test(app: Here) -> None:
        one = await published(app, "one")
        two = await published(app, "two", connected_agents={"one": {"agent_id": "one"}})
        ask = await tool_of(app, "ask", "agent", {"agent_id": "two"})
        three = await published(app, "three", tool_ids=[ask], pre_tools=[{"tool_id": ask, "args": {}}])
        path = f"/agents/{one['id']}/versions"
        named = {"three": {"agent_id": "three", "version_id": three["version_id"]}}
        for more in ({"connected_agents": named}, {"connected_agents": {"three": {"agent_id": "three"}}}):
            draft = await made(app, path, more)
            [(where, message)] = await refusals(app, one["id"], draft["id"])
            ring = " -> ".join([one["id"], "three", "two", one["id"]])
            assert (where, message.rpartition(": ")[2]) == ("connected_agents.three", ring)
        gone = await made(app, path, {"connected_agents": {"x": {"agent_id": "nobody"}}})
        assert await refusals(app, one["id"], gone["id"]) == [("connected_agents.x.agent_id", "no such agent: nobody")]
        await agent(app, "draft")
        unpublished = await made(app, path, {"connected_agents": {"x": {"agent_id": "draft"}}})
        [(_, message)] = await refusals(app, one["id"], unpublished["id"])
        assert message == "the agent draft is not published"
        assert two["slug"] == "two"

    here(tmp_path, test)


def test_a_circle_of_agents_that_goes_through_a_tool_is_not_published(tmp_path: Path):
    async def test(app: Here) -> None:
        one = await published(app, "one")
        path = f"/agents/{one['id']}/versions"
        itself = await made(app, path, {"tool_ids": [await tool_of(app, "me", "agent", {"agent_id": one["id"]})]})
        [(where, message)] = await refusals(app, one["id"], itself["id"])
        assert (where, message.rpartition(": ")[2]) == ("tool_ids.0", f"{one['id']} -> {one['id']}")

        two = await published(app, "two", connected_agents={"one": {"agent_id": one["id"]}})
        by_tool = await made(app, path, {"tool_ids": [await tool_of(app, "ask", "agent", {"agent_id": two["id"]})]})
        [(where, message)] = await refusals(app, one["id"], by_tool["id"])
        assert (where, message.rpartition(": ")[2]) == ("tool_ids.0", f"{one['id']} -> {two['id']} -> {one['id']}")

        back = await tool_of(app, "back", "agent", {"agent_id": one["id"]})
        three = await published(app, "three", tool_ids=[back])
        four = await agent(app, "four", pre_tools=[{"tool_id": back, "args": {}}])
        connected = {
            "three": {"agent_id": three["id"]},
            "four": {"agent_id": four["id"], "version_id": four["version_id"]},
        }
        both = await made(app, path, {"tool_ids": [], "connected_agents": connected})
        told = await refusals(app, one["id"], both["id"])
        assert [where for where, _ in told] == ["connected_agents.three", "connected_agents.four"]

    here(tmp_path, test)


_DAYS = {
    "$defs": {"few": {"type": "integer", "maximum": 7}},
    "type": "object",
    "properties": {
        "city": {"type": "string"}, "days": {"$ref": "#/$defs/few"}, "key": {"type": "string"},
        "tags": {"type": "array", "items": {"type": "string"}}, "unit": {"enum": ["C", "F"]},
    },
    "required": ["city", "days"],
    "allOf": [{"required": ["tags"]}],
}  # fmt: skip


def test_a_constant_of_a_pre_tool_that_its_schema_does_not_take_is_told_before_it_is_published(tmp_path: Path):
    async def test(app: Here) -> None:
        http = {"url": "https://x.org"}
        tool = (await made(app, "/tools", {"name": "ahead", "parameters": _DAYS, "http": http}))["id"]
        loose = {"type": "object", "additionalProperties": {"type": "integer"}}
        other = (await made(app, "/tools", {"name": "loose", "parameters": loose, "http": http}))["id"]
        wrong: list[tuple[str, dict[str, Any]]] = [
            (tool, {"city": 5, "days": 9, "tags": ["a", 1], "unit": None}),
            (tool, {"city": "Bonn", "days": "3"}),
            (other, {"n": "x"}),
        ]
        right: list[tuple[str, dict[str, Any]]] = [
            (tool, {"city": "Bonn", "days": 3, "tags": ["a"], "unit": "C"}),
            (tool, {"city": "{{where}}", "days": "{{days}}", "tags": ["{{tag}}", 1], "key": 5}),
            (other, {"n": 1, "m": "{{m}}"}),
        ]
        mapped = {"ahead": {"key": "user.key"}}
        pre_tools = [{"tool_id": id, "args": args} for id, args in (*wrong, *right)]
        one = await agent(app, pre_tools=pre_tools, variables_path=mapped)
        assert await refusals(app, one["id"], one["version_id"]) == [
            ("pre_tools.0.args.city", "the tool ahead does not take this: city: 5 is not of type 'string'"),
            ("pre_tools.0.args.days", "the tool ahead does not take this: days: 9 is greater than the maximum of 7"),
            ("pre_tools.0.args.tags", "the tool ahead does not take this: tags.1: 1 is not of type 'string'"),
            ("pre_tools.0.args.unit", "the tool ahead does not take this: unit: None is not one of ['C', 'F']"),
            ("pre_tools.1.args.days", "the tool ahead does not take this: days: '3' is not of type 'integer'"),
            ("pre_tools.2.args.n", "the tool loose does not take this: n: 'x' is not of type 'integer'"),
        ]
        fit = [{"tool_id": id, "args": args} for id, args in right]
        await published(app, "fit", pre_tools=fit, variables_path=mapped)

    here(tmp_path, test)


@pytest.mark.parametrize(
    "kind, configuration, paths",
    [
        ("chat", _WRONG, [*_WRONG]),
        ("chat", _WORSE, _TOLD),
        ("chat", {"model": "", "seed": "x"}, ["model", "seed"]),
        ("embedding", {"dimensions": 0, "encoding_format": "x"}, ["dimensions", "encoding_format"]),
    ],
)
def test_every_wrong_value_of_a_configuration_is_told_at_once(
    tmp_path: Path, kind: str, configuration: dict[str, Any], paths: list[str]
):
    async def test(app: Here) -> None:
        one = await agent(app, type=kind, configuration={"model": "rehearsal", **configuration})
        told = [path for path, _ in await refusals(app, one["id"], one["version_id"])]
        assert sorted(told) == sorted(f"configuration.{path}" for path in paths)

    here(tmp_path, test)


@pytest.mark.parametrize("choice", ["nosuch", {"type": "function", "function": {"name": "nosuch"}}])
def test_a_tool_that_must_be_called_and_is_none_of_the_agents_is_not_published(tmp_path: Path, choice: Any):
    async def test(app: Here) -> None:
        one = await agent(
            app, tool_ids=[await http_tool(app)], configuration={"model": "rehearsal", "tool_choice": choice}
        )
        told = await refusals(app, one["id"], one["version_id"])
        why = "no such tool: nosuch; one that a request brings is chosen by that request"
        assert told == [("configuration.tool_choice", why)]

    here(tmp_path, test)


def test_every_tool_that_an_agent_has_may_be_the_one_that_must_be_called(tmp_path: Path):
    async def test(app: Here) -> None:
        friend, weather = await published(app, "friend"), await http_tool(app)
        document = (await made(app, "/documents", {"name": "d", "text": "x"}))["id"]
        await made(app, "/mcp_servers", {"name": "wiki", "url": "https://mcp.example.org"})
        has: dict[str, dict[str, Any]] = {
            "weather": {"tool_ids": [weather]}, weather: {"tool_ids": [weather]}, "required": {"tool_ids": [weather]},
            "ask": {"connected_agents": {"ask": {"agent_id": friend["id"]}}}, "scrape": {"built_in_tools": ["scrape"]},
            "search_documents": {"doc_ids": [document]}, "page": {"mcp_servers": ["wiki"]}, "none": {},
        }  # fmt: skip
        for choice, fields in has.items():
            await published(app, configuration={"model": "rehearsal", "tool_choice": choice}, **fields)

    here(tmp_path, test)
