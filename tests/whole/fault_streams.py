"""The catalogue's second half: answers whose HTTP is good (or nearly) and whose content is not."""

from __future__ import annotations

import asyncio
import gzip
import zlib

from .fault_words import (
    CHAT_USAGE,
    DONE,
    call_frames,
    chat_chunk,
    chat_usage,
    data,
    encode,
    error_frame,
    frames,
    whole,
)
from .faults import RETRIED, SETTLE, TIMED, Expected, Wire, fault

CHAT_ONLY = {"chat": "ok"}


def chat_ends(usage: bool = True) -> list[bytes]:
    return [chat_chunk({}, "stop"), *([chat_usage()] if usage else []), DONE]


# How the bytes are cut and framed: harmless, all of it.


@fault("drip_of_single_bytes", "ok", "ok")
async def _drip(wire: Wire) -> None:
    await wire.begin()
    for byte in wire.body:
        wire.writer.write(b"1\r\n%c\r\n" % byte)
        if byte in b"\n\\\xf0\xc3":
            await asyncio.sleep(0)
    await wire.end()


@fault("all_in_one_packet", "ok", "ok")
async def _one_packet(wire: Wire) -> None:
    body = wire.body
    head = f"HTTP/1.1 200 OK\r\ncontent-type: {wire.content_type}\r\ncontent-length: {len(body)}\r\n\r\n"
    await wire.raw(head.encode() + body)
    wire.keep = True


@fault("split_inside_characters", "ok", "ok")
async def _split(wire: Wire) -> None:
    body = wire.body
    await wire.begin()
    at = 0
    while (place := next((n for n in range(at, len(body)) if body[n] >= 0x80), None)) is not None:
        await wire.say(body[at : place + 1])
        await asyncio.sleep(0.002)
        at = place + 1
    await wire.say(body[at:])
    await wire.end()


@fault("split_inside_escapes", "ok", "ok")
async def _escapes(wire: Wire) -> None:
    body = wire.body.replace("😀".encode(), b"\\ud83d\\ude00").replace("é".encode(), b"\\u00e9")
    await wire.begin()
    for piece in body.replace(b"\\ud83d", b"\\ud8\0003d\0").split(b"\0"):
        await wire.say(piece)
        await asyncio.sleep(0.002)
    await wire.end()


for _label, _change in {
    "crlf": lambda body: body.replace(b"\n", b"\r\n"),
    "cr": lambda body: body.replace(b"\n", b"\r"),
    "no_space": lambda body: body.replace(b"data: ", b"data:").replace(b"event: ", b"event:"),
    "bom": lambda body: b"\xef\xbb\xbf" + body,
    "comments": lambda body: b": hi\n\n" + body.replace(b"\n\n", b"\n\n: ping\n\n"),
    "ids_and_retry": lambda body: b"retry: 10\n\n" + body.replace(b"data: {", b"id: 7\ndata: {"),
    "more_blank_lines": lambda body: b"\n\n" + body.replace(b"\n\n", b"\n\n\n\n"),
    "several_data_lines": lambda body: body.replace(b'data: {"', b'data: {\ndata: "'),
    "no_last_blank_line": lambda body: body.rstrip(b"\n"),
    "event_without_data": lambda body: b"event: nothing\n\n" + body,
    "unknown_events": lambda body: (
        body.replace(b"data: {", b'event: x.new\ndata: {"type":"x.new","zz":1}\n\ndata: {', 1)
        if not body.startswith(b"event")
        else b'event: x.new\ndata: {"type":"x.new","zz":1}\n\n' + body
    ),
}.items():

    @fault(f"framed_with_{_label}", "ok", "")
    async def _framed(wire: Wire, change: object = _change) -> None:
        await wire.good(change(wire.body))  # type: ignore[operator]


@fault("http_1_0", "ok", "ok")
async def _old(wire: Wire) -> None:
    await wire.raw(f"HTTP/1.0 200 OK\r\ncontent-type: {wire.content_type}\r\n\r\n".encode() + wire.body)


