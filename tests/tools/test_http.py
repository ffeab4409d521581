from __future__ import annotations

import asyncio
import time
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from midstream.core.agents import Tool
from midstream.core.errors import BadRequest, MidstreamError
from midstream.core.http import Timeouts
from midstream.core.secret import Secret
from midstream.core.toolbox import ToolAnswer
from midstream.tools.http import Given, Http, Unfit, answer, request, write_headers, write_url, wrong_url
from midstream.tools.http import given as given_of

from .scripted import scope
from .web import Heard, Said, Web, door, http_tool, web

TOKEN = "canary-token-12345"


def ask(tool_of: Any, said: Any, arguments: dict[str, Any], **more: Any) -> tuple[ToolAnswer, Web]:
    """One call of tool_of(web) against a server that says `said`."""

    async def run() -> tuple[ToolAnswer, Web]:
        async with web(said) as there, door(there.host) as egress:
            scoped = scope(secrets={"TOKEN": Secret(TOKEN)})
            return await Http(egress.send).run(tool_of(there), arguments, scoped, "run_1:1:0", lambda text: None), there

    return asyncio.run(run())


def asked(arguments: dict[str, Any], path: str = "/x", **more: Any) -> Heard:
    result, there = ask(lambda w: http_tool(w.url + path, **more), Said({}), arguments)
    assert result.status == "ok", result.text
    [heard] = there.heard
    return heard


NAMES = {"type": "object", "properties": {"city": {}, "days": {}, "page": {}}}


def test_arguments_that_stand_nowhere_else_are_the_body_or_the_query_of_a_get():
    heard = asked({"city": "Oslo", "days": 2}, "/w/{city}")
    assert (heard.method, heard.target, heard.json) == ("POST", "/w/Oslo", {"days": 2})
    assert heard.headers["content-type"] == "application/json"
    heard = asked({"city": "Å/&", "days": [1, 2], "page": None}, method="GET")
    assert heard.target == "/x?city=%C3%85%2F%26&days=1&days=2"
    assert (heard.body, "idempotency-key" in heard.headers) == (b"", False)
    assert asked({"city": "Oslo"}, "/x?k=v", method="DELETE").target == "/x?k=v&city=Oslo"


def test_mappings_rename_nest_and_add_constants():
    body = {"city": "where.name", "until": "days", "fixed": 7, "note": "for {city} only", "deep": [{"p": "{page}"}]}
    heard = asked({"city": "Oslo", "days": 2}, parameters=NAMES, body=body, query={"v": "2"})
    assert heard.target == "/x?v=2"
    assert heard.json == {"where": {"name": "Oslo"}, "until": 2, "fixed": 7, "note": "for Oslo only", "deep": [{}]}
    assert asked({"city": "Oslo"}, parameters=NAMES, body={"kind": "a"}).json == {"city": "Oslo", "kind": "a"}
    assert asked({"city": "Oslo"}, parameters=NAMES, body={"page": "p"}, query={"city": "q"}).target == "/x?q=Oslo"
    heard = asked({"city": "a b", "days": 1}, headers={"Content-Type": "application/x-www-form-urlencoded"})
    assert heard.body == b"city=a+b&days=1"


def test_a_model_makes_no_argument_out_of_what_the_mapping_says_by_calling_one_so():
    body = {"city": "where", "role": "guest", "kind": "order", "note": "{tone}"}
    said = {"city": "Oslo", "role": "admin", "guest": "x", "order": "refund", "tone": "rude"}
    fixed = {"where": "Oslo", "role": "guest", "kind": "order", "note": "{tone}"}
    assert asked(said, parameters=NAMES, body=body).json == fixed
    assert asked({"role": "admin", "page": 1}, parameters=NAMES, body={"role": "guest"}).json == {
        "role": "guest", "page": 1,
    }  # fmt: skip
    assert asked({"v": "1", "2": "x"}, parameters=NAMES, method="GET", query={"v": "2"}).target == "/x?v=2&2=x"


def test_a_field_of_the_addresss_query_without_its_argument_is_left_out():
    assert asked({"city": "Oslo"}, "/x?q={city}&p={page}&k=1", method="GET").target == "/x?q=Oslo&k=1"


