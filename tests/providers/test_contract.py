"""What every provider's file promises. Golden requests are written by

    pytest tests/providers --golden

and read before they are committed: a new provider fails here until it has its own."""

from __future__ import annotations

import contextlib
import re
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import msgspec
import pytest
from msgspec.structs import replace

from midstream import providers
from midstream.core.errors import BadRequest, Unreachable
from midstream.core.http import Incoming, Outgoing
from midstream.core.parts import Media, Message, Text
from midstream.core.registry import modules_of
from midstream.core.turn import EmbedAsk, Params, Plan, Prompt, Turn
from midstream.core.unread import of_before
from midstream.egress.addresses import Addresses
from midstream.providers._inline import Links

from .asking import KEY, MODEL, REMOTE, SERVICES, Watched, fields_of, plan_of, shown, turn_of
from .cases import CASES, HI

GOLDEN = Path(__file__).parent / "golden"
VARIABLE = re.compile(r"[A-Z][A-Z0-9_]+")


def formatted(value: Any) -> bytes:
    return msgspec.json.format(msgspec.json.encode(value), indent=2) + b"\n"


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("kind", REMOTE)
def test_each_request_goes_out_as_its_golden_file_says(kind: str, case: str, writes_golden: bool):
    watched = Watched(kind)
    plan = plan_of(turn_of(CASES[case]))
    try:
        sent = formatted(shown(watched.ask(plan), plan, watched.service))
    except BadRequest as error:
        assert not watched.sent
        sent = formatted({"refused": error.message, "param": error.param, "code": error.code})
    path = GOLDEN / kind / f"{case}.json"
    if writes_golden:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(sent)
    assert path.exists(), "no golden request: `pytest tests/providers --golden` writes it"
    assert sent == path.read_bytes()


def test_every_golden_file_is_of_a_provider_and_a_case():
    assert {path.parent.name for path in GOLDEN.glob("*/*")} == set(REMOTE)
    assert {path.stem for path in GOLDEN.glob("*/*")} == set(CASES)


@pytest.mark.parametrize("kind", SERVICES)
def test_a_file_says_what_its_service_is_for(kind: str):
    module = modules_of(providers)[kind]
    assert module.__doc__
    assert re.fullmatch(r"[a-z][a-z0-9_]*", kind)


@pytest.mark.parametrize("kind", REMOTE)
def test_a_services_fields_make_sense_together(kind: str):
    service = REMOTE[kind]
    address = urlsplit(service.base_url)
    assert not service.base_url.endswith("/")
    assert address.scheme in ("", "https") or address.hostname == "127.0.0.1"
    assert service.base_url or service.url_env or service.keyless, "nobody could say where it is"
    assert service.keyless or service.key_env, "nobody could switch it on"
    assert all(VARIABLE.fullmatch(name) for name in (service.key_env, service.url_env) if name)
    assert bool(service.vendor) == (not service.keyless), "whoever needs a key sends bills"
    assert service.path(MODEL, True).startswith("/")
    assert service.path(MODEL, False).startswith("/")
    assert (service.models_path is None) == (service.read_models is None)
    assert all(name == name.lower() for name, _ in service.headers)
    assert all(name == name.lower() for name in service.forwards)
    assert not service.models
    assert service.answers is None


def test_an_environment_variable_switches_on_one_vendor_only():
    by_key: dict[str, set[str]] = {}
    for service in REMOTE.values():
        if service.key_env:
            by_key.setdefault(service.key_env, set()).add(service.vendor)
    assert all(len(vendors) == 1 for vendors in by_key.values()), by_key
    addresses = [service.url_env for service in REMOTE.values() if service.url_env]
    assert len(addresses) == len(set(addresses))


@pytest.mark.parametrize("kind", REMOTE)
def test_the_key_stands_in_one_header_and_nowhere_else(kind: str):
    outgoing = Watched(kind).ask(plan_of(turn_of({"messages": HI})))
    assert sum(KEY in value for _, value in outgoing.headers) == 1
    assert KEY not in outgoing.url
    assert KEY.encode() not in outgoing.body


