"""Many exchanges with one real server whose providers all answer from recordings, several at a time."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field
from http.client import HTTPConnection
from pathlib import Path
from types import TracebackType
from typing import Any

from .corpus import Recording
from .serving import ADMIN_KEY, Serving
from .upstream import Asked, Said, Upstream

LANES = 4
PIECES = 40
KINDS = ("openai", "groq", "mistral", "open_router", "openai_compatible", "openai_response", "anthropic", "gemini")
#: These write the version into their own paths.
_VERSIONED = frozenset({"anthropic", "gemini"})
_PROVIDER = '[providers.{kind}_{lane}]\nkind = "{kind}"\nbase_url = "{url}"\napi_key = "sk-upstream"\n'
#: The address of a medium, up to its last name.
_ADDRESS = re.compile(
    rb'("(?:url|image_url|document_url|file_data|fileUri|file_uri)":\s*")https?://[^"]*?([^"/?]*)(?=[?"])'
)
_MEDIA = {
    "png": ("image/png", b"\x89PNG\r\n\x1a\n" + bytes(32)),
    "jpg": ("image/jpeg", b"\xff\xd8\xff" + bytes(32)),
    "pdf": ("application/pdf", b"%PDF-1.4\n"),
    "webm": ("video/webm", b"\x1aE\xdf\xa3" + bytes(32)),
    "txt": ("text/plain", b"Dummy TXT file"),
    "8b2bhnsluaai": ("audio/mpeg", b"ID3\x04" + bytes(32)),  # uploaded to Google, under the name that it got there
}


@dataclass(frozen=True)
class Ask:
    """One request to the server and what its provider says. path, body: made for the provider's configured name."""

    kind: str
    write: Callable[[str], tuple[str, bytes]]
    said: Said


@dataclass
class Got:
    """What the caller got, and what had arrived at the provider."""

    status: int
    headers: dict[str, str]
    body: bytes
    arrived: list[Asked] = field(default_factory=list)


class Replaying:
    """Use as a context manager. One lane has its own providers, so that an upstream call is known by its path."""

    def __init__(self, folder: Path) -> None:
        self._upstream = Upstream(self._answer)
        self._folder = folder
        self._says: list[Said] = [Said() for _ in range(LANES)]
        self._arrived: list[list[Asked]] = [[] for _ in range(LANES)]

    def __enter__(self) -> Replaying:
        self._upstream.__enter__()
        self.serving = Serving(self._folder, _configuration(self._upstream.url)).__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.serving.__exit__(kind, error, trace)
        self._upstream.__exit__(kind, error, trace)

    def _answer(self, asked: Asked) -> Said:
        if asked.method == "GET":
            return medium(asked.path)
        lane = int(asked.path.split("/", 2)[1])
        self._arrived[lane].append(asked)
        return self._says[lane]

    def local(self, request: bytes) -> bytes:
        """The request with every medium's address led to our own provider, where there is one of its type."""
        return _ADDRESS.sub(lambda found: found[1] + f"{self._upstream.url}/media/".encode() + found[2], request)

    def all(self, asks: Sequence[Ask]) -> list[Got]:
        """Every ask's outcome, in their order."""
        todo = iter(enumerate(asks))
        lock = threading.Lock()

        def work(lane: int) -> list[tuple[int, Got]]:
            got = []
            with closing(HTTPConnection("127.0.0.1", self.serving.port, timeout=60)) as connection:
                while True:
                    with lock:
                        place, ask = next(todo, (-1, None))
                    if ask is None:
                        return got
                    got.append((place, self._one(connection, lane, ask)))

        with ThreadPoolExecutor(LANES) as lanes:
            every = [one for lane in lanes.map(work, range(LANES)) for one in lane]
        self._upstream.asked.clear()
        return [got for _, got in sorted(every, key=lambda pair: pair[0])]

    def attempts(self) -> dict[str, dict[str, Any]]:
        """The account of every attempt so far, by its run."""
        found: dict[str, dict[str, Any]] = {}
        query = "limit=1000"
        while True:
            page = self.serving.ask("GET", f"/v1/admin/attempts?{query}").json
            found |= {one["run_id"]: one for one in page["data"]}
            if not page["has_more"]:
                return found
            query = f"limit=1000&after={page['last_id']}"

    def _one(self, connection: HTTPConnection, lane: int, ask: Ask) -> Got:
        path, body = ask.write(f"{ask.kind}_{lane}")
        self._says[lane] = ask.said
        self._arrived[lane] = []
        headers = {"content-type": "application/json", "authorization": f"Bearer {ADMIN_KEY}"}
        connection.request("POST", path, body, headers)
        reply = connection.getresponse()
        told = {name.lower(): value for name, value in reply.headers.items()}
        return Got(reply.status, told, reply.read(), self._arrived[lane])


def recorded(recording: Recording) -> Said:
    """The recorded answer; one that streams comes in pieces that know nothing of its frames."""
    body = recording.body
    size = max(len(body) // PIECES + 1, 7) if recording.streams else len(body) or 1
    pieces = [body[at : at + size] for at in range(0, len(body), size)]
    return Said(pieces, recording.status, recording.type)


def medium(path: str) -> Said:
    """A small file of the type that its address tells."""
    ending = path.rpartition("/")[2].rpartition(".")[2]
    kind, content = _MEDIA.get(ending, _MEDIA["png"])
    return Said((content,), content_type=kind)


def _configuration(url: str) -> str:
    allowed = '[egress]\nallow = ["{}"]\n'.format(url.removeprefix("http://"))
    return allowed + "".join(
        _PROVIDER.format(kind=kind, lane=lane, url=f"{url}/{lane}" + ("" if kind in _VERSIONED else "/v1"))
        for kind in KINDS
        for lane in range(LANES)
    )