def test_headers_hold_secrets_and_the_key_of_the_call():
    heard = asked({}, headers={"Authorization": "Bearer {{secret:TOKEN}}", "X-Kind": "a"})
    assert heard.headers["authorization"] == f"Bearer {TOKEN}"
    assert (heard.headers["x-kind"], heard.headers["idempotency-key"]) == ("a", "run_1:1:0")


def test_a_secret_without_a_value_is_told_and_nothing_is_sent():
    result, there = ask(lambda w: http_tool(w.url, headers={"a": "{{secret:OTHER}}"}), Said({}), {})
    assert (result.status, there.connections) == ("failed", 0)
    assert "OTHER" in result.text


def test_no_secret_is_put_into_what_a_request_says_of_its_tool():
    named = "Bearer {{secret:TOKEN}}"
    result, there = ask(
        lambda w: replace(
            http_tool(w.url + "/x?a=%7B%7Bsecret:TOKEN%7D%7D", body={"b": named, "c": "{d}"}),
            headers={"x-leak": named},
        ),
        Said({}),
        {"d": named},
    )
    assert result.status == "ok", result.text
    assert there.heard[0].headers["x-leak"] == named
    assert TOKEN not in str(there.heard[0])


def test_a_tools_own_secret_is_for_no_other_tool():
    secrets = {"tool_1.authorization": TOKEN, "tool_2.authorization": TOKEN}
    assert write_headers({"A": "{{secret:tool_1.authorization}}"}, secrets, "tool_1")[0] == {"a": TOKEN}
    with pytest.raises(Unfit, match=r"tool_2\.authorization, which is another tool's own"):
        write_headers({"A": "{{secret:tool_2.authorization}}"}, secrets, "tool_1")


def test_a_secret_that_the_service_repeats_is_not_told():
    async def echo(heard: Heard) -> Said:
        return Said({"you": heard.headers["authorization"]})

    result, _ = ask(lambda w: http_tool(w.url, headers={"authorization": "Bearer {{secret:TOKEN}}"}), echo, {})
    assert result.text == '{"you":"Bearer ***"}'
    odd = 'pa"ss/w\\ord é'

    async def run() -> ToolAnswer:
        async with web(echo) as there, door(there.host) as egress:
            made, secrets = http_tool(there.url, headers={"authorization": "{{secret:ODD}}"}), {"ODD": Secret(odd)}
            return await Http(egress.send).run(made, {}, scope(secrets=secrets), "k", lambda text: None)

    async def failing(heard: Heard) -> Said:
        return Said({"you": heard.headers["authorization"]}, 500)

    assert (asyncio.run(run()).text, asyncio.run(run()).value) == ('{"you":"***"}', {"you": "***"})
    result, _ = ask(lambda w: http_tool(w.url, headers={"authorization": "Bearer {{secret:TOKEN}}"}), failing, {})
    assert result.text == 'the service answered with HTTP 500: {"you":"Bearer ***"}'
    mine = {"authorization": "Bearer my-own-key"}
    result, _ = ask(lambda w: replace(http_tool(w.url), headers=mine), echo, {})
    assert result.text == '{"you":"Bearer ***"}'


#: A header's text, what TOKEN is, and what a service may say of it.
PARTS = [
    ("Bearer {{secret:TOKEN}}", "w-123456", ["bad token w-123456", "Bearer w-123456"]),
    ("{{secret:TOKEN}}", "Bearer w-123456", ["bad token w-123456", "w-123456 is over"]),
    ("Token {{secret:TOKEN}}", "Bearer w-123456", ["bad token w-123456"]),
    ("{{secret:TOKEN}}", "Basic dXNlcjp3LTEyMzQ1Ng==", ["user:w-123456", "dXNlcjp3LTEyMzQ1Ng== is bad"]),
    ("Basic {{secret:TOKEN}}", "dXNlcjp3LTEyMzQ1Ng==", ["user:w-123456", "dXNlcjp3LTEyMzQ1Ng== is bad"]),
    ("{{secret:TOKEN}}", "  w-123456\t", ["bad token w-123456"]),
    ("{{secret:TOKEN}}", "tab\tw-123456", ["bad token tab\tw-123456"]),
]


