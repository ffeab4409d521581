"""What the services that speak OpenAI Chat have in common; each file says only how its service differs."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TypeAlias

from msgspec.structs import replace

from ..core.agents import Range
from ..core.media_types import OCTETS, is_text
from ..core.parts import Media
from ..core.turn import Asked, Plan
from ..wire import openai_chat
from ..wire.openai_chat import Quirks
from ._inline import fetches_papers
from ._parameters import taken
from ._service import Drawing, Embedding, Service

#: What is safe to send to a server of which nothing more is known than that it speaks OpenAI Chat.
LOCAL = Quirks(
    max_tokens="max_tokens",
    top_k=True,
    developer_role=False,
    custom_tools=False,
    allowed_tools=False,
    reasoning_history="reasoning_content",
)


#: The words of effort of models, by the first of these that a name begins with; () = it refuses to be told.
Efforts: TypeAlias = Sequence[tuple[re.Pattern[str], tuple[str, ...]]]


def _writing(quirks: Quirks, efforts: Efforts) -> Callable[[Plan], Asked]:
    by_words = {
        words: replace(quirks, efforts=words, reasoning=quirks.reasoning if words else None) for _, words in efforts
    }

    def write(plan: Plan) -> Asked:
        words = next((words for names, words in efforts if names.match(plan.model)), None)
        return openai_chat.write_ask(plan, quirks if words is None else by_words[words])

    return write


def _embedding(quirks: Quirks) -> Embedding:
    write = partial(openai_chat.write_embed_ask, quirks=quirks)
    return Embedding(openai_chat.NAME, lambda plan: "/embeddings", write, openai_chat.read_embedded)


#: OpenAI's own way, as with pictures.
EMBEDDING = _embedding(openai_chat.OPENAI)

#: OpenAI's way, whichever of its formats the words are spoken in.
DRAWING = Drawing(lambda plan: "/images/generations", openai_chat.write_drawing, openai_chat.read_drawing)

#: OpenAI's models that are shown pictures as JSON. DALL-E takes one at the most, in another form.
_SEES = re.compile(r"(chat)?gpt-image")


def _edits(plan: Plan) -> bool:
    """Such a model is asked elsewhere when there are any."""
    return _SEES.match(plan.model) is not None and bool(openai_chat.pictures_of(plan.turn.prompt))


#: The same of OpenAI itself.
EDITING = Drawing(
    lambda plan: "/images/edits" if _edits(plan) else "/images/generations",
    lambda plan: openai_chat.write_drawing(plan, shown=_edits(plan)),
    openai_chat.read_drawing,
)


def _fetches(quirks: Quirks) -> Callable[[Media], bool]:
    """Services fetch images. This format has no place for a sound's address, and OpenAI none for a file's. A text is
    sent to all of them, and who knows what stands at an address of which nothing is said?"""

    def fetches(media: Media) -> bool:
        if media.kind == "file" and "file" in quirks.media:
            return quirks.file_urls is not None and fetches_papers(media)
        if media.kind == "file":
            return media.mime not in ("", OCTETS) and not is_text(media.mime)
        return media.kind != "audio" or "audio" not in quirks.media

    return fetches


def chat_service(
    *,
    base_url: str = "",
    key_env: str = "",
    url_env: str = "",
    vendor: str = "",
    quirks: Quirks = openai_chat.OPENAI,
    efforts: Efforts = (),
    write: Callable[[Plan], Asked] | None = None,
    embeds: bool = True,
    drawing: Drawing | None = None,
    keyless: bool = False,
    parameters: Callable[[str], Mapping[str, Range | None]] | None = None,
    claims: re.Pattern[str] | None = None,
    spare: Callable[[str], str] = lambda model: "",
) -> Service:
    """A service at base_url/chat/completions, with what differs about it. write: where other quirks than the words
    of effort depend on the model."""
    usual = taken(top_k=Range(0) if quirks.top_k else None, temperature=quirks.max_temperature)
    return Service(
        dialect=openai_chat,
        base_url=base_url,
        key_env=key_env,
        url_env=url_env,
        path=lambda model, stream: "/chat/completions",
        write=write or _writing(quirks, efforts),
        embedding=_embedding(quirks) if embeds else None,
        drawing=drawing,
        models_path="/models",
        read_models=openai_chat.read_models,
        vendor=vendor,
        keyless=keyless,
        fetches=_fetches(quirks),
        parameters=parameters or (lambda model: usual),
        claims=claims,
        spare=spare,
    )
