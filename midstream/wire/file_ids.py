"""Whose file an id names: it means something to its issuer only."""

from __future__ import annotations

from ..core.parts import Media

#: The dialects of the services that know OpenAI's files.
_OPENAI = frozenset({"openai_chat", "openai_responses"})


def of_openai(media: Media) -> bool:
    """May its id be one of OpenAI's? Anthropic's are marked as theirs where they are read, Google's are addresses."""
    if media.file_id is None or "/" in media.file_id:
        return False
    return media.state is None or media.state.issuer in _OPENAI
