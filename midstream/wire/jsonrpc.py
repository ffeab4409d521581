"""JSON-RPC 2.0: one message or a batch as bytes, and back."""

from __future__ import annotations

from codecs import BOM_UTF8
from typing import Any, TypeAlias

import msgspec
from msgspec import Struct

from ..core.errors import Garbled

PARSE_ERROR, INVALID_REQUEST, METHOD_NOT_FOUND, INVALID_PARAMS, INTERNAL_ERROR = -32700, -32600, -32601, -32602, -32603

Id: TypeAlias = int | str


class Call(Struct, frozen=True):
    """A request that wants an answer."""

    id: Id
    method: str
    params: dict[str, Any] = {}


class Notice(Struct, frozen=True):
    """A request that wants none."""

    method: str
    params: dict[str, Any] = {}


class Result(Struct, frozen=True):
    id: Id
    value: Any = None


class Fault(Struct, frozen=True):
    """id: None when the request could not be read."""

    id: Id | None
    code: int
    message: str = ""
    data: Any = None


Message: TypeAlias = Call | Notice | Result | Fault


class _Error(Struct):
    code: int
    message: str = ""
    data: Any = None


class _Any(Struct):
    """Every member that a message may have."""

    jsonrpc: str
    id: int | str | msgspec.UnsetType | None = msgspec.UNSET
    method: str | msgspec.UnsetType = msgspec.UNSET
    params: dict[str, Any] | list[Any] | msgspec.UnsetType | None = msgspec.UNSET
    result: Any = msgspec.UNSET
    error: _Error | msgspec.UnsetType | None = msgspec.UNSET


_decode = msgspec.json.Decoder(_Any | list[_Any]).decode
_encode = msgspec.json.encode


def read(data: bytes | str) -> list[Message]:
    """The messages of a body, a line or an event, with or without a byte order mark. Raises Garbled."""
    try:
        found = _decode(data.removeprefix("\ufeff") if isinstance(data, str) else data.removeprefix(BOM_UTF8))
    except (msgspec.DecodeError, RecursionError, UnicodeError) as error:
        raise Garbled(f"not a JSON-RPC message: {error}") from None
    return [_read(one) for one in (found if isinstance(found, list) else [found])]


def _read(one: _Any) -> Message:
    if one.jsonrpc != "2.0":
        raise Garbled("not a JSON-RPC message: jsonrpc is not 2.0")
    if isinstance(one.method, str):
        params = one.params if isinstance(one.params, dict) else {}
        return Call(one.id, one.method, params) if isinstance(one.id, int | str) else Notice(one.method, params)
    if isinstance(one.error, _Error):
        id = one.id if isinstance(one.id, int | str) else None
        return Fault(id, one.error.code, one.error.message, one.error.data)
    if one.result is not msgspec.UNSET and isinstance(one.id, int | str):
        return Result(one.id, one.result)
    raise Garbled("not a JSON-RPC message: neither a request nor an answer")


def write(message: Message) -> bytes:
    """JSON text without line ends."""
    fields: dict[str, Any] = {"jsonrpc": "2.0"}
    match message:
        case Call(id, method, params):
            fields |= {"id": id, "method": method, "params": params}
        case Notice(method, params):
            fields |= {"method": method, **({"params": params} if params else {})}
        case Result(id, value):
            fields |= {"id": id, "result": value}
        case Fault(id, code, text, data):
            error = {"code": code, "message": text, **({} if data is None else {"data": data})}
            fields |= {"id": id, "error": error}
    return _encode(fields)
