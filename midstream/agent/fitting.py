"""A prompt fitted to what its model's document says that it reads and holds. Sizes are tokens, by estimate."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec.structs import replace

from ..core.agents import ModelDocument
from ..core.errors import BadRequest
from ..core.estimates import size_of
from ..core.parts import Media, Message
from ..core.turn import Prompt
from ..core.unread import refused, spelled
from .history import window

#: Kept free for an answer of which nobody has said how long it may be.
ANSWER = 1024


def most(prompt: Prompt, model: ModelDocument) -> int | None:
    """How long the answer may be; None = nothing is known. Raises BadRequest, code context_length_exceeded, when there
    is no room for any."""
    if model.context is None:
        return model.output
    left = _left(prompt, model.context)
    return left if model.output is None else min(left, model.output)


def room(prompt: Prompt, model: ModelDocument) -> int | None:
    """For what was said before, beside this prompt and its answer; None = as much as there is. An answer takes no more
    than half of the context from it. Raises as `most` does."""
    if model.context is None:
        return None
    wanted = min(prompt.params.max_tokens or ANSWER, model.output or model.context, model.context // 2)
    return max(0, _left(prompt, model.context) - wanted)


def _left(prompt: Prompt, context: int) -> int:
    size = size_of(prompt)
    if size >= context:
        raise BadRequest(
            f"the prompt is too long for the model: by estimate it has {size} tokens, and with its answer it may have "
            f"{context}, the model's context",
            code="context_length_exceeded",
        )
    return context - size


def answerable(prompt: Prompt, model: ModelDocument) -> Prompt:
    """With an answer no longer than there is room for. Raises as `most` does."""
    bound, wanted = most(prompt, model), prompt.params.max_tokens
    if bound is None or wanted is None or wanted <= bound:
        return prompt
    return replace(prompt, params=replace(prompt.params, max_tokens=bound))


def held(prompt: Prompt, first: int, past: int, model: ModelDocument) -> Prompt:
    """A prompt that has grown: of the `past` messages after the `first` ones, the oldest are left out as far as needed.
    Raises as `most` does."""
    if model.context is None:
        return prompt
    begin, end = prompt.messages[:first], prompt.messages[first + past :]
    space = room(replace(prompt, messages=(*begin, *end)), model)
    before = window(prompt.messages[first : first + past], tokens=space)
    return answerable(replace(prompt, messages=(*begin, *before, *end)), model)


# media


def check_media(media: Sequence[Media], paths: Sequence[str], model: ModelDocument) -> None:
    """paths: where each was written, the last for all that follow. Raises BadRequest, code unsupported_media."""
    for place, one in enumerate(media):
        if not _reads(model, one):
            path, known = paths[min(place, len(paths) - 1)], ", ".join(model.modalities)
            raise refused(one, f"the model reads nothing of the kind {one.kind}, only {known}", place=path)


def readable(messages: Sequence[Message], model: ModelDocument) -> tuple[Message, ...]:
    """Messages in which words stand for the media that the model does not read."""
    return spelled(messages, lambda media: _reads(model, media)) if model.modalities else tuple(messages)


def _reads(model: ModelDocument, media: Media) -> bool:
    return not model.modalities or media.kind in model.modalities
