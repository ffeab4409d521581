"""Operations of the services' APIs that this server knows by name but does not offer."""

from __future__ import annotations

from ..core.errors import NotBuilt

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
    "/v1beta/cachedContents": "cached contents",
}

#: Of Gemini's models, by what stands behind the colon.
_VERBS = {
    "batchGenerateContent": "batches",
    "asyncBatchEmbedContent": "batches of embeddings",
    "predict": "prediction",
    "predictLongRunning": "long-running prediction",
}


def not_built(path: str) -> NotBuilt | None:
    """The refusal of a path that no route has, when it is one of these or lies below one."""
    for known, name in _NAMES.items():
        if path == known or path.startswith(known + "/"):
            return NotBuilt(f"{name}: not offered by this server")
    _, _, verb = path.rpartition(":")
    if path.startswith("/v1beta/models/") and verb in _VERBS:
        return NotBuilt(f"{_VERBS[verb]}: not offered by this server")
    return None
