"""What is attached, as models are shown it: media by address where a service cannot fetch them itself, documents."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

from .agents_at import Agents
from .conftest import TOML
from .serving import Serving
from .upstream import Asked, Said, Upstream, whole

PNG = b"\x89PNG\r\n\x1a\n" + b"0" * 64
ANSWER = {"candidates": [{"content": {"role": "model", "parts": [{"text": "a cat"}]}, "finishReason": "STOP"}]}

CHAT = {"choices": [{"index": 0, "message": {"role": "assistant", "content": "a cat"}, "finish_reason": "stop"}]}
MESSAGE = {
    "id": "msg_1", "type": "message", "role": "assistant", "model": "x", "content": [{"type": "text", "text": "a cat"}],
    "stop_reason": "end_turn", "usage": {"input_tokens": 1, "output_tokens": 1},
}  # fmt: skip
ANSWERS = {"/v1/chat/completions": CHAT, "/v1/messages": MESSAGE}


def _answer(asked: Asked) -> Said:
    if asked.path.startswith("/picture"):
        return Said((PNG,), content_type="text/html")
    if asked.path.startswith("/notes"):
        return Said((b"Of a link.",), content_type="application/octet-stream")
    return whole(ANSWERS.get(asked.path, ANSWER))


def _ask(serving: Serving, url: str) -> int:
    content = [{"type": "text", "text": "what?"}, {"type": "image_url", "image_url": {"url": url}}]
    body = {"model": "flash/gemini-x", "messages": [{"role": "user", "content": content}]}
    return serving.ask("POST", "/v1/chat/completions", body).status


def test_an_image_is_fetched_and_inlined_by_what_it_is_not_by_what_is_claimed(tmp_path: Path):
    with Upstream(_answer) as upstream:
        toml = TOML.format(url=upstream.url) + f'[egress]\nallow = ["127.0.0.1:{upstream.port}"]\n'
        with Serving(tmp_path, toml) as serving:
            assert _ask(serving, upstream.url + "/picture.png?signature=secret") == 200
        sent = upstream.asked[-1].json["contents"][0]["parts"][1]["inlineData"]
        assert sent == {"mimeType": "image/png", "data": base64.b64encode(PNG).decode()}
        assert all("goog" not in name for name in upstream.asked[0].headers)


def _sent(serving: Serving, upstream: Upstream, service: str, url: str) -> list[Any]:
    """What an agent's model is sent of a link of which nothing is said."""
    body = {"service": service, "model": "x", "user": "what?", "user_urls": [url]}
    reply = serving.ask("POST", "/api/v2/model/chat/completion", {**body, "configuration": {"max_tokens": 9}})
    assert reply.status == 200, reply.body
    asked = upstream.asked[-1].json
    said = asked["contents"] if "contents" in asked else asked["messages"]
    parts: list[Any] = said[-1]["parts" if "contents" in asked else "content"]
    return parts[:-1]


