"""What the models of most services take of each parameter; each file says only where its service differs."""

from __future__ import annotations

from ..core.agents import Range

#: What one answer may hold at most is the model's own business.
_TOKENS = Range(1)


def taken(
    *,
    temperature: float = 2.0,
    top_k: Range | None = None,
    penalties: Range | None = Range(-2, 2, 0),  # noqa: B008 (frozen)
    answers: Range | None = Range(1, 128, 1),  # noqa: B008 (frozen)
) -> dict[str, Range | None]:
    """By neutral name; None = not taken. temperature: the highest."""
    return {
        "creativity_level": Range(0, temperature, 1),
        "probability_cutoff": Range(0, 1, 1),
        "repetition_penalty": penalties,
        "novelty_penalty": penalties,
        "token_selection_limit": top_k,
        "response_count": answers,
        "additional_stop_sequences": Range(),
        "max_tokens": _TOKENS,
    }
