"""Google's Gemini API."""

from __future__ import annotations

import re
from urllib.parse import quote

from ..core.agents import Range
from ..core.turn import Plan
from ..wire import gemini
from ._parameters import taken
from ._service import Counting, Embedding, Headers, Service

#: What Google reads by itself: uploads to it, its own storage and videos.
_OWN_MEDIA = re.compile(r"https://(generativelanguage\.googleapis\.com|(www\.)?youtube\.com|youtu\.be)/")


def _auth(key: str) -> Headers:
    return (("x-goog-api-key", key),)


def _escaped(model: str) -> str:
    """One segment of a path, whatever the caller named."""
    return quote(model, safe="")


def _path(model: str, stream: bool) -> str:
    verb = "streamGenerateContent?alt=sse" if stream else "generateContent"
    return f"/v1beta/models/{_escaped(model)}:{verb}"


def _embed_path(plan: Plan) -> str:
    verb = "batchEmbedContents" if gemini.embeds_several(plan) else "embedContent"
    return f"/v1beta/models/{_escaped(plan.model)}:{verb}"


_TAKES = taken(top_k=Range(1), answers=Range(1, 8, 1))

SERVICE = Service(
    dialect=gemini,
    base_url="https://generativelanguage.googleapis.com",
    key_env="GEMINI_API_KEY",
    auth=_auth,
    path=_path,
    embedding=Embedding(gemini.NAME, _embed_path, gemini.write_embed_ask, gemini.read_embedded),
    counting=Counting(
        lambda model: f"/v1beta/models/{_escaped(model)}:countTokens", gemini.write_count_ask, gemini.read_count
    ),
    models_path="/v1beta/models?pageSize=1000",
    read_models=gemini.read_models,
    vendor="google",
    parameters=lambda model: _TAKES,
    claims=re.compile(r"(models/)?(gemini-|imagen-|veo-)"),
    fetches=lambda media: media.url is not None and _OWN_MEDIA.match(media.url) is not None,
)