@pytest.mark.parametrize(("text", "secret", "echoes"), PARTS)
@pytest.mark.parametrize("header", ["authorization", "X-Plain"])
def test_a_part_of_a_secret_that_the_service_repeats_is_not_told(
    header: str, text: str, secret: str, echoes: list[str]
):
    for echo in echoes:
        for status in (200, 403):
            for kind in ("application/json", "text/plain", "text/html", "application/json; charset=utf-16"):

                async def run(said: Said) -> ToolAnswer:
                    async with web(said) as there, door(there.host) as egress:
                        made, secrets = http_tool(there.url, headers={header: text}), {"TOKEN": Secret(secret)}
                        return await Http(egress.send).run(made, {}, scope(secrets=secrets), "k", lambda text: None)

                body = msgspec.json.encode({"error": echo}) if "json" in kind else echo.encode()
                body = body.decode().encode("utf-16") if "16" in kind else body
                result = asyncio.run(run(Said(body, status, {"content-type": kind})))
                told = f"{result.text} {result.value}"
                assert "***" in told, (kind, told)
                assert not any(part in told for part in ("123456", "dXNlc")), (kind, told)


@pytest.mark.parametrize("codec", ["utf-16", "utf-16-le", "utf-16-be", "utf-32", "koi8-r", "shift_jis", "utf-8"])
def test_a_secret_in_a_body_of_any_charset_is_not_told(codec: str):
    secrets = ("ключ-12345/x", TOKEN)
    for said in (f"{secrets[0]} and {TOKEN}", msgspec.json.encode({"a": secrets}).decode().replace("/", "\\/")):
        body = said.encode(codec)
        for kind in (
            f"text/plain; charset={codec}",
            f"application/json; charset={codec}",
            "text/plain",
            "application/json",
        ):
            for status in (200, 500):
                result = answer(status, kind, body, "", secrets)
                told = f"{result.text} {result.value}".replace("\0", "")
                assert TOKEN not in told, (kind, told)
                assert "-12345/x" not in told or "charset" not in kind, (kind, told)
    plain = answer(200, "text/plain", b"a\0b\0", "", secrets)
    assert plain.text == "a\0b\0"


def test_secrets_and_bodies_stay_with_their_host_when_it_redirects():
    async def run() -> None:
        async with web(Said({"ok": 1})) as other:
            moved = Said(b"", 302, {"location": f"http://localhost:{other.port}/there"})
            async with web(moved) as first:
                allowed = (first.host, other.host, f"localhost:{other.port}")
                async with door(*allowed) as egress:
                    one = http_tool(first.url, headers={"x-api-key": "{{secret:TOKEN}}"})
                    scoped = scope(secrets={"TOKEN": TOKEN})
                    result = await Http(egress.send).run(one, {"a": 1}, scoped, "k", lambda text: None)
                    assert result.status == "ok"
                    assert first.heard[0].headers["x-api-key"] == TOKEN
                    [heard] = other.heard
                    assert TOKEN not in str(heard)
                    assert "idempotency-key" not in heard.headers

    asyncio.run(run())


@pytest.mark.parametrize("effect, tries", [("pure", 3), ("idempotent", 3), ("unsafe", 1)])
@pytest.mark.parametrize("status", [429, 503])
def test_only_what_may_run_twice_is_tried_again_with_the_same_key(effect: str, tries: int, status: int):
    async def busy(heard: Heard) -> Said:
        return Said({}, status, {"retry-after": "0"}) if len(there) < 2 else Said({"ok": 1})

    there: list[Heard] = []

    async def handler(heard: Heard) -> Said:
        said = await busy(heard)
        there.append(heard)
        return said

    result, _ = ask(lambda w: http_tool(w.url, effect=effect, retries=2), handler, {"a": 1})
    assert len(there) == tries
    assert result.status == ("ok" if tries == 3 else "failed")
    assert {heard.headers["idempotency-key"] for heard in there} == {"run_1:1:0"}


