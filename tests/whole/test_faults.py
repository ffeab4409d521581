"""The fault matrix: every way in which a provider can fail, through a real server and real sockets.

What holds for every case: the client gets exactly one end in time, in the grammar of the face that it asked; the
ledger has one settled attempt for each request that the provider saw; what the client read is what the provider
said; nothing is left behind."""

from __future__ import annotations

import asyncio
import datetime
import os
import random
import ssl
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from . import fault_streams
from .fault_words import DIALECT_OF, INPUT_TOKENS, OUTPUT_TOKENS
from .faults import AWAY, CATALOGUE, Case, Fault, FaultyUpstream
from .outcomes import Got, Read, ask, read
from .serving import ADMIN_KEY, Serving

SEED = int(os.environ.get("FAULTS_SEED", "20261121"))
SAMPLE = 300
AT_ONCE = 32
#: Seconds; phases short enough that a stall costs little, long enough for a machine that is busy with other tests.
TIMEOUTS = "timeouts = { connect = 1.0, write = 2.0, first_byte = 1.0, first_token = 1.3, between = 1.0, total = 4.0 }"
#: Three tries of the longest phase, the waits between them, and room for a busy machine.
DEADLINE = 40.0
FACES = ("chat", "messages", "gemini")
CANARY = "sk-canary-0123456789-of-the-provider"
OUR_CODES = {
    "upstream_error", "upstream_unreachable", "upstream_cut", "upstream_garbled", "upstream_timeout_connect",
    "upstream_timeout_write", "upstream_timeout_first_byte", "upstream_timeout_first_token",
    "upstream_timeout_between", "upstream_timeout_total",
}  # fmt: skip


@dataclass
class Outcome:
    case: Case
    got: Got
    said: Read
    attempts: list[dict[str, Any]] = field(default_factory=list)

    @property
    def result(self) -> str:
        """ok | refused | broken"""
        if self.got.status != 200:
            return "refused"
        return "broken" if self.said.error else "ok"


@dataclass
class Swept:
    """Everything that is known after a sweep. before, after: descriptors and kB of memory of the server.
    peak: kB that it had at most."""

    outcomes: list[Outcome]
    late: list[Case]
    upstream: FaultyUpstream
    log: str
    fds: tuple[int, int] = (0, 0)
    rss: tuple[int, int] = (0, 0)
    peak: int = 0
    started: int = 0
    rows: int = 0


def cases_of(faults: list[Fault], seed: int, size: int | None) -> list[Case]:
    """All combinations, or a sample of so many that holds each fault in each of the ways it can be asked for."""
    every = [
        (fault, kind, streamed, face)
        for fault in faults
        for kind in DIALECT_OF
        for streamed in (True, False)
        for face in FACES
        if fault.expected(DIALECT_OF[kind], streamed)
    ]
    order = random.Random(seed)
    order.shuffle(every)
    if size is not None:
        seen: set[tuple[str, bool]] = set()
        first = []
        for one in every:
            if (one[0].name, one[2]) not in seen:
                seen.add((one[0].name, one[2]))
                first.append(one)
        chosen = set(map(id, first))
        every = first + [one for one in every if id(one) not in chosen][: max(0, size - len(first))]
        order.shuffle(every)
    return [
        Case(f"case-{number}", fault, kind, streamed, face)
        for number, (fault, kind, streamed, face) in enumerate(every)
    ]


def configuration(ports: dict[str, int]) -> str:
    """One provider for each kind and place in the crowd, so that no case meets another's breaker or retry budget."""
    tables = []
    for kind in DIALECT_OF:
        version = "" if kind in ("anthropic", "gemini") else "/v1"
        bases = {f"p{place}": "http://127.0.0.1:{port}" for place in range(AT_ONCE)} | AWAY
        for name, base in bases.items():
            tables.append(
                f'[providers.{kind}-{name}]\nkind = "{kind}"\nbase_url = "{base.format(**ports)}{version}"\n'
                f'api_key = "{CANARY}"\n{TIMEOUTS}\n'
            )
    return "\n".join(tables)