def every_exchange(kind: str) -> list[Any]:
    """All kinds of requests that a provider makes of its own service."""
    sent = []
    text = fields_of({"model": MODEL, "messages": HI})
    chat = turn_of({"messages": HI})
    embedding = Turn("openai_chat", text, lambda fields: chat.prompt, model=MODEL, kind="embedding",
                     embed=EmbedAsk(("a",), MODEL))  # fmt: skip
    counting = Turn("openai_chat", text, lambda fields: chat.prompt, model=MODEL, kind="count_tokens")
    for turn, stream in ((chat, False), (chat, True), (embedding, False), (counting, False)):
        watched = Watched(kind)
        service = watched.service
        if (turn is embedding and service.embedding is None) or (turn is counting and service.counting is None):
            continue
        watched.ask(Plan(turn, MODEL, stream))
        sent += watched.sent
    return sent


@pytest.mark.parametrize("kind", REMOTE)
def test_a_key_goes_to_its_own_host_only_and_follows_no_redirect(kind: str):
    home = urlsplit(Watched(kind).provider.base_url)
    for outgoing in every_exchange(kind):
        address = urlsplit(outgoing.url)
        assert (address.scheme, address.netloc) == (home.scheme, home.netloc)
        assert outgoing.redirects == 0


@pytest.mark.parametrize("kind", REMOTE)
def test_who_asks_for_a_vector_need_not_have_said_anything(kind: str):
    def read(fields: Any) -> Prompt:
        raise BadRequest("messages must be an array of at least one message", param="messages")

    watched = Watched(kind)
    turn = Turn("of another", {}, read, model=MODEL, kind="embedding", embed=EmbedAsk(("a",), MODEL))
    if watched.service.embedding is not None:
        assert b'"a"' in watched.ask(Plan(turn, MODEL, False)).body


HOSTILE = [
    "../../../../evil.example",
    "//evil.example/x",
    "@evil.example",
    "x?key=1#",
    "x\r\nhost: evil.example",
    "\u00e9 /",
]


@pytest.mark.parametrize("model", HOSTILE)
@pytest.mark.parametrize("kind", REMOTE)
def test_no_models_name_leads_a_key_to_another_place(kind: str, model: str):
    watched = Watched(kind)
    home = urlsplit(watched.provider.base_url)
    outgoing = watched.ask(Plan(turn_of({"messages": HI}), model, False))
    address = urlsplit(outgoing.url)
    assert (address.scheme, address.netloc) == (home.scheme, home.netloc)
    assert re.fullmatch(r"[!-~]+", outgoing.url)
    assert ".." not in address.path.split("/")
    assert "key=1" not in address.query


@pytest.mark.parametrize("kind", REMOTE)
def test_media_that_is_fetched_for_a_service_is_fetched_without_its_key(kind: str):
    watched = Watched(kind)
    image = {"type": "image_url", "image_url": {"url": "https://pictures.example/x.png"}}
    with contextlib.suppress(BadRequest):  # it cannot be had
        watched.ask(plan_of(turn_of({"messages": [{"role": "user", "content": [image]}]})))
    [outgoing] = watched.sent
    if urlsplit(outgoing.url).hostname == "pictures.example":
        assert not any(KEY in value for _, value in outgoing.headers)
        assert not outgoing.trusted


def asked(kind: str, turn: Turn) -> Any:
    """What goes out, or why nothing does."""
    try:
        return Watched(kind).ask(plan_of(turn))
    except BadRequest as error:
        return error.message


@pytest.mark.parametrize("kind", REMOTE)
def test_asking_twice_says_the_same_and_leaves_the_callers_words_alone(kind: str):
    for value in CASES.values():
        turn = turn_of(value)
        before = {name: bytes(raw) for name, raw in turn.fields.items()}
        first, second = (asked(kind, turn) for _ in range(2))
        assert first == second
        assert {name: bytes(raw) for name, raw in turn.fields.items()} == before


