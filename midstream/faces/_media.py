"""Media that users attach, as the faces of our own formats read them."""

from __future__ import annotations

import binascii
import re
from urllib.parse import unquote

from ..core.errors import BadRequest
from ..core.parts import Media, MediaKind, kind_of

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
}  # fmt: skip


def media_of(kind: str, url: str | None, data: str | None, mime: str, name: str | None, path: str) -> Media:
    """kind: image, audio, video, file, or "" = told by the type, else by how the address ends, else a file.
    url: http(s), or a data: URL. data: base64. Raises BadRequest."""
    if url is not None and url.startswith("data:"):
        head, comma, rest = url[5:].partition(",")
        if not comma or not head.endswith(";base64"):
            raise BadRequest(f"{path}.url: a data: URL must be base64", param=f"{path}.url")
        url, data, mime = None, rest if data is None else data, mime or head[: -len(";base64")]
    if (url is None) == (data is None):
        raise BadRequest(f"{path}: either url or data is needed", param=path)
    if url is not None and not re.match(r"https?://[^/\s]", url):
        raise BadRequest(f"{path}.url: must begin with https:// or http://", param=f"{path}.url")
    if data is not None:
        _check_base64(data, mime, path)
    if kind and kind not in _KINDS:
        raise BadRequest(f"{path}.type: must be image, audio, video or file", param=f"{path}.type")
    if not kind and not mime and url is not None:
        mime = _type_at(url)
    return Media(_KINDS[kind] if kind else kind_of(mime), mime, data=data, url=url, name=name)


def _check_base64(data: str, mime: str, path: str) -> None:
    if not mime:
        raise BadRequest(f"{path}.mimeType: needed with data", param=f"{path}.mimeType")
    try:
        decoded = binascii.a2b_base64(data.encode("ascii", "replace"), strict_mode=True)
    except binascii.Error:
        decoded = b""
    if not decoded:
        raise BadRequest(f"{path}.data: not base64", param=f"{path}.data")


def _type_at(url: str) -> str:
    """The type that the name at this address speaks of, "" for none that is known."""
    found = _PATH.match(url)
    name = unquote(found[1].rpartition("/")[2]) if found is not None else ""
    return _TYPES.get(name.rpartition(".")[2].lower(), "") if "." in name else ""
