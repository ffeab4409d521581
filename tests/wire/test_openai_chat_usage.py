"""Tokens that services of OpenAI's format count in their own ways, as their answers were recorded."""

from __future__ import annotations

from typing import Any

import pytest

from midstream.core.usage import Usage
from midstream.wire.openai_chat import read_answer
from midstream.wire.openai_chat.usage import usage_object

from .test_openai_chat_answer import body_of
from .test_openai_chat_stream_in import DONE, answer_of, chunk


def read(told: dict[str, Any]) -> Usage:
    whole = read_answer(body_of({"content": "a"}, usage=told)).usage
    streamed = answer_of(chunk({"content": "a"}), chunk(finish="stop"), chunk(choices=[], usage=told), DONE).usage
    assert streamed == whole
    return whole


def counts(prompt: int, completion: int | None, total: int, **more: Any) -> dict[str, Any]:
    return {"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": total} | more


def test_thoughts_that_only_the_total_counts_are_counted() -> None:
    """Google's server of this format."""
    assert read(counts(35, 12, 109)) == Usage(uncached_in=35, out_text=12, out_reasoning=62)


def test_sound_beside_the_prompt_is_counted() -> None:
    """Mistral's."""
    told = counts(9, 248, 632, prompt_tokens_details={"cached_tokens": 0, "audio_tokens": 375})
    assert read(told) == Usage(uncached_in=9, audio_in=375, out_text=248)


def test_sound_within_the_prompt_is_not_counted_twice() -> None:
    told = counts(384, 248, 632, prompt_tokens_details={"audio_tokens": 375})
    assert read(told) == Usage(uncached_in=9, audio_in=375, out_text=248)


@pytest.mark.parametrize("written", [0, 20])
def test_what_a_cache_holds_beside_the_prompt_is_no_thought(written: int) -> None:
    """Where a server hands on Anthropic's numbers, whose prompt is without it."""
    told = counts(9, 5, 114 + written, prompt_tokens_details={"cached_tokens": 100, "cache_write_tokens": written})
    assert read(told) == Usage(uncached_in=9, cache_read=100, cache_write_5m=written, out_text=5)


def test_video_is_a_class_of_its_own() -> None:
    told = counts(300, 2, 302, prompt_tokens_details={"video_tokens": 258})
    used = Usage(uncached_in=42, video_in=258, out_text=2)
    assert read(told) == used
    assert read(usage_object(used)) == used


@pytest.mark.parametrize(
    ("told", "used"),
    [
        (counts(5, 3, 8), Usage(uncached_in=5, out_text=3)),
        (counts(5, None, 9), Usage(uncached_in=5)),
        (counts(-5, 3, 9), Usage(out_text=3, estimated=True)),
        (counts(5, 3, 20, completion_tokens_details={"reasoning_tokens": 2}),
         Usage(uncached_in=5, out_text=1, out_reasoning=2)),
        (counts(5, 3, 10, completion_tokens_details={"reasoning_tokens": 2}),
         Usage(uncached_in=5, out_text=3, out_reasoning=2)),
    ],
)  # fmt: skip
def test_a_total_that_tells_nothing_more_adds_nothing(told: dict[str, Any], used: Usage) -> None:
    assert read(told) == used
