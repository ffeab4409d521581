"""The form an answer shall have: text, any JSON object, or an instance of a JSON schema."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from ..core.errors import BadRequest
from ..core.json_schema import broken_text
from ..core.turn import Format

_KINDS = {"text": "text", "default": "text", "json": "json", "json_object": "json", "json_schema": "json_schema"}


def format_of(value: Any, schema: Any, path: str) -> Format | None:
    """value: a word, or {type, json_schema} where json_schema is a schema or OpenAI's {name, schema, strict}.
    schema: stands beside a word. None = text. Raises BadRequest, code response_type_invalid."""
    if value is None or value == "":
        return None
    if isinstance(value, Mapping):
        schema = value.get("json_schema", value.get("schema", schema))
        value = value.get("type")
    kind = _KINDS.get(value) if isinstance(value, str) else None
    if kind is None:
        raise _invalid(path, "must be text, json or json_schema")
    if kind == "text":
        return None
    if kind == "json":
        return Format("json")
    return _schema(schema, path)


def _schema(schema: Any, path: str) -> Format:
    if isinstance(schema, str):
        try:
            schema = msgspec.json.decode(schema)
        except msgspec.DecodeError:
            raise _invalid(path, "the JSON schema is no JSON") from None
    if not isinstance(schema, Mapping) or not schema:
        raise _invalid(path, "json_schema needs a JSON schema")
    inner = schema.get("schema")
    if isinstance(inner, Mapping):
        strict = schema.get("strict")
        form = Format(
            "json_schema",
            dict(inner),
            _text(schema.get("name")) or "answer",
            _text(schema.get("description")),
            strict if isinstance(strict, bool) else None,
        )
    else:
        form = Format("json_schema", dict(schema), _text(schema.get("title")) or "answer")
    if (problem := broken_text(msgspec.json.encode(form.schema))) is not None:
        raise _invalid(path, problem)
    return form


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) and value else None


def _invalid(path: str, why: str) -> BadRequest:
    return BadRequest(f"{path}: {why}", code="response_type_invalid", param=path)
