"""What is asked: a Turn (as it came in), its Prompt (as we understand it) and a Plan (as one attempt sends it)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, Literal, TypeAlias

from msgspec import Raw, Struct

from .agents import AgentAsk
from .parts import Cache, Message, Native, State
from .said import all_said

TurnKind: TypeAlias = Literal["chat", "embedding", "count_tokens"]

#: A JSON object's members in order, each value as the exact bytes that were written.
Fields: TypeAlias = Mapping[str, Raw]
#: For whom something is kept between calls: (org, id of the conversation, or of the run where there is none).
Holder: TypeAlias = tuple[str, str]


class Tool(Struct, frozen=True, omit_defaults=True):
    """A tool offered to the model.

    kind "function": parameters is a JSON Schema (never mutated). kind "custom": free-text input.
    kind "hosted": runs at its issuer; only `state` describes it."""

    name: str
    description: str | None = None
    parameters: dict[str, Any] | None = None
    strict: bool | None = None
    kind: Literal["function", "custom", "hosted"] = "function"
    cache: Cache | None = None
    state: State | None = None


#: What a caller may say of tools instead of naming one, which no tool is called -> the mode.
MODES = {"auto": "auto", "default": "auto", "none": "none", "required": "required", "any": "required"}


class ToolChoice(Struct, frozen=True, omit_defaults=True):
    """mode "tool": must call `names[0]`. names with "auto" or "required": may call only these."""

    mode: Literal["auto", "none", "required", "tool"]
    names: tuple[str, ...] = ()


class Format(Struct, frozen=True, omit_defaults=True):
    """The answer's form. kind "json": one JSON object, or where `any` is set any JSON; "json_schema": an instance of
    `schema`."""

    kind: Literal["text", "json", "json_schema"]
    schema: dict[str, Any] | None = None
    name: str | None = None
    description: str | None = None
    strict: bool | None = None
    any: bool = False


def described(form: Format) -> dict[str, Any]:
    """The form's schema, which says itself what is described where a format has no other place for it."""
    schema = form.schema or {}
    if form.description is None:
        return schema
    own = schema.get("description")
    words = f"{form.description}\n\n{own}" if isinstance(own, str) and own else form.description
    return {"description": words, **{name: value for name, value in schema.items() if name != "description"}}


class Thinking(Struct, frozen=True, omit_defaults=True):
    """Reasoning knobs: the caller's own number or word is kept.
    effort: none|minimal|low|medium|high|xhigh|max. budget: tokens (0 = off, -1 = the model decides).
    show: should the reasoning's text come back? shown: does it where nothing is said of that? summary: OpenAI's summary
    style."""

    effort: str | None = None
    budget: int | None = None
    show: bool | None = None
    summary: str | None = None
    shown: bool = False

    @property
    def off(self) -> bool:
        """No thinking is wanted, whatever effort is asked for beside that."""
        return self.budget == 0 or (self.budget is None and self.effort == "none")


class Params(Struct, frozen=True, omit_defaults=True):
    """Sampling and limits, neutral names. None = not given (the provider's default holds)."""

    max_tokens: int | None = None
    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    frequency_penalty: float | None = None
    presence_penalty: float | None = None
    seed: int | None = None
    stop: tuple[str, ...] = ()
    n: int | None = None
    logprobs: bool | None = None
    top_logprobs: int | None = None
    logit_bias: dict[str, float] | None = None
    format: Format | None = None
    thinking: Thinking | None = None
    parallel_tools: bool | None = None
    user: str | None = None
    service_tier: str | None = None
    cache_key: str | None = None
    verbosity: str | None = None
    modalities: tuple[str, ...] = ()
    #: OpenAI's {voice, format}; Gemini's speechConfig maps to it.
    audio: dict[str, Any] | None = None


#: Extras that say what a picture shall be, by OpenAI's names.
PICTURE = ("size", "quality", "style", "background", "output_format", "output_compression", "moderation")


class Prompt(Struct, frozen=True, omit_defaults=True):
    """A whole request in neutral words.

    messages: system messages stay where the caller put them. extras: top-level fields without a neutral
    meaning, by their own name; another dialect's writer reports each as dropped."""

    messages: tuple[Message, ...]
    tools: tuple[Tool, ...] = ()
    tool_choice: ToolChoice | None = None
    params: Params = Params()
    extras: dict[str, Any] = {}


class EmbedAsk(Struct, frozen=True, omit_defaults=True):
    """Texts to embed. inputs: texts, or token id lists. task: Gemini's taskType.
    as_base64: OpenAI's encoding_format. extras: what has no neutral meaning, by its own name; another dialect's writer
    reports each as dropped."""

    inputs: tuple[str | list[int], ...]
    model: str = ""
    dimensions: int | None = None
    task: str | None = None
    title: str | None = None
    as_base64: bool = False
    user: str | None = None
    extras: dict[str, Any] = {}


_NOTHING: Mapping[tuple[str, str], Turn] = MappingProxyType({})


