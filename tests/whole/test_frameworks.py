"""LangChain and Pydantic AI through a real server: a turn with a tool, whole and streamed, and a structured answer,
with each vendor's client against every kind of provider."""

from __future__ import annotations

import asyncio
import gc
import warnings
from collections.abc import Iterator
from typing import Any

import pytest
from langchain_anthropic import ChatAnthropic
from langchain_core.messages import AIMessageChunk, HumanMessage, SystemMessage, ToolMessage
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI, OpenAIEmbeddings
from pydantic import BaseModel
from pydantic_ai import Agent
from pydantic_ai.models.anthropic import AnthropicModel
from pydantic_ai.models.google import GoogleModel
from pydantic_ai.models.openai import OpenAIChatModel
from pydantic_ai.providers.anthropic import AnthropicProvider
from pydantic_ai.providers.google import GoogleProvider
from pydantic_ai.providers.openai import OpenAIProvider

from .dialect_said import INPUT, OUTPUT
from .dialect_upstream import VECTOR, DialectUpstream
from .serving import ADMIN_KEY, Serving
from .upstream import Upstream

with warnings.catch_warnings():  # its own imports are of names that are going away
    warnings.simplefilter("ignore")
    from langchain_google_genai import ChatGoogleGenerativeAI

KINDS = ("openai", "openai_response", "anthropic", "gemini", "groq", "mistral", "open_router", "openai_compatible")
REHEARSAL = "midstream/rehearsal"
MODELS = (*(f"{kind}/m-1" for kind in KINDS), REHEARSAL)
FACES = ("chat", "messages", "gemini")
PROVIDER = """
[providers.{kind}]
base_url = "{url}/{kind}{version}"
api_key = "sk-{kind}"
"""

#: Frameworks leave their clients' connections open.
pytestmark = [
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]
every_face = pytest.mark.parametrize("face", FACES)
every_model = pytest.mark.parametrize("model", MODELS)


@pytest.fixture(scope="module")
def dialects() -> DialectUpstream:
    return DialectUpstream(
        {"look_up": {"city": "Paris"}, "Place": {"city": "Paris"}, "final_result": {"city": "Paris"}}
    )


@pytest.fixture(scope="module")
def upstream(dialects: DialectUpstream) -> Iterator[Upstream]:
    with Upstream(dialects.answer) as running:
        yield running


@pytest.fixture(scope="module")
def serving(upstream: Upstream, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    toml = "".join(
        PROVIDER.format(kind=kind, url=upstream.url, version="" if kind in ("anthropic", "gemini") else "/v1")
        for kind in KINDS
    )
    aliases = "".join(f'"{model.replace("/", "-")}" = {{ targets = ["{model}"] }}\n' for model in MODELS)
    with Serving(tmp_path_factory.mktemp("frameworks"), f"{toml}[models]\n{aliases}") as running:
        yield running


@pytest.fixture(autouse=True)
def nothing_refused(dialects: DialectUpstream) -> Iterator[None]:
    dialects.refused.clear()
    yield
    assert dialects.refused == []


@pytest.fixture(scope="module", autouse=True)
def connections_left_open() -> Iterator[None]:
    yield
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        gc.collect()


class Place(BaseModel):
    """Where it is."""

    city: str


@tool
def look_up(city: str) -> str:
    """Looks a city up."""
    return f"{city} it is"


def langchain(face: str, model: str, url: str) -> Any:
    if face == "chat":
        return ChatOpenAI(model=model, base_url=f"{url}/v1", api_key=ADMIN_KEY, max_retries=0, stream_usage=True)
    if face == "messages":
        return ChatAnthropic(model=model, base_url=url, api_key=ADMIN_KEY, max_retries=0, max_tokens=4000)
    return ChatGoogleGenerativeAI(  # takes no slash in a name: an alias
        model=model.replace("/", "-"),
        base_url=url,
        google_api_key=ADMIN_KEY,
        max_retries=1,
        transport="rest",
        timeout=20,
    )


@every_model
@every_face
def test_langchain(serving: Serving, face: str, model: str):
    chat = langchain(face, model, serving.url)
    able = chat.bind_tools([look_up])
    city = "city" if model == REHEARSAL else "Paris"
    asked: list[Any] = [SystemMessage("Be brief."), HumanMessage("please call look_up")]
    for streamed in (False, True):
        turns = list(asked)
        for _ in range(2):
            message = total(able.stream(turns)) if streamed else able.invoke(turns)
            turns.append(message)
            turns += [ToolMessage(look_up.invoke(call["args"]), tool_call_id=call["id"]) for call in message.tool_calls]
        assert [(call["name"], call["args"]) for call in turns[2].tool_calls] == [("look_up", {"city": city})]
        assert f"{city} it is" in turns[-1].text
        usage = turns[-1].usage_metadata
        assert usage["output_tokens"] > 0
        assert model == REHEARSAL or (usage["input_tokens"], usage["output_tokens"]) == (INPUT, OUTPUT)


def total(pieces: Iterator[AIMessageChunk]) -> AIMessageChunk:
    message = next(pieces)
    for piece in pieces:
        message += piece
    return message


@every_model
@every_face
def test_langchains_structured_output(serving: Serving, face: str, model: str):
    structured = langchain(face, model, serving.url).with_structured_output(Place)
    assert structured.invoke("where? please call Place").city == ("city" if model == REHEARSAL else "Paris")


def test_langchains_embeddings(serving: Serving):
    embeddings = OpenAIEmbeddings(
        model="openai/e-1", base_url=f"{serving.url}/v1", api_key=ADMIN_KEY, check_embedding_ctx_length=False
    )
    assert embeddings.embed_documents(["one", "two"]) == [VECTOR, VECTOR]


def pydantic_model(face: str, model: str, url: str) -> Any:
    if face == "chat":
        return OpenAIChatModel(model, provider=OpenAIProvider(base_url=f"{url}/v1", api_key=ADMIN_KEY))
    if face == "messages":
        return AnthropicModel(model, provider=AnthropicProvider(base_url=url, api_key=ADMIN_KEY))
    return GoogleModel(model, provider=GoogleProvider(base_url=url, api_key=ADMIN_KEY))


@every_model
@every_face
def test_pydantic_ai(serving: Serving, face: str, model: str):
    asyncio.run(_pydantic_ai(face, model, serving.url))


async def _pydantic_ai(face: str, model: str, url: str) -> None:
    city = "city" if model == REHEARSAL else "Paris"
    calls: list[str] = []
    agent = Agent(pydantic_model(face, model, url), system_prompt="Be brief.", retries=0)

    @agent.tool_plain
    def look_up(city: str) -> str:
        calls.append(city)
        return f"{city} it is"

    result = await agent.run("please call look_up")
    assert f"{city} it is" in result.output
    assert result.usage.output_tokens > 0
    async with agent.run_stream("please call look_up") as stream:
        assert f"{city} it is" in await stream.get_output()
    assert calls == [city, city]
    placed = Agent(pydantic_model(face, model, url), output_type=Place, retries=0)
    assert (await placed.run("where?")).output.city == city
