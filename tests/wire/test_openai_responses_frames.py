"""The short cut for whole frames gives what the general reader gives."""

from __future__ import annotations

from hypothesis import example, given
from hypothesis import strategies as st

from midstream.wire.openai_responses.frames import Frames
from midstream.wire.sse import SSEReader

CHUNKS = st.lists(
    st.lists(
        st.sampled_from(
            [b"event: a\ndata: {}\n\n", b"event: a\n", b"data: b\n", b"data:c\n", b"\n", b"\r\n", b"\r", b": x\n",
             b"\xef\xbb\xbf", b"event: z\ndata: 1\nid: 2\n\n", b"event: z\ndata: 1"]
        ),
        max_size=4,
    ).map(b"".join),
    max_size=6,
)  # fmt: skip


@given(CHUNKS)
@example([b": x\n\n", b"event: z\ndata: 1\nid: 2\n\n"])
@example([b"data:c\r\r", b"event: a\ndata: {}\n\n", b"\n: x\n\n"])
def test_frames_are_those_of_the_general_reader(chunks: list[bytes]) -> None:
    general, short = SSEReader(), Frames()
    for chunk in chunks:
        assert short.feed(chunk) == general.feed(chunk)
        assert short.unfinished() == bool(general.rest.strip())