@pytest.mark.parametrize(
    "after, date, least, most",
    [
        ("1", "", 1.0, 5.0),
        ("Wed, 21 Oct 2026 07:28:01 GMT", "Wed, 21 Oct 2026 07:28:00 GMT", 1.0, 5.0),
        ("Wed, 21 Oct 2026 07:27:00 GMT", "Wed, 21 Oct 2026 07:28:00 GMT", 0.0, 0.18),
        ("Wed, 21 Oct 2026 07:28:01 GMT", "", 0.2, 0.9),
        ("soon", "Wed, 21 Oct 2026 07:28:00 GMT", 0.2, 0.9),
    ],
)
def test_another_try_waits_as_long_as_the_service_says(after: str, date: str, least: float, most: float):
    times: list[float] = []

    async def busy(heard: Heard) -> Said:
        times.append(time.monotonic())
        head = {"retry-after": after, **({"date": date} if date else {})}
        return Said({}, 503, head) if len(times) < 2 else Said({"ok": 1})

    result, _ = ask(lambda w: http_tool(w.url, retries=1), busy, {})
    assert result.status == "ok"
    assert least - 0.01 <= times[1] - times[0] < most


@pytest.mark.parametrize("seconds, total", [(300.0, 300.0), (5.0, 5.0), (None, Timeouts().total)])
def test_a_tool_may_be_silent_for_all_the_time_that_it_has(seconds: float | None, total: float):
    tool = http_tool("https://x.example.org/", timeout_seconds=seconds)
    outgoing = request(tool.http, given_of(tool, {}), {}, "k", tool.timeout_seconds)
    timeouts = outgoing.timeouts
    assert (timeouts.first_byte, timeouts.between, timeouts.total) == (total, total, total)


def test_what_another_try_does_not_mend_is_not_tried_again():
    result, there = ask(lambda w: http_tool(w.url, retries=5), Said({"error": "no such city"}, 404), {})
    assert (result.status, result.error, len(there.heard)) == ("failed", "http_404", 1)
    assert "no such city" in result.text


@pytest.mark.parametrize(
    "kind, body, path, text, value",
    [
        ("application/json", b'{"a":{"b":[{"c":1},{"c":"x"}]}}', "a.b[1].c", "x", "x"),
        ("application/json; charset=utf-8", b'{"a":[1,2]}', "a", "[1,2]", [1, 2]),
        ("application/problem+json", b'{"a":1}', "", '{"a":1}', {"a": 1}),
        ("text/plain; charset=latin-1", b"caf\xe9", "", "caf\u00e9", None),
        ("text/plain; charset=nonsense", b"hi\xff", "", "hi\ufffd", None),
        ("text/plain", b'{"a":"b"}', "a", "b", "b"),
        ("application/json", b"not json", "", "not json", None),
        ("application/json", b'\xef\xbb\xbf{"a":"b"}', "a", "b", "b"),
        ("application/json; charset=iso-8859-1", b'{"a":"caf\xe9"}', "a", "caf\u00e9", "caf\u00e9"),
        ("application/json; charset=iso-8859-1", b"caf\xe9", "", "caf\u00e9", None),
        ("application/json", b'{"a":"caf\xe9"}', "", '{"a":"caf\ufffd"}', None),
        ("text/plain; charset=idna", b"hi", "", "hi", None),
        ("", b"words", "", "words", None),
        ("image/png", b"\x89PNG....", "", "[8 bytes of image/png, which is no text]", None),
    ],
)
def test_answers_are_read_by_their_type(kind: str, body: bytes, path: str, text: str, value: Any):
    assert answer(200, kind, body, path) == ToolAnswer("ok", text, value=value)


def test_an_answer_without_the_part_that_was_asked_for_is_a_failure_that_shows_it():
    result = answer(200, "application/json", b'{"a":{"b":1}}', "a.c")
    assert (result.status, result.error) == ("failed", "nothing_at_path")
    assert '{"a":{"b":1}}' in result.text
    assert answer(204, "", b"", "a").text == "done (HTTP 204, without content)"
    assert answer(200, "application/json", b"<p>", "a").error == "not_json"
    assert answer(200, "application/json", b'{"a":"caf\xe9"}', "a").error == "not_json"


def test_an_endless_answer_is_refused():
    result = None
    with pytest.raises(MidstreamError, match="larger than"):
        result, _ = ask(lambda w: http_tool(w.url), Said(b"x" * 5_000_000, 200, {"content-type": "text/plain"}), {})
    assert result is None


