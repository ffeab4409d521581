"""The official SDKs of OpenAI, Anthropic and Google through a real server, against every kind of provider."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from typing import Any

import anthropic
import openai
import pytest
from google import genai
from google.genai import errors, types

from .dialect_said import CACHED, INPUT, OUTPUT
from .dialect_upstream import VECTOR, DialectUpstream
from .serving import ADMIN_KEY, Serving
from .upstream import Upstream
from .voices import SCHEMA, VOICES, png

KINDS = ("openai", "openai_response", "anthropic", "gemini", "groq", "mistral", "open_router", "openai_compatible")
FACES = tuple(VOICES)
VERSIONED = {"anthropic": "", "gemini": ""}
PROVIDER = """
[providers.{kind}]
kind = "{kind}"
base_url = "{url}/{kind}{version}"
api_key = "sk-{kind}"
models = ["listed-{kind}", "*"]
"""

every_face = pytest.mark.parametrize("face", FACES)
every_kind = pytest.mark.parametrize("kind", KINDS)
both_ways = pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])


@pytest.fixture(scope="module")
def dialects() -> DialectUpstream:
    return DialectUpstream()


@pytest.fixture(scope="module")
def upstream(dialects: DialectUpstream) -> Iterator[Upstream]:
    with Upstream(dialects.answer) as running:
        yield running


@pytest.fixture(scope="module")
def serving(upstream: Upstream, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    toml = "".join(PROVIDER.format(kind=kind, url=upstream.url, version=VERSIONED.get(kind, "/v1")) for kind in KINDS)
    with Serving(tmp_path_factory.mktemp("sdks"), toml) as running:
        yield running


@pytest.fixture(scope="module")
def voices(serving: Serving) -> Iterator[dict[str, Any]]:
    made = {name: voice(serving.url) for name, voice in VOICES.items()}
    yield made
    for voice in made.values():
        voice.client.close()


@pytest.fixture(autouse=True)
def nothing_refused(dialects: DialectUpstream) -> Iterator[None]:
    """Whatever a test asks, no service finds anything in it that it would refuse."""
    dialects.heard.clear()
    dialects.said.clear()
    dialects.refused.clear()
    yield
    assert dialects.refused == []


def spent(serving: Serving) -> tuple[int, int, int]:
    """What the last attempt is billed with."""
    usage = serving.ask("GET", "/v1/admin/attempts?limit=1000").json["data"][-1]["usage"]
    assert not usage["estimated"]
    return usage["input_tokens"], usage["cached_tokens"], usage["output_tokens"]


@both_ways
@every_kind
@every_face
def test_text_and_system_prompt(voices: Any, dialects: DialectUpstream, face: str, kind: str, stream: bool):
    voice = voices[face]
    got = voice.ask(f"{kind}/m-1", [voice.user("good évening")], system="Be brief.", stream=stream)
    assert got.text == f"Hé🙂 from {kind}: good évening (told: Be brief.)"
    assert (got.stop, got.model, got.calls) == ("stop", "m-1", [])
    assert (got.input, got.cached, got.output) == (INPUT, CACHED, OUTPUT)
    assert dialects.heard[-1].stream is stream


@both_ways
@every_kind
@every_face
def test_a_tool_round_trip(voices: Any, dialects: DialectUpstream, face: str, kind: str, stream: bool):
    voice = voices[face]
    ask = voice.user("please call look_up")
    got = voice.ask(f"{kind}/m-1", [ask], tools=["look_up", "unused"], stream=stream)
    (call,) = got.calls
    (issued,) = dialects.said[-1].calls
    assert dialects.heard[-1].tools["look_up"]["properties"] == SCHEMA["properties"]
    assert call[1:] == ("look_up", {"city": "look_up"})
    assert call[0] == issued.id or not issued.id
    assert (got.stop, got.text) == ("calls", "")
    assert (got.input, got.output) == (INPUT, OUTPUT)

    results = voice.results([(call[0], call[1], "Paris it is")])
    end = voice.ask(f"{kind}/m-1", [ask, got.turn, *results], tools=["look_up", "unused"], stream=stream)
    assert (end.text, end.stop) == ("The tools said: Paris it is", "stop")
    heard = dialects.heard[-1]
    assert heard.calls[0][1:] == call[1:]
    if issued.id:
        assert (heard.calls[0][0], heard.results[0][0]) == (issued.id, issued.id)
    assert heard.results[0][0] == heard.calls[0][0]
    assert heard.results[0][2] == "Paris it is"


@both_ways
@every_kind
@every_face
def test_parallel_tool_calls(voices: Any, dialects: DialectUpstream, face: str, kind: str, stream: bool):
    voice = voices[face]
    ask = voice.user("please call look_up and find_out")
    tools = ["look_up", "find_out"]
    got = voice.ask(f"{kind}/m-1", [ask], tools=tools, stream=stream)
    assert [call[1:] for call in got.calls] == [(name, {"city": name}) for name in tools]
    assert len({call[0] for call in got.calls}) == 2 or face == kind == "gemini"  # where the name will do
    results = [(id, name, f"{name}: yes") for id, name, _ in reversed(got.calls)]
    end = voice.ask(f"{kind}/m-1", [ask, got.turn, *voice.results(results)], tools=tools, stream=stream)
    assert end.text == "The tools said: find_out: yes; look_up: yes"
    heard = dialects.heard[-1]
    names = {id: name for id, name, _ in heard.calls}
    if dialects.said[0].calls[0].id:
        assert {names[id]: text for id, _, text in heard.results} == {name: f"{name}: yes" for name in tools}


@both_ways
@every_kind
@every_face
def test_an_answer_by_schema(voices: Any, dialects: DialectUpstream, face: str, kind: str, stream: bool):
    voice = voices[face]
    got = voice.ask(f"{kind}/m-1", [voice.user("where?")], schema=SCHEMA, stream=stream)
    assert json.loads(got.text) == {"city": "Paris"}
    assert got.stop == "stop"
    assert dialects.heard[-1].schema["required"] == ["city"]


@both_ways
@every_kind
@every_face
def test_an_image_and_a_limit(voices: Any, dialects: DialectUpstream, face: str, kind: str, stream: bool):
    voice = voices[face]
    got = voice.ask(f"{kind}/m-1", [voice.user("what is it? short", png())], max_tokens=500, stream=stream)
    ((mime, data),) = dialects.heard[-1].images
    assert got.text == f"I see {mime} {data}"
    assert mime == "image/png"
    assert got.stop == "length"
    assert dialects.heard[-1].max_tokens == 500


@every_kind
@every_face
def test_the_bill_is_what_the_provider_said(voices: Any, serving: Serving, face: str, kind: str):
    voice = voices[face]
    for stream in (False, True):
        voice.ask(f"{kind}/m-1", [voice.user("think of it")], effort=True, max_tokens=4000, stream=stream)
        assert spent(serving) == (INPUT, CACHED, OUTPUT)


def plainly(voice: Any, model: str, **more: Any) -> Any:
    return voice.ask(model, [voice.user("hi")], **more)


@every_face
@pytest.mark.parametrize(
    ("kind", "status"), [*((kind, status) for kind in KINDS for status in (400, 429, 529)), ("midstream", 400)]
)
def test_a_refusal_is_the_sdks_own_exception_with_the_providers_words(
    voices: Any, serving: Serving, face: str, kind: str, status: int
):
    rehearsed = kind == "midstream"
    model = "midstream/rehearsal" if rehearsed else f"{kind}/no-{face}-{status}"
    voice = voices[face]
    expected = {
        "chat": {400: openai.BadRequestError, 429: openai.RateLimitError, 529: openai.InternalServerError},
        "messages": {
            400: anthropic.BadRequestError,
            429: anthropic.RateLimitError,
            529: (anthropic.OverloadedError, anthropic.ServiceUnavailableError),
        },
        "gemini": {400: errors.ClientError, 429: errors.ClientError, 529: errors.ServerError},
    }[face][status]
    for stream in (False, True):
        word = f"fail:{status}" if rehearsed else f"fail {status}"
        kind_of, given, message = voice.complaint(lambda: voice.ask(model, [voice.user(word)], stream=stream))  # noqa: B023
        if status == 429 and stream:  # its circuit is open for as long as it said: we say so ourselves
            assert given in (429, 503)
            continue
        assert issubclass(kind_of, expected)
        assert given == status or (status == 529 and given == 503)
        assert ("rehearsed failure" if rehearsed else f"the upstream says no with {status}") in message


@every_face
def test_the_offline_model(voices: Any, face: str):
    voice = voices[face]
    for stream in (False, True):
        got = voice.ask("midstream/rehearsal", [voice.user("two words")], stream=stream, system="Be brief.")
        assert (got.text, got.stop) == ("This is the rehearsal model. You said (2 words): two words", "stop")
        assert (got.input, got.output) == (4, 11)
        got = voice.ask("midstream/rehearsal", [voice.user("say 9 words")], stream=stream, max_tokens=4)
        assert (got.text.split(), got.stop) == (["word1", "word2", "word3", "word4"], "length")
        got = voice.ask("midstream/rehearsal", [voice.user("where?")], stream=stream, schema=SCHEMA)
        assert json.loads(got.text) == {"city": "city"}
        got = voice.ask("midstream/rehearsal", [voice.user("what?", png())], stream=stream)
        assert "I was also given 1 file." in got.text
        ask, tools = voice.user("look_up and find_out"), ["look_up", "find_out", "other"]
        got = voice.ask("midstream/rehearsal", [ask], stream=stream, tools=tools)
        assert [call[1:] for call in got.calls] == [("look_up", {"city": "city"}), ("find_out", {"city": "city"})]
        assert got.stop == "calls"
        assert len({call[0] for call in got.calls}) == 2
        results = voice.results([(id, name, f"{name}: 7") for id, name, _ in got.calls])
        end = voice.ask("midstream/rehearsal", [ask, got.turn, *results], stream=stream, tools=tools)
        assert end.text.endswith("look_up said: look_up: 7; find_out said: find_out: 7")


EMBEDDING = {"openai", "openai_response", "gemini", "mistral", "open_router", "openai_compatible"}


@every_kind
def test_embeddings(voices: Any, serving: Serving, kind: str):
    chat, gemini, model = voices["chat"], voices["gemini"], f"{kind}/e-1"
    if kind not in EMBEDDING:
        for voice, ask in (
            (chat, lambda: chat.client.embeddings.create(model=model, input="one")),
            (gemini, lambda: gemini.client.models.embed_content(model=model, contents="one")),
        ):
            _, status, message = voice.complaint(ask)
            assert status == 400
            assert "no embeddings" in message
        return
    floats = chat.client.embeddings.create(model=model, input=["one", "two"], encoding_format="float")
    assert [(one.index, one.embedding) for one in floats.data] == [(0, VECTOR), (1, VECTOR)]
    # The SDK asks for base64 unless told otherwise, and its strict mode does not know that.
    with openai.OpenAI(base_url=f"{serving.url}/v1", api_key=ADMIN_KEY, max_retries=0) as lenient:
        assert lenient.embeddings.create(model=model, input="one").data[0].embedding == VECTOR
    several = gemini.client.models.embed_content(model=model, contents=["one", "two"])
    assert [one.values for one in several.embeddings] == [VECTOR, VECTOR]


@pytest.mark.parametrize(
    ("path", "body", "kind", "arrives"),
    [
        ("/v1/embeddings", {"input": [1, 2, 3], "encoding_format": "base64"}, "openai", "/v1/embeddings"),
        ("/v1/embeddings", {"input": [[1], [2, 3]], "zz": 1}, "mistral", "/v1/embeddings"),
        ("embedContent", {"content": {"parts": [{"inlineData": {"data": "AA=="}}]}}, "gemini", ":embedContent"),
        ("batchEmbedContents", {"requests": [{"model": "models/e-1", "content": 5}]}, "gemini", ":batchEmbedContents"),
    ],
)  # fmt: skip
def test_what_a_service_embeds_in_its_own_dialect_is_its_own_affair(
    serving: Serving, upstream: Upstream, path: str, body: dict[str, Any], kind: str, arrives: str
):
    google = path[0] != "/"
    body = body if google else {"model": f"{kind}/e-1", **body}
    upstream.asked.clear()
    got = serving.ask("POST", f"/v1beta/models/{kind}/e-1:{path}" if google else path, body)
    assert got.status == 200, got.body
    [asked] = upstream.asked
    assert asked.path.endswith(arrives)
    assert asked.json == body | ({} if google else {"model": "e-1"})


def test_what_cannot_be_embedded_across_dialects_is_named(serving: Serving):
    tokens = serving.ask("POST", "/v1/embeddings", {"model": "gemini/e-1", "input": [[1, 2]]})
    assert (tokens.status, tokens.json["error"]["param"]) == (400, "input[0]")
    picture = {"content": {"parts": [{"inlineData": {"mimeType": "image/png", "data": "AA=="}}]}}
    refused = serving.ask("POST", "/v1beta/models/openai/e-1:embedContent", picture)
    assert (refused.status, refused.json["error"]["status"]) == (400, "INVALID_ARGUMENT")
    assert "content.parts[0]" in refused.json["error"]["message"]
    told = {"content": {"parts": [{"text": "a"}]}, "taskType": "RETRIEVAL_QUERY", "outputDimensionality": 3}
    dropped = serving.ask("POST", "/v1beta/models/openai/e-1:embedContent", told)
    assert (dropped.status, dropped.headers["x-midstream-dropped-params"]) == (200, "taskType")
    strict = serving.ask("POST", "/v1beta/models/openai/e-1:embedContent", told, x_midstream_strict="true")
    assert strict.status == 400
    user = serving.ask("POST", "/v1/embeddings", {"model": "gemini/e-1", "input": "a", "user": "u"})
    assert (user.status, user.headers["x-midstream-dropped-params"]) == (200, "user")


@pytest.mark.parametrize(("kind", "name"), [("openai", "dimensions"), ("mistral", "output_dimension")])
def test_the_length_of_a_vector_is_asked_for_by_the_services_own_name(
    voices: Any, upstream: Upstream, kind: str, name: str
):
    upstream.asked.clear()
    voices["chat"].client.embeddings.create(model=f"{kind}/e-1", input="one", dimensions=3, encoding_format="float")
    wanted = types.EmbedContentConfig(output_dimensionality=3)
    voices["gemini"].client.models.embed_content(model=f"{kind}/e-1", contents="one", config=wanted)
    assert len(upstream.asked) == 2
    for asked in upstream.asked:
        assert {field: value for field, value in asked.json.items() if "dimension" in field} == {name: 3}


@pytest.mark.parametrize("kind", [*KINDS, "midstream"])
def test_tokens_are_counted(voices: Any, kind: str):
    model = "midstream/rehearsal" if kind == "midstream" else f"{kind}/m-1"
    messages, gemini = voices["messages"], voices["gemini"]
    counted = messages.client.messages.count_tokens(
        model=model, messages=[messages.user("hello there")], system="Be brief."
    )
    exact = kind in ("anthropic", "gemini")
    assert counted.input_tokens == 42 if exact else counted.input_tokens > 0
    given = gemini.client.models.count_tokens(model=model, contents="hello there")
    assert given.total_tokens == 42 if exact else given.total_tokens > 0


@every_face
def test_models_are_listed_and_found(voices: Any, face: str):
    client = voices[face].client
    listed = [model.id if face != "gemini" else model.name.removeprefix("models/") for model in client.models.list()]
    assert listed == [*(f"{kind}/listed-{kind}" for kind in KINDS), "midstream/rehearsal"]
    for name in ("anthropic/listed-anthropic", "midstream/rehearsal"):
        if face == "gemini":
            assert client.models.get(model=name).name == f"models/{name}"
        else:
            assert client.models.retrieve(name).id == name


def test_the_sdks_read_a_list_of_models_page_by_page_to_its_end(voices: Any):
    everything = [*(f"{kind}/listed-{kind}" for kind in KINDS), "midstream/rehearsal"]
    claude, google = voices["messages"].client, voices["gemini"].client
    for size in (1, 2, 4, 9, 20):
        assert [model.id for model in claude.models.list(limit=size)] == everything
        assert [model.name.removeprefix("models/") for model in google.models.list(config={"page_size": size})] == (
            everything
        )
    backwards = claude.models.list(limit=2, before_id=everything[5])
    pages = [[model.id for model in page.data] for page in backwards.iter_pages()]
    assert pages == [everything[3:5], everything[1:3], everything[:1]]
    assert [model.id for model in voices["chat"].client.models.list(extra_query={"limit": 1})] == everything
    with pytest.raises(anthropic.BadRequestError, match="limit"):
        claude.models.list(limit=1001)
    with pytest.raises(errors.ClientError, match="pageToken"):
        google.models.list(config={"page_token": "none"})


def test_a_model_that_is_not_there_is_the_error_that_each_sdk_knows(voices: Any):
    for face, missing, kind in (
        ("chat", openai.NotFoundError, "invalid_request_error"),
        ("messages", anthropic.NotFoundError, "not_found_error"),
    ):
        with pytest.raises(missing) as raised:
            voices[face].client.models.retrieve("midstream/none")
        assert raised.value.type == kind
    with pytest.raises(errors.ClientError) as refused:
        voices["gemini"].client.models.get(model="midstream/none")
    assert (refused.value.code, refused.value.status) == (404, "NOT_FOUND")


#: Who tells its thoughts, and who signs them.
THINKERS = tuple(kind for kind in KINDS if kind != "openai")
SIGNERS = ("anthropic", "gemini", "openai_response")


@both_ways
@pytest.mark.parametrize("kind", THINKERS)
@every_face
def test_thoughts_are_told_apart_from_the_answer(
    voices: Any, dialects: DialectUpstream, face: str, kind: str, stream: bool
):
    voice = voices[face]
    got = voice.ask(f"{kind}/m-1", [voice.user("think")], effort=True, max_tokens=4000, stream=stream)
    assert got.text == f"Hé🙂 from {kind}: think"
    if face != "chat" or kind not in ("groq", "open_router"):  # these say `reasoning`, which is relayed as it came
        assert got.thought == dialects.said[-1].thought
    assert dialects.heard[-1].thinks


@both_ways
@pytest.mark.parametrize("kind", SIGNERS)
@every_face
def test_signed_thoughts_go_back_to_their_issuer_only(
    voices: Any, upstream: Upstream, dialects: DialectUpstream, face: str, kind: str, stream: bool
):
    voice, tools = voices[face], ["look_up", "find_out"]
    asked: dict[str, Any] = {"tools": tools, "effort": True, "max_tokens": 4000, "stream": stream}
    ask = voice.user("think, then call look_up and find_out")
    got = voice.ask(f"{kind}/m-1", [ask], **asked)
    signature = dialects.said[-1].signature
    results = voice.results([(id, name, f"{name}: yes") for id, name, _ in got.calls])
    turns = [ask, got.turn, *results]
    for _ in range(2):
        end = voice.ask(f"{kind}/m-1", turns, **asked)
        assert end.text == "The tools said: find_out: yes; look_up: yes"
        assert dialects.heard[-1].signed == [signature]
    for other in KINDS:
        if other != kind:
            assert voice.ask(f"{other}/m-1", turns, **asked).text == end.text
            assert signature.encode() not in upstream.asked[-1].body
    # The conversation goes on where its thoughts belong, with what others said in between.
    later = [*turns, end.turn, voice.user("and now?")]
    voice.ask(f"{kind}/m-1", later, **asked)
    assert dialects.heard[-1].signed[0] == signature


@both_ways
@pytest.mark.parametrize("kind", ["anthropic", "openai_response"])
@every_face
def test_signed_thoughts_go_back_before_the_text_that_followed_them(
    voices: Any, upstream: Upstream, dialects: DialectUpstream, face: str, kind: str, stream: bool
):
    voice = voices[face]
    asked: dict[str, Any] = {"tools": ["look_up"], "effort": True, "max_tokens": 4000, "stream": stream}
    ask = voice.user("think aloud, then call look_up")
    got = voice.ask(f"{kind}/m-1", [ask], **asked)
    assert got.text == "One moment."
    signature = dialects.said[-1].signature
    turns = [ask, got.turn, *voice.results([(id, name, "yes") for id, name, _ in got.calls])]
    assert voice.ask(f"{kind}/m-1", turns, **asked).text == "The tools said: yes"
    body = upstream.asked[-1].body.decode()
    assert body.index(signature) < body.index("One") < body.index(dialects.heard[-1].calls[0][0])
    assert dialects.heard[-1].thinks


@both_ways
@every_face
def test_a_conversation_may_change_its_model_at_every_turn(
    voices: Any, dialects: DialectUpstream, face: str, stream: bool
):
    """Every service gets what every other one said, in a form that it takes."""
    voice, turns = voices[face], []
    for kind in (*KINDS, *reversed(KINDS)):
        turns.append(voice.user("think, then call look_up"))
        asked: dict[str, Any] = {"tools": ["look_up"], "max_tokens": 4000, "stream": stream}
        got = voice.ask(f"{kind}/m-1", turns, **asked)
        turns += [got.turn, *voice.results([(id, name, "yes") for id, name, _ in got.calls])]
        got = voice.ask(f"{kind}/m-1", turns, **asked)
        assert got.text == "The tools said: yes"
        turns.append(got.turn)
    assert len(dialects.heard[-1].calls) == 2 * len(KINDS)


def test_an_openai_client_may_send_messages_back_as_they_came(voices: Any, dialects: DialectUpstream):
    chat = voices["chat"]
    messages: list[Any] = []
    for kind in (*KINDS, *reversed(KINDS)):
        messages.append(chat.user("think, then call look_up"))
        options = chat.options(f"{kind}/m-1", messages, tools=["look_up"], max_tokens=4000)
        message = chat.client.chat.completions.create(**options).choices[0].message
        messages += [message, *chat.results([(call.id, "", "yes") for call in message.tool_calls])]
        options = chat.options(f"{kind}/m-1", messages, tools=["look_up"], max_tokens=4000)
        messages.append(chat.client.chat.completions.create(**options).choices[0].message)
        assert messages[-1].content == "The tools said: yes"


def test_a_stream_without_asking_for_usage_has_none(voices: Any):
    client = voices["chat"].client
    for kind in KINDS:
        stream = client.chat.completions.create(
            model=f"{kind}/m-1", messages=[{"role": "user", "content": "hi"}], stream=True
        )
        assert all(chunk.choices for chunk in stream)


def test_the_asynchronous_clients(serving: Serving):
    asyncio.run(_asynchronously(serving))


async def _asynchronously(serving: Serving) -> None:
    hi: Any = [{"role": "user", "content": "hi"}]
    said = "Hé🙂 from {}: hi"
    async with openai.AsyncOpenAI(
        base_url=f"{serving.url}/v1", api_key=ADMIN_KEY, _strict_response_validation=True
    ) as chat:
        streams = [await chat.chat.completions.create(model=f"{kind}/m-1", messages=hi, stream=True) for kind in KINDS]
        for kind, stream in zip(KINDS, streams, strict=True):
            pieces = [one.choices[0].delta.content or "" async for one in stream if one.choices]
            assert "".join(pieces) == said.format(kind)
    async with anthropic.AsyncAnthropic(
        base_url=serving.url, api_key=ADMIN_KEY, _strict_response_validation=True
    ) as claude:
        for kind in KINDS:
            async with claude.messages.stream(model=f"{kind}/m-1", messages=hi, max_tokens=9) as events:
                assert await events.get_final_text() == said.format(kind)
    client = genai.Client(api_key=ADMIN_KEY, http_options=types.HttpOptions(base_url=serving.url))
    for kind in KINDS:
        answers = await client.aio.models.generate_content_stream(model=f"{kind}/m-1", contents="hi")
        assert "".join([one.text or "" async for one in answers]) == said.format(kind)
    await client.aio.aclose()
    client.close()
