"""Attachments that cannot be had, read or sent, on a real server: they cost their own turn at most."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from typing import Any

import pytest

from .agents_at import Agents
from .conftest import TOML
from .serving import Serving
from .tool_server import ToolServer
from .upstream import Asked, Said, Upstream, whole

URL = "/api/v2/model/chat/completion"
AUDIO = "data:audio/mpeg;base64,AAAA"
VIDEO = "data:video/mp4;base64,AAAA"
LATIN = "data:text/plain;base64," + base64.b64encode("né".encode("latin-1")).decode()
PDF = "data:application/pdf;base64,AAAA"
PRIVATE = "http://10.1.1.1/a.mp3"
PNG = "data:image/png;base64,AAAA"
GEMINI = {"candidates": [{"content": {"role": "model", "parts": [{"text": "ok"}]}, "finishReason": "STOP"}]}
CHAT = {"choices": [{"index": 0, "message": {"role": "assistant", "content": "ok"}, "finish_reason": "stop"}]}
MESSAGE = {
    "id": "msg_1", "type": "message", "role": "assistant", "model": "x", "content": [{"type": "text", "text": "ok"}],
    "stop_reason": "end_turn", "usage": {"input_tokens": 1, "output_tokens": 1},
}  # fmt: skip
ITEM = {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "ok", "annotations": []}]}
RESPONSE = {
    "id": "resp_1", "object": "response", "status": "completed", "model": "x", "output": [{**ITEM, "id": "msg_1"}],
    "usage": {"input_tokens": 1, "output_tokens": 1, "total_tokens": 2},
}  # fmt: skip
#: A service of each format.
SERVICES = ("ai", "claude", "flash", "answers")


class Service:
    """One of every format, and a place of files beside them. dead: whether the files are still there."""

    def __init__(self) -> None:
        self.dead = False

    def __call__(self, asked: Asked) -> Said:
        path = asked.path
        if path.startswith("/files"):
            return Said((), 404) if self.dead else Said((b"of a link",), content_type="application/octet-stream")
        body = asked.json
        pictures = (b'"image_url"', b'"image"', b"inlineData", b"input_image")
        model = body.get("model", path)
        if "refusing" in model and any(word in asked.body for word in pictures):
            return whole({"error": {"message": "no such picture", "code": 400}, "type": "error"}, 400)
        if "broken" in model:
            return whole({"error": {"message": "broken", "status": "INTERNAL"}}, 500)
        if "calls" in path and "functionResponse" not in asked.body.decode():
            call = {"functionCall": {"name": "weather", "args": {"city": "Rome"}}}
            return whole({"candidates": [{"content": {"role": "model", "parts": [call]}, "finishReason": "STOP"}]})
        answers = {"/v1/chat/completions": CHAT, "/v1/messages": MESSAGE, "/v1/responses": RESPONSE}
        return whole(answers.get(path, GEMINI))


@pytest.fixture(scope="module")
def service() -> Service:
    return Service()


@pytest.fixture(scope="module")
def upstream(service: Service) -> Iterator[Upstream]:
    with Upstream(service) as running:
        yield running


@pytest.fixture(scope="module")
def serving(upstream: Upstream, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    with ToolServer() as tools:
        toml = (
            TOML.format(url=upstream.url)
            + f'[egress]\nallow = ["127.0.0.1:{upstream.port}", "127.0.0.1:{tools.port}"]\n'
        )
        toml += f'[providers.ai]\nkind = "openai"\nbase_url = "{upstream.url}/v1"\napi_key = "sk"\n'
        toml += f'[providers.small]\nkind = "mistral"\nbase_url = "{upstream.url}/v1"\napi_key = "sk"\n'
        toml += f'[providers.fast]\nkind = "groq"\nbase_url = "{upstream.url}/v1"\napi_key = "sk"\n'
        toml += '[models.either]\ntargets = ["fast/x", "ai/z"]\n'
        with Serving(tmp_path_factory.mktemp("media"), toml) as running:
            Agents(running).tool("weather", tools.url + "/weather")
            yield running


@pytest.fixture(scope="module")
def agents(serving: Serving) -> Agents:
    return Agents(serving)


@pytest.fixture(autouse=True)
def alive(service: Service) -> None:
    service.dead = False


def ask(serving: Serving, **body: Any) -> Any:
    reply = serving.ask("POST", URL, {"model": "x", "configuration": {"max_tokens": 99}, **body})
    return {"status": reply.status, **reply.json}


def asked(upstream: Upstream) -> list[Asked]:
    """Of models."""
    return [one for one in upstream.asked if not one.path.startswith("/files")]


def fetched(upstream: Upstream) -> int:
    return sum(one.path.startswith("/files") for one in upstream.asked)


@pytest.mark.parametrize("url", [AUDIO, VIDEO, LATIN, PRIVATE, "/files/a.mp3", "data:application/zip;base64,AAAA"])
@pytest.mark.parametrize("name", SERVICES)
def test_an_attachment_that_cannot_be_had_read_or_sent_costs_its_own_turn_at_most(
    serving: Serving, upstream: Upstream, service: Service, name: str, url: str
):
    thread = f"{name} {url}"
    service.dead = True
    place = upstream.url + url if url.startswith("/") else url
    first = ask(serving, service=name, user="Look.", user_urls=[place], thread_id=thread)
    if first["status"] != 200:
        assert (first["status"], first["param"]) == (400, "user_urls[0]")
    for _ in range(2):
        later = ask(serving, service=name, user="Hello", thread_id=thread)
        assert later["status"] == 200, later
    body = asked(upstream)[-1].body.decode()
    # A private address is refused before its message is kept.
    assert ("Look." in body) == (first["status"] == 200 or first["message_id"] is not None) == (url != PRIVATE)
    if "you cannot read what stands here" in body:
        [lost] = later["data"]["dropped_parameters"]
        assert lost in ("messages.audio", "messages.video", "messages.file")


def test_what_one_service_has_read_does_not_stop_another(serving: Serving, upstream: Upstream):
    assert ask(serving, service="flash", user="Hear.", user_urls=[AUDIO], thread_id="handed on")["status"] == 200
    later = ask(serving, service="claude", user="And?", thread_id="handed on")
    assert later["data"]["dropped_parameters"] == ["messages.audio"]
    again = ask(serving, service="flash", user="And?", thread_id="handed on")
    assert again["data"]["dropped_parameters"] == []
    assert b'"audio/mpeg"' in asked(upstream)[-1].body


@pytest.mark.parametrize("name", SERVICES)
def test_a_picture_that_a_service_refuses_is_words_in_later_turns(serving: Serving, upstream: Upstream, name: str):
    said = {"service": name, "model": "refusing", "thread_id": f"refused {name}"}
    assert ask(serving, user="See.", images=[PNG], **said)["status"] == 400
    assert len(asked(upstream)) == 1
    later = ask(serving, user="Hello", **said)
    assert later["data"]["content"] == "ok"
    assert later["data"]["dropped_parameters"] == ["messages.image"]
    assert len(asked(upstream)) == 3  # with the picture, and without


def test_a_stored_conversation_of_an_official_format_goes_on_after_a_picture_that_is_refused(
    serving: Serving, upstream: Upstream
):
    def chat(content: Any, conversation: str | None = None) -> Any:
        body = {
            "model": "ai/refusing",
            "messages": [{"role": "user", "content": content}],
            "conversation": conversation or {},
        }
        return serving.ask("POST", "/v1/chat/completions", body)

    picture = [{"type": "text", "text": "See."}, {"type": "image_url", "image_url": {"url": PNG}}]
    first = chat("Good morning")
    id = first.headers["x-conversation-id"]
    assert chat(picture, id).status == 400
    later = chat("Hello", id)
    assert later.status == 200
    assert later.headers["x-midstream-dropped-params"] == "messages.image"
    assert chat(picture, id).status == 400  # what its caller sends is never left out


@pytest.mark.parametrize("name, url", [("small", VIDEO), ("ai", VIDEO), ("answers", VIDEO), ("up", LATIN)])
def test_what_would_be_asked_of_nothing_is_refused_and_not_sent(
    serving: Serving, agents: Agents, upstream: Upstream, name: str, url: str
):
    agent = agents.agent(service=name, configuration={"model": "x", "prompt": "Be brief."})
    for more in ({"service": name}, {"agent_id": agent}):
        reply = ask(serving, user_urls=[url], **more)
        code = "invalid_media" if url == LATIN else "unsupported_media"
        assert (reply["status"], reply["code"], reply["param"]) == (400, code, "user_urls[0]"), reply
    assert upstream.asked == []


@pytest.mark.parametrize(
    "name, url", [("small", VIDEO), ("ai", VIDEO), ("answers", VIDEO), ("up", LATIN), ("fast", PDF)]
)
def test_an_attachment_that_cannot_be_sent_is_not_left_out_though_other_things_are_said(
    serving: Serving, agents: Agents, upstream: Upstream, name: str, url: str
):
    agent = agents.agent(service=name, configuration={"model": "x"})
    said = {"agentId": agent, "message": "Look.", "stream": False, "attachments": [{"url": PNG}, {"url": url}]}
    messages = [{"role": "user", "content": [{"type": "text", "text": "Look."}, {"type": "file", "url": url}]}]
    transcript = {"model": f"{name}/x", "messages": messages}
    v2 = {"service": name, "model": "x", "user": "Look.", "user_urls": [url]}
    for path, body, place in (
        ("/api/v1/conversation", said, "attachments[1]"),
        (URL, v2, "user_urls[0]"),
        ("/api/v1/agent/run", {**transcript, "stream": False}, "messages[0]"),
        ("/api/v1/completions", transcript, "messages[0]"),
    ):
        reply = serving.ask("POST", path, body)
        assert reply.status == 400, (path, reply.body)
        assert f"{place}: " in reply.body.decode()
        assert any(code in reply.body for code in (b"unsupported_media", b"invalid_media"))
    assert upstream.asked == []


def test_what_a_client_of_an_official_format_sends_and_its_provider_cannot_be_is_left_out_and_named(
    serving: Serving, upstream: Upstream
):
    document = {"type": "document", "source": {"type": "base64", "media_type": "application/pdf", "data": "AAAA"}}
    content = [document, {"type": "text", "text": "Look."}]
    body = {"model": "fast/x", "max_tokens": 9, "messages": [{"role": "user", "content": content}]}
    reply = serving.ask("POST", "/v1/messages", body)
    assert (reply.status, reply.headers["x-midstream-dropped-params"]) == (200, "file")


def test_another_one_that_can_be_sent_it_answers_in_the_place_of_one_that_cannot(serving: Serving, upstream: Upstream):
    spare = {"fall_back": {"service": "ai", "model": "y"}}
    reply = ask(serving, service="fast", user="Look.", files=[PDF], configuration=spare)
    assert (reply["status"], reply["data"]["model"], reply["data"]["fallback"]) == (200, "y", True)
    assert "files[0]: this provider cannot be sent this file" in reply["data"]["firstAttemptError"]
    [asked_of] = asked(upstream)
    assert asked_of.json["model"] == "y"
    messages = [{"role": "user", "content": [{"type": "file", "url": PDF}, {"type": "text", "text": "Look."}]}]
    assert serving.ask("POST", "/api/v1/completions", {"model": "either", "messages": messages}).status == 200
    assert asked(upstream)[-1].json["model"] == "z"


def test_a_text_by_link_is_sent_as_text_to_a_service_that_takes_no_files(serving: Serving, upstream: Upstream):
    for link in ("/files/notes.txt", "/files/notes"):
        upstream.asked.clear()
        reply = ask(serving, service="fast", user="Read.", files=[upstream.url + link])
        told = asked(upstream)[-1].body if asked(upstream) else b""
        if link.endswith(".txt"):
            assert reply["status"] == 200, reply
            assert b"of a link" in told
        else:  # nobody says that it is a text
            assert (reply["status"], reply["param"]) == (400, "files[0]")


def test_a_fallback_that_cannot_be_asked_does_not_hide_why_the_model_failed(serving: Serving, upstream: Upstream):
    spare = {"fall_back": {"service": "claude", "model": "x"}}
    reply = ask(serving, service="flash", model="broken", user="Hear.", user_urls=[AUDIO], configuration=spare)
    assert reply["status"] in (500, 502)
    assert "broken" in reply["error"]
    assert all("broken" in one.path for one in upstream.asked)


def test_a_link_is_fetched_once_in_a_thread_and_may_die_then(serving: Serving, upstream: Upstream, service: Service):
    link = upstream.url + "/files/notes.docx?sig=1"
    said = {"service": "flash", "thread_id": "links", "user": "Read."}
    assert ask(serving, files=[link], **said)["status"] == 200
    service.dead = True
    for name in ("flash", "ai"):
        later = ask(serving, **{**said, "service": name})
        assert later["data"]["dropped_parameters"] == []
        assert base64.b64encode(b"of a link") in asked(upstream)[-1].body
    assert fetched(upstream) == 1
    assert ask(serving, files=[link], **{**said, "thread_id": "of others"})["code"] == "media_not_found"


def test_a_link_that_dies_between_the_rounds_of_a_turn_does_not_fail_it(
    serving: Serving, upstream: Upstream, service: Service
):
    def once(told: Asked) -> Said:
        said = service(told)
        service.dead = service.dead or told.path.startswith("/files")
        return said

    upstream.answer = once
    try:
        link = upstream.url + "/files/round.pdf"
        reply = ask(serving, service="flash", model="calls", user="Rome?", files=[link], tools=["weather"])
    finally:
        upstream.answer = service
    assert reply["status"] == 200, reply
    assert len(asked(upstream)) == 2
    assert fetched(upstream) == 1


def test_a_file_by_link_is_of_the_type_that_its_name_says_where_its_server_says_none(
    serving: Serving, upstream: Upstream
):
    word = "application/vnd.openxmlformats-officedocument.wordprocessingml.document"
    for link in ("/files/a.docx?x=1", {"url": upstream.url + "/files/download", "name": "a.docx"}):
        place = upstream.url + link if isinstance(link, str) else link
        assert ask(serving, service="flash", user="Read.", files=[place])["status"] == 200
        assert f'"mimeType":"{word}"' in asked(upstream)[-1].body.decode()


def test_a_file_stays_no_danger_when_its_message_is_cut_off(serving: Serving, agents: Agents, upstream: Upstream):
    agent = agents.agent(
        service="claude",
        configuration={"model": "x"},
        settings={"history_messages": 2, "fall_back": {"is_enable": False}},
    )
    said = {"agent_id": agent, "model": None, "thread_id": "cut off"}
    assert ask(serving, user="Read.", files=[LATIN], **said)["param"] == "files[0]"
    for _ in range(3):
        assert ask(serving, user="Hello", **said)["status"] == 200
    assert "you cannot read what stands here" in asked(upstream)[-1].body.decode()
    assert "Read." not in asked(upstream)[-1].body.decode()
    again = ask(serving, user="Once more.", files=[LATIN], **said)
    assert (again["status"], again["param"]) == (400, "files[0]")
