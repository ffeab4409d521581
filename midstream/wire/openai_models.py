"""What the names of OpenAI's models say about them, where a request must differ."""

from __future__ import annotations

import re

_REASONING = re.compile(r"(?:^|[/:])(?:o\d|gpt-(?:[5-9]|\d\d)(?!.*-chat)|codex-|computer-use-)")
_NO_STOPS = re.compile(r"(?:^|[/:])(?:o1-(?:mini|preview)|o3(?!-mini)|o[4-9]|gpt-(?:[5-9]|\d\d)(?!.*-chat))")
_FIXED_SAMPLING = re.compile(r"(?:^|[/:])(?:o\d|gpt-5(?![.\d])(?!.*-chat))")
#: All words of effort, weakest first.
EFFORTS = ("none", "minimal", "low", "medium", "high", "xhigh", "max")
_THREE = ("low", "medium", "high")
#: Budgets in tokens up to which an effort is meant.
_BUDGETS = ((0, "none"), (2048, "low"), (12288, "medium"))
#: Which of them a model knows, by the first of these that its name fits. Those before GPT-5.1 cannot stop reasoning,
#: nor can the models for code and the pro ones.
_KNOWN = tuple(
    (re.compile(rf"(?:^|[/:])(?:{names})"), words)
    for names, words in (
        (r"gpt-\d+(?:\.\d+)?.*-chat|gpt-[34]|gpt-audio|chatgpt-|o1-(?:mini|preview)", ()),
        (r"o\d.*-deep-research", ("medium",)),
        (r"o\d|codex-|computer-use-|gpt-5-codex|gpt-5\.1-codex(?!-max)", _THREE),
        (r"gpt-.*-codex", (*_THREE, "xhigh")),
        (r"gpt-5-pro", ("high",)),
        (r"gpt-5\.[2-5]-pro", ("medium", "high", "xhigh")),
        (r"gpt-5(?![.\d])", ("minimal", *_THREE)),
        (r"gpt-5\.1(?!\d)", ("none", *_THREE)),
        (r"gpt-5\.[2-5](?!\d)", ("none", *_THREE, "xhigh")),
        (r"gpt-(?:[5-9]|\d\d)", ("none", *_THREE, "xhigh", "max")),
    )
)


def reasons(model: str) -> bool:
    """Others refuse a request for encrypted reasoning."""
    return _REASONING.search(model) is not None


def samples_at_will(model: str) -> bool:
    """The first reasoning models refuse temperature and top_p."""
    return _FIXED_SAMPLING.search(model) is None


def stops_at_words(model: str) -> bool:
    """Reasoning models refuse stop sequences, but for o1 and o3-mini."""
    return _NO_STOPS.search(model) is None


def efforts_of(model: str) -> tuple[str, ...]:
    """The words of effort that the model knows, weakest first: none when it does not reason, all when its name does
    not tell."""
    return next((words for names, words in _KNOWN if names.search(model)), EFFORTS)


def effort_of(budget: int | None) -> str | None:
    """The word for a number of thinking tokens, where only words are understood; None when the model decides."""
    if budget is None or budget < 0:
        return None
    return next((word for most, word in _BUDGETS if budget <= most), "high")


def nearest_effort(effort: str, known: tuple[str, ...]) -> str:
    """The word itself, or the closest one that is known (the weaker of two). Only the least of thinking becomes none of
    it. A word that stands for thinking at all, as Groq's "default", is taken where there is no other."""
    if effort in known or effort not in EFFORTS:
        return effort
    place = EFFORTS.index(effort)
    ranked = [word for word in known if word in EFFORTS and (word != "none" or place <= EFFORTS.index("minimal"))]
    if ranked:
        return min(ranked, key=lambda word: abs(EFFORTS.index(word) - place))
    return next((word for word in known if word not in EFFORTS), effort)