#: Of each kind, and such as hardly anybody takes.
MEDIA = {
    "picture": Media("image", "image/png", data="AAAA"),
    "sound": Media("audio", "audio/mpeg", data="AAAA"),
    "film": Media("video", "video/mp4", data="AAAA"),
    "paper": Media("file", "application/pdf", data="AAAA"),
    "archive": Media("file", "application/zip", data="AAAA"),
    "latin": Media("file", "text/plain", data="6Q=="),
    "sound that is gone": Media("audio", "audio/mpeg", url="https://gone.example/a.mp3"),
    "paper that is gone": Media("file", "application/pdf", url="https://gone.example/a.pdf"),
    "id of another": Media("file", file_id="file-abc"),
}
WORDS = "you cannot read what stands here"


def of_an_agent(*messages: Message) -> Plan:
    """In no provider's own words."""
    return Plan(Turn("agent", {}, lambda fields: Prompt(messages), model=MODEL), MODEL, False)


async def nobody(outgoing: Outgoing) -> Incoming:
    raise Unreachable("gone")


def posted(watched: Watched, plan: Plan) -> str:
    watched.provider.links = Links(nobody, lambda: 0.0, lambda url: None)
    return watched.ask(plan).body.decode()


@pytest.mark.parametrize("media", MEDIA.values(), ids=MEDIA)
@pytest.mark.parametrize("kind", REMOTE)
def test_words_stand_for_what_was_said_before_and_cannot_be_sent(kind: str, media: Media):
    before = (Message("user", (media,)), Message("assistant", (Text("I see."),)))
    asked = Message("user", (Text("And now?"),))
    of_agent = of_an_agent(*of_before(before), asked)
    of_client = Plan(turn_of({"messages": HI}), MODEL, False, of_before(before))
    for plan in (of_agent, of_client):
        sent = posted(Watched(kind), plan)
        value = media.data or media.url or media.file_id or ""
        assert (value in sent) != (f"({media.kind}: {WORDS})" in sent)
        assert "I see." in sent


@pytest.mark.parametrize("media", MEDIA.values(), ids=MEDIA)
@pytest.mark.parametrize("kind", REMOTE)
def test_what_is_asked_now_is_sent_or_refused_at_its_place_and_never_left_out_to_the_last(kind: str, media: Media):
    watched = Watched(kind)
    asked = Message("user", (replace(media, place="files[0]"),))
    refusal: BadRequest | None = None
    try:
        sent = posted(watched, of_an_agent(Message("system", (Text("Be brief."),)), asked))
    except BadRequest as error:
        refusal, sent = error, ""
    if refusal is None:
        assert (media.data or media.url or media.file_id or "") in sent
        assert WORDS not in sent
    else:
        assert refusal.code in ("unsupported_media", "media_not_found", "invalid_media")
        assert refusal.param == "files[0]"
        assert not watched.sent


#: What of a file at an address reaches a service: the address, or what stands there.
LINKS = {
    "a paper": "application/pdf",
    "data": "application/json",
    "a letter": "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
    "notes": "text/plain",
    "unknown": "",
}
THERE = "T2YgYSBsaW5r"
TEXTS = ("text/plain", "application/json")
#: Services that do not take every file.
READ = {"groq": TEXTS, "anthropic": (*TEXTS, "application/pdf")}


class Found:
    status, headers = 200, {"content-type": "application/octet-stream"}

    async def read(self, limit: int = 0) -> bytes:
        return b"Of a link"

    def close(self) -> None:
        pass


async def finding(outgoing: Outgoing) -> Incoming:
    return Found()  # type: ignore[return-value]