def test_a_link_of_which_nothing_is_said_is_sent_as_what_it_is(tmp_path: Path):
    png = base64.b64encode(PNG).decode()
    with Upstream(_answer) as upstream:
        toml = TOML.format(url=upstream.url) + f'[egress]\nallow = ["127.0.0.1:{upstream.port}"]\n'
        toml += f'[providers.ai]\nkind = "openai"\nbase_url = "{upstream.url}/v1"\napi_key = "sk"\n'
        with Serving(tmp_path, toml) as serving:
            named, unnamed = upstream.url + "/picture.PNG?x=.pdf", upstream.url + "/picture"
            # by its name
            assert _sent(serving, upstream, "ai", named) == [{"type": "image_url", "image_url": {"url": named}}]
            source = {"type": "url", "url": named}
            assert _sent(serving, upstream, "claude", named) == [{"type": "image", "source": source}]
            # by what stands there, where that is fetched
            inlined = {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{png}"}}
            assert _sent(serving, upstream, "ai", unnamed) == [inlined]
            [part] = _sent(serving, upstream, "flash", unnamed)
            assert part == {"inlineData": {"mimeType": "image/png", "data": png}}
            # a text whose server says nothing of it
            assert _sent(serving, upstream, "ai", upstream.url + "/notes.txt") == [
                {"type": "text", "text": "Of a link."}
            ]
            [block] = _sent(serving, upstream, "claude", upstream.url + "/notes.txt")
            assert block["source"] == {"type": "text", "media_type": "text/plain", "data": "Of a link."}


def test_an_image_at_a_private_address_is_refused_and_nothing_is_dialled(serving: Serving, upstream: Upstream):
    assert _ask(serving, upstream.url + "/picture.png") == 400
    assert not upstream.asked


def test_a_private_address_is_not_handed_on_to_a_service_that_fetches_media_itself(tmp_path: Path):
    private = (
        "http://127.0.0.1:9/a.png",
        "https://10.1.2.3/a.png",
        "http://[::1]/a.png",
        "http://169.254.169.254/a.png",
    )
    with Upstream(_answer) as upstream:
        toml = f'[egress]\nallow = ["127.0.0.1:{upstream.port}"]\n'
        toml += f'[providers.ai]\nkind = "openai"\nbase_url = "{upstream.url}/v1"\napi_key = "sk"\n'
        with Serving(tmp_path, toml) as serving:
            v2, turn = "/api/v2/model/chat/completion", {"service": "ai", "model": "x", "user": "what?"}
            agent = Agents(serving).agent(service="ai", configuration={"model": "x"})
            hook = {"response_format": {"type": "queue", "cred": {"name": "q"}}}

            def asks(url: str) -> list[tuple[str, dict[str, Any], str]]:
                part = {"type": "image", "url": url}
                said = {"agentId": agent, "message": "what?", "stream": False, "attachments": [part]}
                messages = [{"role": "user", "content": "a"}, {"role": "user", "content": [part]}]
                return [
                    (v2, {**turn, "images": ["https://example.org/b.png", url]}, "images[1]"),
                    (v2, {**turn, "user_urls": [url]}, "user_urls[0]"),
                    (v2, {**turn, "images": [url], **hook}, "images[0]"),
                    ("/api/v1/conversation", said, "attachments[0]"),
                    ("/api/v1/agent/run", {"model": "ai/x", "stream": False, "messages": messages}, "messages[1]"),
                ]

            for address in private:
                for path, body, place in asks(address):
                    reply = serving.ask("POST", path, body)
                    assert reply.status == 400, (path, address)
                    assert f"{place}: the media's url: this address may not be called" in reply.body.decode()
            assert not upstream.asked
            allowed = upstream.url + "/picture.png"
            assert serving.ask("POST", v2, {**turn, "images": [allowed]}).status == 200
            # What is asked in the service's own words stays as it is.
            content = [{"type": "text", "text": "what?"}, {"type": "image_url", "image_url": {"url": private[0]}}]
            chat = {"model": "ai/x", "messages": [{"role": "user", "content": content}]}
            assert serving.ask("POST", "/v1/chat/completions", chat).status == 200
            assert upstream.asked[-1].json["messages"][0]["content"] == content


def test_a_document_reaches_the_model_to_the_last_character(tmp_path: Path):
    rows = "\n".join(f"invoice {n:04d}; customer {n % 37}; 10 EUR" for n in range(300))
    clauses = "。".join(f"第{n}条规定甲方应当支付" for n in range(400))
    code = "\n".join(f"    if x{n}:\n        return {n}" for n in range(200)) + "\n"
    with Upstream(_answer) as upstream, Serving(tmp_path, TOML.format(url=upstream.url)) as serving:
        agents = Agents(serving)
        agent = agents.agent(service="claude", configuration={"model": "x"})
        for text in (rows, clauses, code):
            document = agents.post("/v1/admin/documents", {"name": "d", "text": text})
            assert agents.say(agent, "How many?", documentIds=[document["id"]]).status == 200
            said = upstream.asked[-1].json["messages"][-1]["content"]
            assert said[0]["text"] == f"Attached document d:\n\n{text}"


PRIVATE = ("http://169.254.169.254/latest/meta-data", "http://127.0.0.1:9/a.png", "http://[::1]/a.png",
           "http://localhost:5432/a.png", "http://db.localhost/a.png")  # fmt: skip


def test_no_face_hands_a_private_address_to_a_server_inside_the_operators_network(tmp_path: Path):
    with Upstream(_answer) as upstream, Serving(tmp_path, TOML.format(url=upstream.url)) as serving:
        for url in PRIVATE:
            part = {"type": "image", "url": url}
            source = {"type": "image", "source": {"type": "url", "url": url}}
            file = {"fileData": {"fileUri": url, "mimeType": "image/png"}}
            turn = {"service": "up", "model": "x", "user": "what?"}
            for path, body in (
                ("/api/v1/completions", {"model": "up/x", "messages": [{"role": "user", "content": [part]}]}),
                ("/api/v1/agent/run", {"model": "up/x", "messages": [{"role": "user", "content": [part]}]}),
                ("/api/v2/model/chat/completion", {**turn, "images": [url]}),
                (
                    "/v1/messages",
                    {"model": "up/x", "max_tokens": 9, "messages": [{"role": "user", "content": [source]}]},
                ),
                ("/v1beta/models/up/x:generateContent", {"contents": [{"role": "user", "parts": [file]}]}),
            ):
                reply = serving.ask("POST", path, body)
                assert reply.status == 400, (path, url, reply.body)
                assert b"this address may not be called" in reply.body
        completion = {
            "model": "up/x",
            "messages": [{"role": "user", "content": [{"type": "image", "url": PRIVATE[0]}]}],
        }
        refused = serving.ask("POST", "/api/v1/completions", completion).json
        assert refused["error"] == "address_refused"
        assert refused["message"].startswith("messages[0]: ")
        assert not upstream.asked


def test_a_file_by_link_is_sent_as_what_stands_there_by_every_service(tmp_path: Path):
    def answer(asked: Asked) -> Said:
        if asked.path.startswith("/picture"):
            return Said((PNG,), content_type="application/octet-stream")
        if asked.path.startswith("/data.json"):
            return Said((b'{"k": 1}',), content_type="application/json")
        return _answer(asked)

    with Upstream(answer) as upstream:
        toml = TOML.format(url=upstream.url) + f'[egress]\nallow = ["127.0.0.1:{upstream.port}"]\n'
        for kind in ("mistral", "groq", "open_router"):
            toml += f'[providers.{kind}]\nbase_url = "{upstream.url}/v1"\napi_key = "sk"\n'
        png = base64.b64encode(PNG).decode()
        with Serving(tmp_path, toml) as serving:

            def sent(service: str, name: str) -> Any:
                body = {"service": service, "model": "x", "user": "what?", "files": [f"{upstream.url}/{name}"]}
                reply = serving.ask(
                    "POST", "/api/v2/model/chat/completion", {**body, "configuration": {"max_tokens": 9}}
                )
                assert reply.status == 200, reply.body
                return upstream.asked[-1].json["messages"][-1]["content"]

            for service in ("up", "mistral", "groq", "open_router"):
                image = {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{png}"}}
                assert sent(service, "picture") == [image, {"type": "text", "text": "what?"}]
                assert '{"k": 1}' in str(sent(service, "data.json"))
            [picture, _] = sent("claude", "picture.png")
            assert picture == {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": png}}
            [text, _] = sent("claude", "data.json")
            assert text["source"] == {"type": "text", "media_type": "text/plain", "data": '{"k": 1}'}


def test_what_was_given_with_the_first_message_is_shown_with_the_hundredth_one_after(tmp_path: Path):
    """A file and a document, on both versions of the API, however few messages are shown with them."""
    file = {"name": "a.txt", "url": "data:text/plain;base64," + base64.b64encode(b"Of a file.").decode()}
    v1, v2 = "/api/v1/conversation", "/api/v2/model/chat/completion"

    def shown(asked: Asked) -> list[bool]:
        return [words in asked.body for words in (b"Of a document.", b"Of a file.")]

    limits = "[limits]\nagent_points = 1000\nthread_points = 1000\n"
    with Upstream(_answer) as upstream, Serving(tmp_path, TOML.format(url=upstream.url) + limits) as serving:
        agents, settings = Agents(serving), {"history_messages": 4}
        document = agents.post("/v1/admin/documents", {"name": "d", "text": "Of a document."})["id"]
        one, two = (
            agents.agent(service="claude", configuration={"model": "x"}, settings=more) for more in ({}, settings)
        )
        first = {"documentIds": [document], "attachments": [{"type": "file", **file}]}
        begun = agents.say(one, "0", **first).json
        assert serving.ask("POST", v2, {"agent_id": two, "thread_id": "t", "user": "0", "files": [file]}).status == 200
        for n in range(105):
            assert agents.say(one, str(n), conversationId=begun["conversationId"]).status == 200
            assert shown(upstream.asked[-1]) == [True, True], (v1, n)
            if n > 10:
                continue
            assert serving.ask("POST", v2, {"agent_id": two, "thread_id": "t", "user": str(n)}).status == 200
            assert shown(upstream.asked[-1]) == [False, True], (v2, n)
            upstream.asked.clear()
