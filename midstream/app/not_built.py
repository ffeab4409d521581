"""Operations of the services' APIs that this server knows by name but does not offer."""

from __future__ import annotations

from collections.abc import Mapping

from ..core.errors import NotBuilt
from ..faces import gemini

_NAMES = {
    "/v1/completions": "legacy completions",
    "/v1/responses": "the Responses API as a face",
    "/v1/batches": "batches",
    "/v1/messages/batches": "message batches",
    "/v1beta/batches": "batches",
    "/v1/moderations": "moderations",
    "/v1/fine_tuning": "fine-tuning",
    "/v1/images": "images",
    "/v1/audio": "speech and transcription",
    "/v1/videos": "videos",
    "/v1/realtime": "realtime sessions",
    "/v1/files": "files",
    "/v1beta/files": "files",
    "/v1/uploads": "uploads",
    "/v1/vector_stores": "vector stores",
    "/v1/assistants": "assistants",
    "/v1/threads": "threads",
    "/v1/conversations": "the Conversations API",
    "/v1/evals": "evals",
    "/v1/cachedContents": "cached contents",
    "/v1beta/cachedContents": "cached contents",
    "/v1/fileSearchStores": "file search stores",
    "/v1beta/fileSearchStores": "file search stores",
    "/v1/interactions": "interactions",
    "/v1beta/interactions": "interactions",
    "/upload": "uploads of files",
}
#: Where only one service has anything -> the face of its clients, who say v1 or v1beta.
_OWNERS = dict.fromkeys(("/upload", "/v1/cachedContents", "/v1/fileSearchStores", "/v1/interactions"), gemini.NAME)

#: Of Gemini's models, by what stands behind the colon.
_VERBS = {
    "batchGenerateContent": "batches",
    "asyncBatchEmbedContent": "batches of embeddings",
    "predict": "prediction",
    "predictLongRunning": "long-running prediction",
}


def not_built(path: str) -> NotBuilt | None:
    """The refusal of a path that no route has, when it is one of these or lies below one."""
    name = _found(_NAMES, path)
    if name is None and path.startswith("/v1beta/models/"):
        name = _VERBS.get(path.rpartition(":")[2])
    return NotBuilt(f"{name}: not offered by this server") if name is not None else None


def owner_of(path: str) -> str | None:
    """The face whose grammar a refusal of this path is written in, where its own paths do not tell."""
    return _found(_OWNERS, path)


def _found(names: Mapping[str, str], path: str) -> str | None:
    return next((name for known, name in names.items() if path == known or path.startswith(known + "/")), None)
