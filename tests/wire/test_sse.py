"""Event streams: the same frames however their bytes are cut."""

from __future__ import annotations

import time

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from midstream.core.errors import Garbled
from midstream.wire.sse import Frame, SSEReader, write_frame


def frames_of(*pieces: bytes) -> list[Frame]:
    reader = SSEReader()
    return [frame for piece in pieces for frame in reader.feed(piece)]


def told(frames: list[Frame]) -> list[tuple[bytes, bytes | None]]:
    """What frames say, those that say nothing left out."""
    return [(frame.event, frame.data) for frame in frames if frame.data is not None or frame.event]


_LINES = st.sampled_from(
    [b"data: a", b"data:b", b"data", b"data: \xc3\xa9", b"event: x", b": comment", b"id: 1", b"", b"odd", b"data: {}"]
)
_ENDS = st.sampled_from([b"\n", b"\r", b"\r\n"])
_STREAMS = st.lists(st.tuples(_LINES, _ENDS), max_size=24).map(lambda lines: b"".join(a + b for a, b in lines))


@given(_STREAMS, st.lists(st.integers(0, 200), max_size=8), st.booleans())
def test_a_stream_split_anywhere_gives_the_same_frames(stream: bytes, cuts: list[int], bom: bool) -> None:
    stream = (b"\xef\xbb\xbf" if bom else b"") + stream
    places = sorted({min(cut, len(stream)) for cut in cuts})
    pieces = [stream[a:b] for a, b in zip([0, *places], [*places, len(stream)], strict=True)]
    whole = frames_of(stream)
    assert told(frames_of(*pieces)) == told(whole)
    assert told(frames_of(*[bytes([byte]) for byte in stream])) == told(whole)


@given(
    st.lists(st.sampled_from([b"data: a\n\n", b"data: b\nevent: c\n\n", b": ping\n\n", b"\n", b"data: d\n"])), st.data()
)
def test_with_line_feeds_alone_raw_bytes_are_the_same_too_and_none_is_lost(
    parts: list[bytes], data: st.DataObject
) -> None:
    stream = b"".join(parts)
    cut = data.draw(st.integers(0, len(stream)))
    reader = SSEReader()
    frames = reader.feed(stream[:cut]) + reader.feed(stream[cut:])
    assert frames == frames_of(stream)
    assert b"".join(frame.raw for frame in frames) + reader.rest == stream


def by_the_byte(stream: bytes) -> list[Frame]:
    """What the general parse alone gives: a single byte is never a frame of a usual shape."""
    return frames_of(*[bytes([byte]) for byte in stream])


_USUAL = st.sampled_from([b"data: {}", b"event: a\ndata: {}", b"event: b\ndata: 1", b"data: [DONE]"])
_ODD = st.sampled_from(
    [b": x", b"event: a", b"event: a\ndata: 1\nid: 2", b"id: 2\nevent: a\ndata: 1", b"data:c", b"data: a\rb",
     b"data: a\r", b"\rdata: a", b"event: a\rb\ndata: 1", b"event: a\n: x", b"event:a\ndata: 1", b"event: a\ndata:1",
     b"", b"\n", b"\r\n", b"data: a\ndata: b", b"\xef\xbb\xbfdata: 1"]
)  # fmt: skip
_BLANK_LINES = st.sampled_from([b"\n\n", b"\r\n\r\n", b"\r\n\n", b"\n\r\n", b"\r\r"])


@st.composite
def shaped_streams(draw: st.DrawFn) -> bytes:
    """Runs of frames of one kind, as services send them, with odd ones among them."""
    runs = []
    for _ in range(draw(st.integers(1, 3))):
        lines = draw(st.lists(_USUAL | st.just(draw(_USUAL)), min_size=1, max_size=5)) + draw(
            st.lists(_ODD, max_size=1)
        )
        blank = draw(_BLANK_LINES)
        within = b"\r\n" if blank == b"\r\n\r\n" else b"\n"
        runs += [line.replace(b"\n", within) + blank for line in draw(st.permutations(lines))]
    return b"".join(runs)


@given(shaped_streams(), st.lists(st.integers(0, 300), max_size=6))
@example(b"data: 1\r\n\r\ndata: 2\r\n\r\n", [11])
@example(b"data: a\r\n\r\ndata: b\r\r\ndata: c\n\n", [11])
@example(b"data: a\n\ndata: b\r\n\r\n\r\n", [9])
@example(b"data: 1\r\n\r\ndata: a\rb\r\n\r\n", [11])
@example(b"data: 1\r\n\r\ndata: 2\n\n", [])
def test_frames_of_the_usual_shapes_are_those_of_the_general_parse(stream: bytes, cuts: list[int]) -> None:
    places = sorted({min(cut, len(stream)) for cut in cuts})
    pieces = [stream[a:b] for a, b in zip([0, *places], [*places, len(stream)], strict=True)]
    want = by_the_byte(stream)
    if b"\r\r\n" in stream:  # a frame that ended in two CRs was told before the LF came
        assert told(frames_of(stream)) == told(frames_of(*pieces)) == told(want)
    else:
        assert frames_of(stream) == frames_of(*pieces) == want
        reader = SSEReader()
        frames = [frame for piece in pieces for frame in reader.feed(piece)]
        assert b"".join(frame.raw for frame in frames) + reader.rest == stream.removeprefix(b"\xef\xbb\xbf")