@fault("early_hints_first", "ok", "ok")
async def _hints(wire: Wire) -> None:
    await wire.raw(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nlink: </x>\r\n\r\n")
    await wire.good()


@fault("bytes_after_the_body", "ok", "ok")
async def _trailing(wire: Wire) -> None:
    await wire.begin()
    last = wire.body  # in one packet with what follows: later bytes would be taken for the next answer
    await wire.raw(b"%x\r\n%b\r\n0\r\n\r\nHTTP/1.1 500 X\r\nx-a: b\r\ncontent-length: 0\r\n\r\n" % (len(last), last))


@fault("closed_while_kept", "ok", "ok")
async def _stale(wire: Wire) -> None:
    await wire.good()
    wire.keep = False


@fault("gzip", "ok", "ok")
async def _gzip(wire: Wire) -> None:
    await wire.begin(200, None, "content-encoding: gzip")
    packed = gzip.compress(wire.body, mtime=0)
    for at in range(0, len(packed), 7):
        await wire.say(packed[at : at + 7])
    await wire.end()


@fault("gzip_truncated", "any", "refused", TIMED, "upstream_")
async def _gzip_cut(wire: Wire) -> None:
    await wire.begin(200, None, "content-encoding: gzip")
    await wire.say(gzip.compress(wire.body, mtime=0)[:-40])
    await wire.end()


@fault("gzip_of_nothing_packed", "refused", "refused", RETRIED, "upstream_garbled")
async def _gzip_lie(wire: Wire) -> None:
    await wire.begin(200, None, "content-encoding: gzip")
    await wire.say(wire.body)
    await wire.end()


@fault("gzip_bomb", "refused", "refused", TIMED, "upstream_")
async def _bomb(wire: Wire) -> None:
    packer = zlib.compressobj(9, wbits=31)
    await wire.begin(200, None, "content-encoding: gzip")
    for _ in range(300):
        await wire.say(packer.compress(b" " * 1_000_000))
    await wire.say(packer.flush())
    await wire.end()


# Chunks that are not what they should be.


def _spliced(name: str, piece: bytes, stream: Expected, *, at: int = 2) -> None:
    """A piece put between the frames of a good stream."""

    @fault(name, stream, "", TIMED)
    async def _play(wire: Wire) -> None:
        good = [frame for _, frame in wire.frames]
        place = at if at < 2 else next(n for n, (phase, _) in enumerate(wire.frames) if phase == "more")
        await wire.good(*good[:place], piece, *good[place:])


_spliced("chunk_of_broken_json", b'data: {"id": "c1", "choi\n\n', "any")
_spliced("chunk_of_broken_json_at_first", b"data: {{{{\n\n", "any", at=0)


@fault("chunk_of_invalid_utf8", "any", "", TIMED)
async def _invalid_utf8(wire: Wire) -> None:
    begun, _, rest = wire.body.partition("wörld".encode())
    await wire.good(begun + b"w\xffrld" + rest)


_spliced("chunk_of_a_number", b"data: 17\n\n", "any")
_spliced("chunk_of_null", b"data: null\n\n", "any")
_spliced("chunk_of_an_array", b"data: []\n\n", "any")
_spliced("chunk_of_deep_json", b"data: " + b"[" * 5000 + b"]" * 5000 + b"\n\n", "any")
_spliced("chunk_without_members", b"data: {}\n\n", "ok")
_spliced("chunk_with_null_choices", data({"id": "c1", "choices": None}), CHAT_ONLY)
_spliced("chunk_with_no_choices", data({"id": "c1", "choices": []}), CHAT_ONLY)
_spliced("chunk_with_null_delta", data({"choices": [{"index": 0, "delta": None}]}), CHAT_ONLY)
_spliced("chunk_without_index_and_id", data({"choices": [{"delta": {"content": ""}}]}), CHAT_ONLY)
_spliced("chunk_with_a_wild_index", data({"choices": [{"index": 10**9, "delta": {"content": ""}}]}), {"chat": "any"})
_spliced("chunk_with_a_negative_index", data({"choices": [{"index": -1, "delta": {"content": ""}}]}), {"chat": "any"})
_spliced("chunk_with_content_of_a_number", data({"choices": [{"index": 0, "delta": {"content": 5}}]}), {"chat": "any"})
_spliced("done_too_early", DONE, {"chat": "broken"})
_spliced("done_at_once", DONE, {"chat": "refused"}, at=0)
_spliced("usage_before_the_end", chat_usage(), CHAT_ONLY)
_spliced("usage_of_wrong_types", chat_usage({"prompt_tokens": "many", "completion_tokens": []}), {"chat": "any"})
_spliced("candidate_with_a_wild_index", data({"candidates": [{"index": 10**9}]}), {"gemini": "any"})
_spliced("candidates_null", data({"candidates": None}), {"gemini": "any"})
_spliced("parts_of_wrong_types", data({"candidates": [{"content": {"parts": [5, None, "x"]}}]}), {"gemini": "any"})
_spliced(
    "delta_of_an_unopened_block",
    data({"type": "content_block_delta", "index": 99, "delta": {"type": "text_delta", "text": ""}}),
    {"messages": "ok"},
)
_spliced("stop_of_an_unopened_block", data({"type": "content_block_stop", "index": 99}), {"messages": "ok"})
_spliced("second_message_start", data({"type": "message_start", "message": {}}), {"messages": "ok"})
_spliced(
    "text_of_an_unopened_item",
    data({"type": "response.output_text.delta", "output_index": 9, "content_index": 9, "delta": ""}),
    {"responses": "ok"},
)
_spliced("index_beyond_all", data({"type": "content_block_delta", "index": 2**70, "delta": {}}), {"messages": "any"})


for _status in (429, 529, 500, 400):
    _again = RETRIED if _status != 400 else TIMED

    @fault(f"error_{_status}_in_a_200_at_first", "refused", "", TIMED)
    async def _error_first(wire: Wire, status: int = _status) -> None:
        await wire.good(error_frame(wire.case.dialect, status))

    @fault(f"error_{_status}_after_lifecycle", "refused", "", TIMED)
    async def _error_after_start(wire: Wire, status: int = _status) -> None:
        await wire.good(wire.frames[0][1], error_frame(wire.case.dialect, status))

    @fault(f"error_{_status}_after_text", "broken", "", (1, 1))
    async def _error_later(wire: Wire, status: int = _status) -> None:
        begun = [frame for at, frame in wire.frames if at in ("start", "text")]
        await wire.good(*begun, error_frame(wire.case.dialect, status))


@fault("everything_after_the_end_again", "ok", "")
async def _twice(wire: Wire) -> None:
    if wire.case.dialect == "gemini":
        await wire.good()
        return
    await wire.good(wire.body, wire.body)


@fault("done_twice", CHAT_ONLY, "")
async def _done_twice(wire: Wire) -> None:
    await wire.good(wire.body, DONE)


@fault("usage_twice", CHAT_ONLY, "")
async def _usage_twice(wire: Wire) -> None:
    *good, done = [frame for _, frame in wire.frames]
    await wire.good(*good, chat_usage(), done)


@fault("usage_missing", CHAT_ONLY, "", estimated=("chat",))
async def _usage_missing(wire: Wire) -> None:
    await wire.good(*(frame for at, frame in wire.frames if at != "usage"))


@fault("finish_unknown", CHAT_ONLY, "")
async def _finish_unknown(wire: Wire) -> None:
    await wire.good(wire.body.replace(b'"finish_reason":"stop"', b'"finish_reason":"enough"'))


@fault("finish_missing", CHAT_ONLY, "")
async def _finish_missing(wire: Wire) -> None:
    await wire.good(*(frame for at, frame in wire.frames if at != "finish"))


@fault("finish_and_usage_missing", {"chat": "broken"}, "", TIMED)
async def _finish_and_usage_missing(wire: Wire) -> None:
    await wire.good(*(frame for at, frame in wire.frames if at not in ("finish", "usage")))


_NEGATIVE = {
    "chat": {**CHAT_USAGE, "prompt_tokens": -5, "completion_tokens": -7},
    "responses": {"input_tokens": -5, "output_tokens": -7, "total_tokens": -12},
    "messages": {"input_tokens": -5, "output_tokens": -7},
    "gemini": {"promptTokenCount": -5, "candidatesTokenCount": -7, "totalTokenCount": -12},
}
for _label, _by in (("negative", 1), ("beyond_64_bits", -(10**20)), ("beyond_32_bits", -(10**9))):

    @fault(f"usage_{_label}", "any", "any", TIMED)
    async def _odd_usage(wire: Wire, by: int = _by) -> None:
        case = wire.case
        usage = {
            name: value * by if isinstance(value, int) else value for name, value in _NEGATIVE[case.dialect].items()
        }
        if case.streamed:
            await wire.good(*(frame for _, frame in frames(case.dialect, case.said, usage)))
        else:
            await wire.good(whole(case.dialect, case.said, usage))


@fault("usage_of_text", "any", "any", TIMED)
async def _usage_text(wire: Wire) -> None:
    case = wire.case
    usage = dict.fromkeys(_NEGATIVE[case.dialect], "seven")
    if case.streamed:
        await wire.good(*(frame for _, frame in frames(case.dialect, case.said, usage)))
    else:
        await wire.good(whole(case.dialect, case.said, usage))


@fault("ten_thousand_empty_deltas", CHAT_ONLY, "")
async def _empty_deltas(wire: Wire) -> None:
    good = wire.frames
    empty = chat_chunk({"content": ""}) * 100
    await wire.good(good[0][1], *(empty for _ in range(100)), *(frame for _, frame in good[1:]))


@fault("endless_stream", "broken", "refused", (1, 1), "upstream_")
async def _endless(wire: Wire) -> None:
    await wire.begin()
    await wire.until("text")
    filler = b": " + b"x" * 4000 + b"\n\n" if wire.case.streamed else b" " * 4000
    while not wire.reader.at_eof():
        await wire.say(filler)
        await asyncio.sleep(0.01)


@fault("endless_pings_before_any_output", "refused", "", TIMED, "upstream_timeout")
async def _pings(wire: Wire) -> None:
    await wire.begin()
    while not wire.reader.at_eof():
        await wire.say(b": ping\n\n")
        await asyncio.sleep(0.05)


# Tool calls.

_CALLS = [("call_a", "look", {"city": "Paris"}), ("call_b", "look", {"city": "Oslo"}), ("call_c", "tell", {})]
_NAMES = tuple(name for _, name, _ in _CALLS)


@fault("three_tool_calls", "ok", "", calls=_NAMES)
async def _tool_calls(wire: Wire) -> None:
    await wire.good(*(frame for _, frame in call_frames(wire.case.dialect, _CALLS)))


@fault("cut_inside_arguments", {"chat": "broken", "responses": "broken", "messages": "broken"}, "")
async def _cut_call(wire: Wire) -> None:
    pieces = [frame for at, frame in call_frames(wire.case.dialect, _CALLS[:1]) if at in ("start", "text", "more")]
    await wire.begin()
    for piece in pieces[:3]:
        await wire.say(piece)
    await asyncio.sleep(SETTLE)


@fault("tool_ids_repeated", {"chat": "ok", "messages": "ok", "responses": "ok"}, "", calls=_NAMES)
async def _same_ids(wire: Wire) -> None:
    calls = [("call_a", name, arguments) for _, name, arguments in _CALLS]
    await wire.good(*(frame for _, frame in call_frames(wire.case.dialect, calls)))


def _chat_calls(*chunks: object) -> list[bytes]:
    return [
        chat_chunk({"role": "assistant", "content": None}),
        *(chat_chunk({"tool_calls": calls}) for calls in chunks),
        chat_chunk({}, "tool_calls"),
        chat_usage(),
        DONE,
    ]


def _call(index: int, arguments: object, id: str | None = None, name: str | None = None) -> dict[str, object]:
    function = {"arguments": arguments, **({"name": name} if name else {})}
    return {"index": index, "type": "function", "function": function, **({"id": id} if id else {})}


for _label, _chunks in {
    "interleaved": [
        [_call(0, "", "a", "look"), _call(1, "", "b", "look"), _call(2, "", "c", "tell")],
        [_call(1, '{"city"'), _call(0, '{"ci')],
        [_call(2, "{}"), _call(0, 'ty":"Paris"}'), _call(1, ':"Oslo"}')],
    ],
    "id_on_every_chunk": [
        [_call(0, "", "a", "look")],
        [_call(0, '{"city":', "a", "look")],
        [_call(0, '"Paris"}', "a", "look")],
        [_call(1, '{"city":"Oslo"}', "b", "look")],
        [_call(2, "{}", "c", "tell")],
    ],
    "whole_in_one_delta": [[_call(0, '{"city":"Paris"}', "a", "look")], [_call(1, '{"city":"Oslo"}', "b", "look")],
                           [_call(2, "{}", "c", "tell")]],
    "arguments_as_objects": [[_call(0, {"city": "Paris"}, "a", "look")], [_call(1, {"city": "Oslo"}, "b", "look")],
                             [_call(2, {}, "c", "tell")]],
    "arguments_empty": [[_call(0, "", "a", "look")], [_call(1, None, "b", "look")], [_call(2, "", "c", "tell")]],
}.items():  # fmt: skip

    @fault(f"tool_calls_{_label}", CHAT_ONLY, "", calls=_NAMES)
    async def _odd_calls(wire: Wire, chunks: object = _chunks) -> None:
        await wire.good(*_chat_calls(*chunks))  # type: ignore[misc]


for _label, _chunks in {
    "double_encoded": [[_call(0, encode(encode({"city": "Paris"}).decode()).decode(), "a", "look")]],
    "arguments_of_garbage": [[_call(0, "{not json", "a", "look")]],
    "without_a_name": [[_call(0, "{}", "a")]],
    "wild_index": [[_call(10**9, "{}", "a", "look")]],
    "of_numbers": [[5, None]],
}.items():

    @fault(f"tool_calls_{_label}", {"chat": "any"}, "", TIMED)
    async def _wild_calls(wire: Wire, chunks: object = _chunks) -> None:
        await wire.good(*_chat_calls(*chunks))  # type: ignore[misc]


#: Large ones: they cost seconds and memory, so they run alone.
HEAVY = ("event_over_its_limit", "two_gigabytes", "gzip_bomb")


@fault("event_over_its_limit", "refused", "", TIMED, "upstream_")
async def _huge_event(wire: Wire) -> None:
    await wire.begin()
    await wire.say(b"data: ")
    for _ in range(196):
        await wire.say(b"x" * 1_000_000)
    await wire.end()


@fault("two_gigabytes", "any", "refused", TIMED, "upstream_")
async def _flood(wire: Wire) -> None:
    await wire.begin()
    await wire.until("text")
    piece = b": " + b"x" * 999_996 + b"\n\n" if wire.case.streamed else b" " * 1_000_000
    for _ in range(2000):
        await wire.say(piece)
    await wire.end()