def request_of(case: Case, place: int) -> tuple[str, dict[str, Any]]:
    where = case.fault.name if case.fault.name in AWAY else f"p{place}"
    model = f"{case.kind}-{where}/{case.id}"
    said = [{"role": "user", "content": "hi"}]
    if case.face == "chat":
        more = {"stream_options": {"include_usage": True}} if case.streamed else {}
        return "/v1/chat/completions", {"model": model, "messages": said, "stream": case.streamed, **more}
    if case.face == "messages":
        return "/v1/messages", {"model": model, "max_tokens": 100, "messages": said, "stream": case.streamed}
    verb = "streamGenerateContent?alt=sse" if case.streamed else "generateContent"
    return f"/v1beta/models/{model}:{verb}", {"contents": [{"role": "user", "parts": [{"text": "hi"}]}]}


def certificate(folder: Path) -> ssl.SSLContext:
    """A TLS server that nobody has reason to believe."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    (folder / "tls.pem").write_bytes(private + made.public_bytes(serialization.Encoding.PEM))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "tls.pem")
    return context


async def sweep(folder: Path, cases: list[Case], at_once: int = AT_ONCE) -> Swept:
    async with FaultyUpstream({case.id: case for case in cases}) as upstream:

        async def mute(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.read()
            writer.close()

        tls = await asyncio.start_server(mute, "127.0.0.1", 0, ssl=certificate(folder))
        silent = await asyncio.start_server(mute, "127.0.0.1", 0)
        ports = {"tls": tls.sockets[0].getsockname()[1], "silent": silent.sockets[0].getsockname()[1]}
        serving = Serving(folder, configuration({"port": upstream.port, **ports}))
        await asyncio.to_thread(serving.start)
        try:
            return await _swept(serving, upstream, cases, at_once)
        finally:
            await asyncio.to_thread(serving.stop)
            tls.close()
            silent.close()


async def _swept(serving: Serving, upstream: FaultyUpstream, cases: list[Case], at_once: int) -> Swept:
    assert serving.process is not None
    pid = serving.process.pid
    swept = Swept([], [], upstream, "")
    await asyncio.to_thread(serving.attempts)
    fds, rss = descriptors(pid), resident(pid)
    waiting = list(reversed(cases))

    async def ask_in_turn(place: int) -> None:
        while waiting:
            case = waiting.pop()
            path, body = request_of(case, place)
            headers = {"authorization": f"Bearer {ADMIN_KEY}", "content-type": "application/json"}
            try:
                got = await ask(serving.port, "POST", path, msgspec.json.encode(body), headers, DEADLINE)
            except TimeoutError:
                swept.late.append(case)
                continue
            swept.outcomes.append(Outcome(case, got, read(case.face, case.streamed, got)))

    await asyncio.gather(*(ask_in_turn(place) for place in range(at_once)))
    await _accounts(serving, swept)
    deadline = time.monotonic() + 70  # kept connections end after 50 s; those under way must have ended long before
    while descriptors(pid) > fds + upstream.open + 4 and time.monotonic() < deadline:
        await asyncio.sleep(0.2)
    swept.fds = (fds + upstream.open + 4, descriptors(pid))
    swept.rss = (rss, resident(pid))
    swept.peak = resident(pid, "VmHWM")
    swept.log = serving.log()
    return swept


async def _accounts(serving: Serving, swept: Swept) -> None:
    """All attempts, once every one is settled."""
    by_case = {outcome.case.id: outcome for outcome in swept.outcomes}
    deadline = time.monotonic() + 10
    while True:
        rows: list[dict[str, Any]] = []
        after = ""
        while True:
            page = (await asyncio.to_thread(serving.ask, "GET", f"/v1/admin/attempts?limit=1000{after}")).json
            rows += page["data"]
            if not page["has_more"]:
                break
            after = f"&after={page['last_id']}"
        swept.started = sum(row["status"] == "started" for row in rows)
        if not swept.started or time.monotonic() > deadline:
            break
        await asyncio.sleep(0.1)
    swept.rows = len(rows)
    for row in rows:
        if row["model"] in by_case:
            by_case[row["model"]].attempts.append(row)


def descriptors(pid: int) -> int:
    return len(os.listdir(f"/proc/{pid}/fd"))


def resident(pid: int, name: str = "VmRSS") -> int:
    """kB. VmHWM: at most since its start."""
    with open(f"/proc/{pid}/status") as lines:
        return next(int(line.split()[1]) for line in lines if line.startswith(name))


LIGHT = [fault for fault in CATALOGUE.values() if fault.name not in fault_streams.HEAVY]


@pytest.fixture(scope="module", params=["sample", pytest.param("all", marks=pytest.mark.long)], ids=["sample", "all"])
def swept(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Swept:
    cases = cases_of(LIGHT, SEED, SAMPLE if request.param == "sample" else None)
    return asyncio.run(sweep(tmp_path_factory.mktemp("faults"), cases))


def _all_good(swept: Swept, check: Any) -> None:
    wrong = [f"{one.case.title}: {found}" for one in swept.outcomes if (found := check(one))]
    assert not wrong, f"seed {SEED}, {len(wrong)} of {len(swept.outcomes)}:\n" + "\n".join(wrong[:60])


def test_every_case_comes_to_its_end_in_time(swept: Swept):
    assert [case.title for case in swept.late] == []
    assert len({one.case.fault.name for one in swept.outcomes}) == len(LIGHT)


def test_the_end_is_the_one_that_the_fault_allows(swept: Swept):
    def check(one: Outcome) -> str:
        wanted = one.case.expected
        if wanted == "broken" and not one.case.streamed:
            wanted = "refused"
        return "" if wanted in ("any", one.result) else f"{one.result} (want {wanted}) {_told(one)}"

    _all_good(swept, check)


def _told(one: Outcome) -> str:
    return f"{one.got.status} {one.said.error} {one.said.message[:100]} {one.got.body[-200:]!r}"


def test_what_is_answered_is_of_the_faces_grammar(swept: Swept):
    _all_good(swept, lambda one: "; ".join(one.said.faults[:3]))


def test_a_broken_answer_never_says_that_it_is_complete(swept: Swept):
    def check(one: Outcome) -> str:
        if one.result == "ok":
            # A chat stream that ended without its mark is relayed without one, never with one of ours.
            unmarked = one.case.fault.name.startswith("quiet_end_") and one.case.dialect == one.case.face == "chat"
            if unmarked and not one.case.fault.name.endswith("_done"):
                return "an end was made up" if one.said.ended else ""
            return "" if one.said.ended else f"no end was said: {one.got.body[-200:]!r}"
        return "its end was said" if one.said.ended else ""

    _all_good(swept, check)


def test_nothing_that_a_provider_does_is_our_own_error(swept: Swept):
    def check(one: Outcome) -> str:
        own = one.got.status == 500 and not one.case.fault.name.startswith(("status_500", "error_"))
        return _told(one) if own or "internal_error" in one.got.body.decode(errors="replace") else ""

    _all_good(swept, check)
    assert "bug_" not in swept.log
    assert "Traceback" not in swept.log


def test_every_error_has_a_code_that_is_documented_or_the_providers_own(swept: Swept):
    def check(one: Outcome) -> str:
        for attempt in one.attempts:
            error = attempt["error"]
            if (error is None) != (attempt["status"] == "ok"):
                return f"status {attempt['status']} with error {error}"
            if error and one.case.fault.code and not error["code"].startswith(one.case.fault.code):
                return f"code {error['code']}: {error['message']}"
            foreign = one.case.fault.name.startswith(("status_", "error_", "retry_after"))
            if error and not foreign and error["code"] not in OUR_CODES:
                return f"code {error['code']}: {error['message']}"
        return ""

    _all_good(swept, check)


def test_there_is_one_settled_attempt_for_each_request_that_the_provider_saw(swept: Swept):
    assert swept.started == 0
    assert swept.upstream.strays == []

    def check(one: Outcome) -> str:
        away = [row for row in one.attempts if (row["error"] or {}).get("code", "") in _NOT_SENT]
        made, saw = len(one.attempts) - len(away), swept.upstream.ledger[one.case.id]
        if made != saw:
            return f"{made} attempts, {saw} requests"
        if any(row["status"] not in ("ok", "failed", "partial") or row["ended_at"] is None for row in one.attempts):
            return f"unsettled: {[row['status'] for row in one.attempts]}"
        if [row["number"] for row in one.attempts] != list(range(1, len(one.attempts) + 1)):
            return f"numbers {[row['number'] for row in one.attempts]}"
        last = one.attempts[-1]["status"] if one.attempts else "none"
        wanted = {"ok": "ok", "refused": "failed", "broken": "partial"}[one.result]
        return "" if last == wanted else f"{one.result}, but the last attempt is {last}"

    _all_good(swept, check)


_NOT_SENT = ("upstream_unreachable", "upstream_timeout_connect")


def test_what_may_succeed_is_tried_again_and_nothing_else(swept: Swept):
    def check(one: Outcome) -> str:
        least, most = one.case.fault.tries
        return "" if least <= one.case.seen <= most else f"asked {one.case.seen} times: {_told(one)}"

    _all_good(swept, check)


def test_the_client_reads_what_the_provider_said(swept: Swept):
    def check(one: Outcome) -> str:
        whole = "".join(one.case.said)
        if one.result == "refused" or one.case.fault.calls:
            return ""
        if one.case.expected == "ok" and one.said.text != whole:
            return f"read {one.said.text!r}"
        return "" if whole.startswith(one.said.text) else f"read {one.said.text!r}"

    _all_good(swept, check)


def test_tool_calls_arrive_once_each_in_order(swept: Swept):
    def check(one: Outcome) -> str:
        if not one.case.fault.calls or one.result != "ok":
            return ""
        if one.said.calls != list(one.case.fault.calls):
            return f"calls {one.said.calls}"
        relayed = one.case.face == one.case.dialect
        return "" if relayed or len(set(one.said.ids)) == len(one.said.ids) else f"ids {one.said.ids}"

    _all_good(swept, check)


def test_usage_is_what_was_reported_or_marked_as_estimated(swept: Swept):
    def check(one: Outcome) -> str:
        for row in one.attempts:
            usage = row["usage"]
            if min(usage["input_tokens"], usage["output_tokens"]) < 0:
                return f"negative: {usage}"
            code = (row["error"] or {}).get("code", "")
            if code in _NOT_SENT and (usage["input_tokens"] or row["cost"] not in (None, "0", "0.000000000")):
                return f"billed, though nothing was sent: {usage} {row['cost']}"
            sent = row["status"] == "failed" and code in ("upstream_cut", "upstream_timeout_first_byte")
            if sent and not (usage["input_tokens"] and usage["estimated"]):
                return f"sent, but neither counted nor estimated: {usage}"
            if row["status"] == "partial" and not usage["estimated"] and usage["output_tokens"] != OUTPUT_TOKENS:
                return f"partial, neither reported nor estimated: {usage}"
        if one.case.expected != "ok":
            return ""
        usage = one.attempts[-1]["usage"]
        exact = (usage["input_tokens"], usage["output_tokens"], usage["estimated"])
        if one.case.dialect in one.case.fault.estimated:
            return "" if usage["estimated"] else f"not marked: {usage}"
        if exact != (INPUT_TOKENS, OUTPUT_TOKENS, False):
            return f"usage {exact}"
        told = one.said.usage
        if told is None or told[1] != OUTPUT_TOKENS or told[0] not in (INPUT_TOKENS, -1):
            return f"the client was told {told}"
        return ""

    _all_good(swept, check)


def test_the_providers_key_is_nowhere_to_be_seen(swept: Swept):
    assert any(CANARY.encode() in head for head in swept.upstream.heads), "the canary never flew"
    assert CANARY not in swept.log
    assert ADMIN_KEY not in swept.log
    _all_good(swept, lambda one: "in the answer" if CANARY.encode() in one.got.raw else "")
    _all_good(swept, lambda one: "in the accounts" if CANARY in str(one.attempts) else "")


def test_no_socket_and_little_memory_is_left_behind(swept: Swept):
    allowed, left = swept.fds
    assert left <= allowed
    before, after = swept.rss
    assert after - before < 120_000 + 20 * len(swept.outcomes), f"{before} kB before, {after} kB after"


@pytest.mark.long
@pytest.mark.parametrize("name", fault_streams.HEAVY)
def test_a_flood_is_stopped_without_holding_it(name: str, tmp_path: Path):
    cases = [case for case in cases_of([CATALOGUE[name]], SEED, None) if case.kind in ("groq", "anthropic", "gemini")]
    swept = asyncio.run(sweep(tmp_path, cases, at_once=1))
    _ends_well(swept)
    before, after = swept.rss
    assert after - before < 65_536, f"{before} kB before, {after} kB after"
    assert swept.peak - before < 2 * 65_536, f"{before} kB before, {swept.peak} kB at most"


def _ends_well(swept: Swept) -> None:
    test_the_end_is_the_one_that_the_fault_allows(swept)
    test_what_is_answered_is_of_the_faces_grammar(swept)
    test_there_is_one_settled_attempt_for_each_request_that_the_provider_saw(swept)