@pytest.mark.parametrize("frame", [b"data: {}\n\n", b"event: e\ndata: {}\n\n", b"data: {}\r\n\r\n"])
@pytest.mark.parametrize("number", [1, 3])
def test_whole_frames_of_a_usual_shape_are_read_as_such(frame: bytes, number: int) -> None:
    name = b"e" if frame[:1] == b"e" else b""
    assert frames_of(frame, frame * number) == [Frame(name, b"{}", frame)] * (number + 1)


def test_a_cut_inside_the_last_crlf_leaves_the_frame_its_bytes() -> None:
    stream = b"data: 1\r\n\r\n"
    for cut in range(1, len(stream)):
        assert frames_of(stream[:cut], stream[cut:]) == [Frame(b"", b"1", stream)]


def test_lines_that_end_in_cr_alone_are_told_at_once() -> None:
    assert told(frames_of(b"data: 1\r\r")) == [(b"", b"1")]
    assert told(frames_of(b"data: 1\r\r", b"\ndata: 2\r\r")) == [(b"", b"1"), (b"", b"2")]


@pytest.mark.parametrize("end", [b"\n", b"\r", b"\r\n"])
def test_each_line_end_alone_closes_lines_and_frames(end: bytes) -> None:
    stream = end.join([b"event: e", b"data: 1", b"data: 2", b"", b"data: 3", b"", b""])
    assert told(frames_of(stream)) == [(b"e", b"1\n2"), (b"", b"3")]


def test_mixed_line_ends_close_one_frame_each() -> None:
    assert told(frames_of(b"data: 1\r\n\r\ndata: 2\n\r\ndata: 3\r\rdata: 4\n\n")) == [
        (b"", b"1"), (b"", b"2"), (b"", b"3"), (b"", b"4"),
    ]  # fmt: skip


def test_comments_and_bare_names_are_frames_without_data() -> None:
    assert [frame.data for frame in frames_of(b": ping\n\nevent: x\n\ndata\n\n")] == [None, None, b""]


def test_only_one_space_after_the_colon_is_dropped() -> None:
    assert told(frames_of(b"data:  two\n\n")) == [(b"", b" two")]


def test_a_byte_order_mark_is_dropped_only_at_the_start() -> None:
    assert told(frames_of(b"\xef", b"\xbb", b"\xbfdata: 1\n\n")) == [(b"", b"1")]
    assert told(frames_of(b"data: 1\n\n\xef\xbb\xbfdata: 2\n\n")) == [(b"", b"1")]


def test_an_event_above_the_limit_is_refused_and_one_below_is_not() -> None:
    for line_end in (b"", b"\r\n"):
        reader = SSEReader(limit=100)
        assert len(reader.feed(line_end + b"data: " + b"x" * 80 + b"\n\n")) >= 1
        with pytest.raises(Garbled):
            reader.feed(b"data: " + b"x" * 100)


@pytest.mark.parametrize("start", [b"", b"\r\n"])
def test_a_large_event_in_many_pieces_costs_no_more_than_its_size(start: bytes) -> None:
    def seconds(size: int) -> float:
        piece = b"x" * 4096
        reader = SSEReader()
        began = time.perf_counter()
        reader.feed(start + b"data: ")
        for _ in range(size // len(piece)):
            reader.feed(piece)
        (frame,) = [frame for frame in reader.feed(b"\n\n") if frame.data]
        assert len(frame.data or b"") == size
        return time.perf_counter() - began

    small, large = seconds(1 << 19), seconds(1 << 22)
    assert large < 8 * 8 * max(small, 0.001)


@pytest.mark.long
def test_an_event_of_almost_32_mib_is_read() -> None:
    reader = SSEReader()
    reader.feed(b"data: ")
    for _ in range(31 * 16):
        assert reader.feed(b"x" * 65536) == []
    (frame,) = reader.feed(b"\n\n")
    assert len(frame.data or b"") == 31 << 20


@given(
    st.text(alphabet=st.characters(exclude_characters="\r\n", exclude_categories=["Cs"])), st.sampled_from([b"", b"e"])
)
def test_a_written_frame_is_read_back_as_one_frame(text: str, event: bytes) -> None:
    assert told(frames_of(write_frame(text.encode(), event))) == [(event, text.encode())]