@pytest.mark.parametrize("mime", LINKS.values(), ids=LINKS)
@pytest.mark.parametrize("kind", REMOTE)
def test_no_service_is_left_to_fetch_a_file_that_it_may_not_read(kind: str, mime: str):
    watched = Watched(kind)
    watched.provider.links = Links(finding, lambda: 0.0, lambda url: None)
    media = Media("file", mime, url="https://files.example/a", place="files[0]")
    plan = of_an_agent(Message("user", (media, Text("Read."))))
    if mime not in READ.get(kind, LINKS.values()):
        with pytest.raises(BadRequest) as caught:
            watched.ask(plan)
        assert (caught.value.code, caught.value.param) == ("unsupported_media", "files[0]")
        return
    sent = watched.ask(plan).body.decode()
    if "https://files.example/a" in sent:
        assert mime == "application/pdf"
    else:
        assert THERE in sent or "Of a link" in sent


@pytest.mark.parametrize("kind", REMOTE)
def test_a_file_that_is_a_picture_is_sent_as_one(kind: str):
    sent = []
    for named in ("image", "file"):
        media = Media(named, "IMAGE/PNG", data="AAAA", place="files[0]")  # type: ignore[arg-type]
        sent.append(Watched(kind).ask(of_an_agent(Message("user", (media, Text("See."))))).body)
    assert sent[0] == sent[1]
    assert b"image/png" in sent[0]


@pytest.mark.parametrize("media", MEDIA.values(), ids=MEDIA)
@pytest.mark.parametrize("kind", REMOTE)
def test_what_is_attached_now_is_not_left_out_because_something_else_is_said(kind: str, media: Media):
    watched = Watched(kind)
    asked = Message("user", (replace(media, place="files[0]"), Text("Sum it up.")))
    refusal: BadRequest | None = None
    try:
        sent = posted(watched, of_an_agent(asked))
    except BadRequest as error:
        refusal, sent = error, ""
    assert refusal is not None or (media.data or media.url or media.file_id or "") in sent
    assert refusal is None or refusal.param == "files[0]"
    assert refusal is None or refusal.code in ("unsupported_media", "media_not_found", "invalid_media")


PRIVATE = "http://169.254.169.254/latest/meta-data"


async def behind_the_door(outgoing: Outgoing) -> Incoming:
    Addresses(()).check(outgoing.url)
    raise AssertionError("dialled")


def handed(kind: str, plan: Plan) -> str:
    """What goes out, or the code of why nothing does."""
    watched = Watched(kind)
    watched.provider.links = Links(behind_the_door, lambda: 0.0, Addresses(()).check)
    try:
        return watched.ask(plan).body.decode()
    except BadRequest as error:
        assert not watched.sent
        return error.code


@pytest.mark.parametrize("kind", REMOTE)
def test_a_private_address_is_handed_to_a_service_only_as_its_own_client_writes_it(kind: str):
    picture = Media("image", url=PRIVATE)
    for media in (picture, Media("file", "application/pdf", url=PRIVATE), Media("video", url=PRIVATE)):
        assert handed(kind, of_an_agent(Message("user", (media, Text("See."))))) == "address_refused"
    said = Prompt((Message("user", (picture, Text("Draw."))),), params=Params(modalities=("text", "image")))
    drawing = Turn("agent", {}, lambda fields: said, model=MODEL)
    counting = Turn("agent", {}, lambda fields: said, model=MODEL, kind="count_tokens")
    for turn in (drawing, counting) if REMOTE[kind].counting is not None else (drawing,):
        assert handed(kind, Plan(turn, MODEL, False)) == "address_refused"
    image = {"type": "image_url", "image_url": {"url": PRIVATE}}
    chat = plan_of(turn_of({"messages": [{"role": "user", "content": [image]}]}))
    own = chat.turn.dialect == REMOTE[kind].dialect.NAME
    assert (PRIVATE in handed(kind, chat)) == own
    assert own or handed(kind, chat) == "address_refused"
