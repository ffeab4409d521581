"""What OpenAI-compatible services differ in; the defaults are OpenAI's own API."""

from __future__ import annotations

from typing import Literal

from msgspec import Struct

NAME = "openai_chat"


class Quirks(Struct, frozen=True):
    """How one service departs from OpenAI. Names are wire names (fields of the request body).

    lacks: top-level fields that the service refuses; left out for every caller and reported as dropped.
    forwards_store: `store` may be passed on when the caller gave it.
    one_answer: it ignores `n`; several answers are refused instead.
    stream_options: takes `stream_options.include_usage`.
    developer_role: takes messages of role developer (else they become system messages).
    max_tokens, seed: its names of these fields. max_temperature: higher ones are lowered to it and reported.
    dimensions: its name of the length that a vector shall have. top_k: takes `top_k`.
    custom_tools: takes tools of type custom.
    allowed_tools: takes tool_choice allowed_tools (else the list of tools is filtered).
    required_word: its word for tool_choice "required".
    media: kinds of media it takes in. file_urls: how a file by URL is written, if it takes any.
    names: takes `name` on messages. cache_control: takes cache marks on content parts and tools.
    reasoning: its reasoning switch: "reasoning_effort" (a word), "reasoning" (OpenRouter's object), None.
    efforts: the words that it knows, weakest first.
    reasoning_history: the field in which earlier reasoning goes back ("thinking": Mistral's content part).
    prefix: a last message of role assistant carries `prefix: true` to be continued.
    short_ids: tool call ids must be nine letters or digits (others are replaced, the same one each time).
    refuses: members of an earlier answer's message that it does not want to see again."""

    lacks: frozenset[str] = frozenset()
    forwards_store: bool = False
    one_answer: bool = False
    stream_options: bool = True
    developer_role: bool = True
    max_tokens: str = "max_completion_tokens"
    seed: str = "seed"
    max_temperature: float = 2.0
    dimensions: str = "dimensions"
    top_k: bool = False
    custom_tools: bool = True
    allowed_tools: bool = True
    required_word: str = "required"
    media: frozenset[str] = frozenset({"image", "audio", "file"})
    file_urls: Literal["document_url", "file_data"] | None = None
    names: bool = True
    cache_control: bool = False
    reasoning: Literal["reasoning_effort", "reasoning"] | None = "reasoning_effort"
    efforts: tuple[str, ...] = ("none", "minimal", "low", "medium", "high", "xhigh", "max")
    reasoning_history: Literal["reasoning_content", "reasoning_details", "thinking"] | None = None
    prefix: bool = False
    short_ids: bool = False
    refuses: frozenset[str] = frozenset()


OPENAI = Quirks()