class Turn:
    """One request as its caller wrote it. `prompt` is read from `fields` when first needed: a provider of the
    same dialect gets the fields themselves, so most turns never pay for it.

    dialect: name of the wire format of `fields`. model: as the caller named it. stream: wants a stream.
    conversation: id of the stored conversation to continue ("" = make a new one, None = none).
    store: keep content? None = the server's default. strict: refuse instead of dropping parameters.
    include_usage: the caller asked for a usage chunk in the stream (OpenAI Chat).
    function_call: the caller offers `functions`, which came before `tools` (OpenAI Chat), and reads one call of an
    answer, as its `function_call`.
    embed: what to embed, or how to read it from the fields, for a turn of kind "embedding".
    fresh: the messages this turn adds to its conversation, in the caller's own words (with their roles).
    only_texts: each message is a role and a text, no more: nobody need look for anything else in them. Said where that
    would take long.
    headers: the caller's, for what a provider may be told of them.
    as_array: the stream shall be one JSON array (Gemini without alt=sse).
    agent: what it asks of an agent; the run is then that agent's turn instead of one model call.
    amend: applied to the prompt when it is read (puts back what the caller's dialect cannot carry).
    examined: who asks looks at the form of the answer himself. instead: what other models are asked in its place, by
    provider and model."""

    __slots__ = (
        "_embed", "_prompt", "_read", "_said", "agent", "amend", "as_array", "conversation", "dialect", "examined",
        "fields", "fresh", "function_call", "headers", "include_usage", "instead", "kind", "model", "only_texts",
        "store", "stream", "strict",
    )  # fmt: skip

    def __init__(
        self,
        dialect: str,
        fields: Fields,
        read: Callable[[Fields], Prompt],
        *,
        model: str,
        stream: bool = False,
        conversation: str | None = None,
        store: bool | None = None,
        strict: bool = False,
        include_usage: bool = False,
        function_call: bool = False,
        kind: TurnKind = "chat",
        embed: EmbedAsk | Callable[[Fields], EmbedAsk] | None = None,
        fresh: tuple[tuple[str, Native], ...] = (),
        only_texts: bool = False,
        headers: Mapping[str, str] | None = None,
        as_array: bool = False,
        agent: AgentAsk | None = None,
    ) -> None:
        self.dialect = dialect
        self.fields = fields
        self._read = read
        self._prompt: Prompt | None = None
        self._said = b""
        self.model = model
        self.stream = stream
        self.conversation = conversation
        self.store = store
        self.strict = strict
        self.include_usage = include_usage
        self.function_call = function_call
        self.kind = kind
        self._embed = embed
        self.fresh = fresh
        self.only_texts = only_texts
        self.headers = headers
        self.as_array = as_array
        self.agent = agent
        self.amend: Callable[[Prompt], Prompt] | None = None
        self.examined = False
        self.instead: Mapping[tuple[str, str], Turn] = _NOTHING

    @property
    def prompt(self) -> Prompt:
        """Raises errors.BadRequest with the field's path when the fields do not make sense."""
        if self._prompt is None:
            prompt = self._read(self.fields)
            self._prompt = prompt if self.amend is None else self.amend(prompt)
        return self._prompt

    def release(self) -> None:
        """Nobody will ask with it again: its words, which may be many, are let go."""
        self._said = self.said
        self.fields, self.fresh, self._prompt = {}, (), None

    @property
    def said(self) -> bytes:
        """What its messages say, as `core.said` has it, also when they are let go. Nothing where nobody has read them:
        what only a service of its own dialect was asked with, and where no call can be made of them."""
        if self._prompt is None or not self._prompt.tools:
            return self._said
        return all_said(self._prompt.messages)

    @property
    def embed(self) -> EmbedAsk | None:
        """Read when first needed and with the same errors, as `prompt` is."""
        if callable(self._embed):
            self._embed = self._embed(self.fields)
        return self._embed

    @property
    def known(self) -> Prompt | EmbedAsk | None:
        """What is asked, where somebody has read it."""
        if self.kind != "embedding":
            return self._prompt
        return None if callable(self._embed) else self._embed

    def put_prompt(self, prompt: Prompt) -> None:
        """What is asked from now on (media fetched in between)."""
        self._prompt = prompt


class Plan(Struct, frozen=True):
    """What one attempt sends: to `model` (the upstream's own name), streamed or not.

    turn: the caller's words. history: stored messages that go before the turn's own.
    max_tokens_default: sent where the provider demands a limit and the caller gave none.
    holder: for whom fetched media are kept, None = nobody."""

    turn: Turn
    model: str
    stream: bool
    history: tuple[Message, ...] = ()
    max_tokens_default: int = 4096
    holder: Holder | None = None


class Asked(Struct, frozen=True):
    """A provider-ready request body and the caller's parameters that it cannot carry (their own names).

    form_tool: name of the tool in it whose call is the answer itself; who reads the answer makes it text again.
    by_word: the answer shall be one JSON object, or any JSON value, and only words in it say so; who reads the answer
    looks at it."""

    body: bytes
    dropped: tuple[str, ...] = ()
    form_tool: str = ""
    by_word: Literal["", "object", "value"] = ""
