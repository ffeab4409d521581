"""The OpenAPI document: what FastAPI knows of the admin routes, and every other route of the server beside it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from ..core.web import Route
from .faces import Face
from .operations import ROUTES

_WORD = re.compile(r"\w+")
_TAGS = (
    (
        "accounts",
        "What was asked, what it cost and how it went. Needs the admin key or a key with the scope read or admin.",
    ),
    ("keys", "API keys and orgs. Needs the admin key or a key with the scope admin."),
    ("agents", "Agents, their versions and what they use. Needs the admin key or a key with the scope admin."),
    ("tools", "Tools by their names, what was called, and documents. Those under /v1/admin need the scope admin."),
    ("deliveries", "Answers on their way elsewhere. Those under /v1/admin need the admin key or the scope admin."),
    ("batches", "Many turns of one agent, asked at once."),
    ("operations", "For orchestrators and monitoring."),
)
#: What every route may answer too.
_REFUSED = {
    "4XX": {"description": "Refused, in the words and the shape of the format; the message names the field"},
    "5XX": {"description": "Failed: the provider, or this server; the message says which"},
}
_OPEN: list[dict[str, Any]] = [{}]
#: How a credential may be sent, by the names that the SDKs use.
_SCHEMES = {
    "bearer": {"type": "http", "scheme": "bearer"},
    "x-api-key": {"type": "apiKey", "in": "header", "name": "x-api-key"},
    "api-key": {"type": "apiKey", "in": "header", "name": "api-key"},
    "x-goog-api-key": {"type": "apiKey", "in": "header", "name": "x-goog-api-key"},
    "key": {"type": "apiKey", "in": "query", "name": "key", "description": "Only in the URLs of Gemini's routes"},
}
#: Only the pages of the admin application are refused by FastAPI itself: here they are refused by our own words.
_NOT_OURS = ("HTTPValidationError", "ValidationError")


def describe(document: dict[str, Any], faces: Mapping[str, Face], is_open: Iterable[str]) -> None:
    """Completes FastAPI's document in place. is_open: paths that need no key."""
    paths = document["paths"]
    for operations in paths.values():
        for operation in operations.values():
            if operation["responses"].pop("422", None):
                operation["responses"]["400"] = _REFUSED["4XX"]
            operation["responses"] |= _REFUSED
    schemas = document.setdefault("components", {}).setdefault("schemas", {})
    for face in faces.values():
        body, parts = _body(face)
        schemas |= parts
        for route in face.ROUTES:
            paths.setdefault(_path(route), {})[route.method.lower()] = _operation(route, face.NAME, body)
    for route in ROUTES:
        open_to_all = {"security": _OPEN} if route.path in is_open else {}
        paths[route.path] = {"get": {**_operation(route, "operations"), **open_to_all}}
    document["tags"] = [
        *({"name": face.NAME, "description": (face.__doc__ or "").partition("\n")[0]} for face in faces.values()),
        *({"name": name, "description": said} for name, said in _TAGS),
    ]
    document["components"]["securitySchemes"] = _SCHEMES
    for name in _NOT_OURS:
        schemas.pop(name, None)
    document["security"] = [{name: []} for name in _SCHEMES]


def _path(route: Route) -> str:
    return route.path.replace(":rest}", "}")


def _body(face: Face) -> tuple[dict[str, Any], dict[str, Any]]:
    """The schema of what the face's bodies hold, and those that it refers to, by their names."""
    if face.BODY is None:
        return {"type": "object", "description": "As the service of this format takes it."}, {}
    prefix = f"{face.NAME}."
    [body], parts = msgspec.json.schema_components([face.BODY], ref_template=f"#/components/schemas/{prefix}{{name}}")
    return body, {prefix + name: schema for name, schema in parts.items()}


def _operation(route: Route, tag: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
    names = [piece.partition("}")[0].removesuffix(":rest") for piece in route.path.split("{")[1:]]
    answer = "The answer" if tag == "operations" else "The answer, as the service of this format gives it"
    operation: dict[str, Any] = {
        "tags": [tag],
        "summary": route.summary,
        "operationId": "_".join([route.method.lower(), *_WORD.findall(route.path)]),
        "parameters": [{"name": name, "in": "path", "required": True, "schema": {"type": "string"}} for name in names],
        "responses": {"200": {"description": answer}, **_REFUSED},
    }
    if route.method == "POST":
        content = {"application/json": {"schema": body or {"type": "object"}}}
        operation["requestBody"] = {"required": True, "content": content}
    return operation