@pytest.mark.parametrize("value", ["..", ".", "%2e%2e", "", None])
def test_an_argument_cannot_climb_out_of_its_place_in_the_path(value: Any):
    if value == "%2e%2e":
        assert write_url("http://h.example/a/{id}/b", Given({"id": value}, {"id"}, set())).endswith("/a/%252e%252e/b")
        return
    with pytest.raises(Unfit):
        write_url("http://h.example/a/{id}/b", Given({"id": value}, {"id"}, set()))


@pytest.mark.parametrize(
    "url",
    ["ftp://h/x", "//h/x", "/x", "", "http:///x", "http://{host}/x", "http://h{x}/", "http://u:{p}@h/", "http://h/{x",
     "http://h/x}", "http://[::1/x", "file:///etc/passwd", "{scheme}://h/x"],
)  # fmt: skip
def test_an_address_that_cannot_be_filled_safely_is_named(url: str):
    assert wrong_url(url) is not None
    assert wrong_url("https://h.example/a/{id}?q={q}&{{z}}=1") is None


anything = st.text(st.characters(codec="utf-8"), min_size=1)


@settings(max_examples=300, deadline=None)
@given(anything, anything, anything)
def test_whatever_the_arguments_are_the_address_keeps_its_shape_and_gives_them_back(one: str, two: str, three: str):
    have = Given({"a": one, "b": two, "c": three}, set("abc"), set())
    try:
        url = write_url("https://h.example:8443/p/{a}/q-{b}/r?first={c}&second={a}", have)
    except Unfit:
        assert one in (".", "..")
        return
    split = urlsplit(url)
    assert (split.scheme, split.netloc, split.fragment) == ("https", "h.example:8443", "")
    assert url.isascii()
    segments = split.path.split("/")
    assert [unquote(segment) for segment in segments] == ["", "p", one, f"q-{two}", "r"]
    assert parse_qsl(split.query, keep_blank_values=True) == [("first", three), ("second", one)]
    assert have.used == {"a", "b", "c"}


CLOSED = [
    "127.0.0.1", "127.1", "0x7f000001", "2130706433", "0177.0.0.1", "localhost", "localhost.", "[::1]",
    "[::ffff:127.0.0.1]", "[::ffff:7f00:1]", "[64:ff9b::7f00:1]", "[2002:7f00:1::]", "0.0.0.0", "10.0.0.1",
    "169.254.169.254", "100.64.0.1", "192.168.0.1", "[fd00::1]", "[fe80::1]", "user@127.0.0.1", "rebound.example",
    "mixed.example",
]  # fmt: skip


async def rebound(host: str, port: int) -> list[str]:
    """A name server that is the attacker's."""
    if host == "mixed.example":
        return ["93.184.216.34", "127.0.0.1"]
    return ["127.0.0.1"]


@pytest.mark.parametrize("host", CLOSED)
def test_a_private_address_is_never_dialled_by_name_number_or_redirect(host: str):
    async def run() -> None:
        async with web(Said({})) as trap, door(resolver=rebound) as egress:
            kind = Http(egress.send)
            one = http_tool(f"http://{host}:{trap.port}/x", retries=2)
            with pytest.raises(BadRequest):
                await kind.run(one, {}, scope(), "k", lambda text: None)
            assert trap.connections == 0
        async with web(Said({})) as trap:
            moved = Said(b"", 307, {"location": f"http://{host}:{trap.port}/x"})
            async with web(moved) as first, door(first.host, resolver=rebound) as egress:
                with pytest.raises(BadRequest):
                    await Http(egress.send).run(http_tool(first.url), {}, scope(), "k", lambda text: None)
                assert (first.connections, trap.connections) == (1, 0)

    asyncio.run(run())


def test_a_tool_without_an_address_is_told():
    async def run() -> ToolAnswer:
        async with door() as egress:
            return await Http(egress.send).run(Tool(id="t", name="t"), {}, scope(), "k", lambda text: None)

    assert asyncio.run(run()).error == "tool_broken"


def test_an_answer_nested_without_end_is_told_as_it_came_or_as_what_it_is():
    for depth in (300, *range(800, 1000), 3000):
        text = '{"a":' * depth + "1" + "}" * depth
        told = answer(200, "application/json", text.encode(), "")
        assert told.text in (text, "[a value that is nested too deeply to be told]"), depth
