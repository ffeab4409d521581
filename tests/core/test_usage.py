from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import asdict, fields

from midstream.core.usage import Usage

counts = st.integers(0, 10**9)
INPUT = (
    "uncached_in", "cache_read", "cache_write_5m", "cache_write_1h", "audio_in", "image_in", "cache_audio_read",
    "video_in",
)  # fmt: skip
OUTPUT = ("out_text", "out_reasoning", "audio_out", "image_out")
usages = st.builds(Usage, **dict.fromkeys((*INPUT, *OUTPUT, "searches"), counts), estimated=st.booleans())


@given(usages)
def test_every_token_is_in_exactly_one_class(usage: Usage):
    values = asdict(usage)
    assert usage.input_tokens == sum(values[name] for name in INPUT)
    assert usage.output_tokens == sum(values[name] for name in OUTPUT)
    assert usage.total_tokens == usage.input_tokens + usage.output_tokens
    assert usage.cached_tokens == usage.cache_read + usage.cache_audio_read
    assert usage.cache_write == usage.cache_write_5m + usage.cache_write_1h


def test_a_class_is_input_or_output_and_nothing_is_left_over():
    assert {field.name for field in fields(Usage)} == {*INPUT, *OUTPUT, "searches", "estimated"}


@given(usages, usages, usages)
def test_adding_is_by_class_in_any_order_and_an_estimate_stays_one(one: Usage, two: Usage, three: Usage):
    assert one + two == two + one
    assert (one + two) + three == one + (two + three)
    assert one + Usage() == one
    assert (one + two).total_tokens == one.total_tokens + two.total_tokens
    assert (one + two).searches == one.searches + two.searches
    assert (one + two).estimated == (one.estimated or two.estimated)
