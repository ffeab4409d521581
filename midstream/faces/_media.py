"""Media that users attach, as the faces of our own formats read them."""

from __future__ import annotations

import binascii
import re
from typing import Literal
from urllib.parse import unquote

from ..core.errors import BadRequest
from ..core.media_types import OCTETS, essence, kind_of, plainly
from ..core.parts import Media, MediaKind

#: What follows the host of an address, without its query and fragment.
_PATH = re.compile(r"https?://[^/?#]*([^?#]*)")
_KINDS: dict[str, MediaKind] = {"image": "image", "audio": "audio", "video": "video", "file": "file"}
#: Types by the ending of a file's name. Not the machine's own list: it would differ from one to the next.
_TYPES = {
    "png": "image/png", "jpg": "image/jpeg", "jpeg": "image/jpeg", "webp": "image/webp", "gif": "image/gif",
    "heic": "image/heic", "heif": "image/heif", "avif": "image/avif", "bmp": "image/bmp", "tif": "image/tiff",
    "tiff": "image/tiff",
    "mp3": "audio/mpeg", "wav": "audio/wav", "m4a": "audio/mp4", "aac": "audio/aac", "ogg": "audio/ogg",
    "oga": "audio/ogg", "opus": "audio/ogg", "flac": "audio/flac", "aif": "audio/aiff", "aiff": "audio/aiff",
    "mp4": "video/mp4", "m4v": "video/mp4", "mov": "video/quicktime", "webm": "video/webm", "mpeg": "video/mpeg",
    "mpg": "video/mpeg", "avi": "video/x-msvideo", "mkv": "video/x-matroska", "3gp": "video/3gpp",
    "pdf": "application/pdf", "txt": "text/plain", "md": "text/markdown", "csv": "text/csv", "html": "text/html",
    "htm": "text/html", "xml": "text/xml", "json": "application/json", "rtf": "application/rtf",
    "yaml": "application/yaml", "yml": "application/yaml", "epub": "application/epub+zip",
    "doc": "application/msword", "xls": "application/vnd.ms-excel", "ppt": "application/vnd.ms-powerpoint",
    "docx": "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
    "xlsx": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
    "pptx": "application/vnd.openxmlformats-officedocument.presentationml.presentation",
    "odt": "application/vnd.oasis.opendocument.text", "ods": "application/vnd.oasis.opendocument.spreadsheet",
    "odp": "application/vnd.oasis.opendocument.presentation",
}  # fmt: skip


def media_of(
    kind: str, url: str | None, data: str | None, mime: str, name: str | None, path: str,
    typed: Literal["mimeType", "mime_type"] = "mimeType",
) -> Media:  # fmt: skip
    """kind: image, audio, video, file, or "" = told by the type, else by its name, else a file; a file whose type says
    that it is a picture is one. url: http(s), or a data: URL. data: base64. typed: what the face calls the type. Raises
    BadRequest."""
    if (url is None) == (data is None):
        raise BadRequest(f"{path}: either url or data is needed{', not both' if url else ''}", param=path)
    if url is not None and url.startswith("data:"):
        head, comma, rest = url[5:].partition(",")
        if not comma or not head.endswith(";base64"):
            raise BadRequest(f"{path}.url: a data: URL must be base64", param=f"{path}.url")
        mime = _one_type(mime, head[: -len(";base64")], f"{path}.{typed}")
        url, data = None, rest
    if url is not None and not re.match(r"https?://[^/\s]", url):
        raise BadRequest(f"{path}.url: must begin with https:// or http://", param=f"{path}.url")
    if data is not None:
        _check_base64(data, mime, path, typed)
    if kind and kind not in _KINDS:
        raise BadRequest(f"{path}.type: must be image, audio, video or file", param=f"{path}.type")
    if url is not None and kind in ("", "file") and essence(mime) in ("", OCTETS):
        told = _type_by(name or "") or _type_at(url)
        mime = told if told and (not kind or kind_of(told) == "file") else mime
    return plainly(Media(_KINDS[kind] if kind else "file", mime, data=data, url=url, name=name))


def _one_type(told: str, written: str, path: str) -> str:
    """told: beside a data: URL. written: in it."""
    if not told or not written or essence(written) == OCTETS:
        return told or written
    if essence(told) == OCTETS:
        return written
    if essence(told) != essence(written):
        raise BadRequest(f"{path}: the data: URL says {written[:100]}", param=path, code="contradictory")
    return told


def _check_base64(data: str, mime: str, path: str, typed: str) -> None:
    if not mime:
        raise BadRequest(f"{path}.{typed}: needed with data", param=f"{path}.{typed}")
    try:
        decoded = binascii.a2b_base64(data.encode("ascii", "replace"), strict_mode=True)
    except binascii.Error:
        decoded = b""
    if not decoded:
        raise BadRequest(f"{path}.data: not base64", param=f"{path}.data")


def _type_at(url: str) -> str:
    """The type that the name at this address speaks of, "" for none that is known."""
    found = _PATH.match(url)
    return _type_by(unquote(found[1].rpartition("/")[2])) if found is not None else ""


def _type_by(name: str) -> str:
    return _TYPES.get(name.rpartition(".")[2].lower(), "") if "." in name else ""
