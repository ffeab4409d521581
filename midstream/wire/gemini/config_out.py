"""Neutral parameters as generationConfig."""

from __future__ import annotations

import re
from typing import Any

from ...core.turn import Fields, Format, Plan, Thinking, described

MAX_STOPS = 5
_BUDGET_MODELS = re.compile(r"gemini-[12](?:\.|-|$)")
#: They refuse every word about thinking.
_THOUGHTLESS = re.compile(r"gemini-(?:1\.|2\.0-)(?!.*thinking)|gemini-2\.5-.*-(?:image|tts)|gemma-3")
#: Their least level is LOW, as that of the pro models.
_NO_MINIMAL = re.compile(r"gemini-(?:3\.[7-9]|[4-9])(?!.*-lite)")
# What Google's own OpenAI-compatible endpoint makes of reasoning_effort.
_BUDGETS = {"minimal": 1024, "low": 1024, "medium": 8192, "high": 24576, "xhigh": 24576, "max": 24576}
_LEVELS = {
    "minimal": "MINIMAL", "low": "LOW", "medium": "MEDIUM", "high": "HIGH", "xhigh": "HIGH", "max": "HIGH",
}  # fmt: skip
_PLAIN = (
    ("max_tokens", "maxOutputTokens"),
    ("temperature", "temperature"),
    ("top_p", "topP"),
    ("top_k", "topK"),
    ("frequency_penalty", "frequencyPenalty"),
    ("presence_penalty", "presencePenalty"),
    ("seed", "seed"),
    ("n", "candidateCount"),
)
#: Parameters without a counterpart, and the names that callers give them in their dialects.
_UNKNOWN = (
    ("user", ("user", "safety_identifier", "metadata")),
    ("service_tier", ("service_tier",)),
    ("logit_bias", ("logit_bias",)),
    ("verbosity", ("verbosity", "text")),
    ("cache_key", ("prompt_cache_key",)),
)


def write_config(plan: Plan, dropped: dict[str, None]) -> dict[str, Any]:
    """generationConfig; parameters that Google does not know are named in dropped as their caller names them."""
    params, fields = plan.turn.prompt.params, plan.turn.fields
    out = {theirs: value for ours, theirs in _PLAIN if (value := getattr(params, ours)) is not None}
    if params.stop:
        out["stopSequences"] = list(params.stop[:MAX_STOPS])
        if len(params.stop) > MAX_STOPS:
            dropped[_own_name(fields, ("stop", "stop_sequences"))] = None
    if params.logprobs or params.top_logprobs is not None:
        out["responseLogprobs"] = params.logprobs is not False
    if params.top_logprobs is not None:
        out["logprobs"] = params.top_logprobs
    if params.modalities:
        out["responseModalities"] = [word.upper() for word in params.modalities]
    if params.audio:
        _speech(params.audio, out, dropped)
    if params.format is not None:
        _format(params.format, out)
    if config := _thinking(plan, dropped):
        out["thinkingConfig"] = config
    for ours, names in _UNKNOWN:
        if getattr(params, ours) is not None:
            dropped[_own_name(fields, names)] = None
    # Who reads one call whatever there is has not asked for it.
    if params.parallel_tools is False and not (plan.turn.function_call and "parallel_tool_calls" not in fields):
        dropped[_own_name(fields, ("parallel_tool_calls", "tool_choice"))] = None
    return out


def _own_name(fields: Fields, names: tuple[str, ...]) -> str:
    return next((name for name in names if name in fields), names[0])


def _format(wanted: Format, out: dict[str, Any]) -> None:
    if wanted.kind == "text":
        return
    out["responseMimeType"] = "application/json"
    if wanted.schema is not None:
        out["responseJsonSchema"] = described(wanted)


def _speech(audio: dict[str, Any], out: dict[str, Any], dropped: dict[str, None]) -> None:
    voice = audio.get("voice")
    if isinstance(voice, str):
        out["speechConfig"] = {"voiceConfig": {"prebuiltVoiceConfig": {"voiceName": voice}}}
    dropped.update({f"audio.{name}": None for name in audio if name != "voice" or not isinstance(voice, str)})


def _thinking(plan: Plan, dropped: dict[str, None]) -> dict[str, Any]:
    """The caller's own number is kept; a word becomes what the model takes (a level, or tokens)."""
    wanted, name = plan.turn.prompt.params.thinking, plan.model.rpartition("/")[2]
    if wanted is None:
        return {}
    by_budget = _BUDGET_MODELS.match(name) is not None
    out, lost = (_least if wanted.off else _amount)(wanted, name, by_budget)
    if wanted.show is not None:
        out["includeThoughts"] = wanted.show
    elif wanted.shown or wanted.summary not in {None, "none"}:
        out["includeThoughts"] = True
    if _THOUGHTLESS.match(name):
        out, lost = {}, bool(out) and not wanted.off
    fields = plan.turn.fields
    apart = "output_config" in fields and wanted.effort is not None  # Anthropic's effort is no part of `thinking`
    if lost and (not apart or "thinking" in fields):
        dropped[_own_name(fields, ("reasoning_effort", "reasoning", "thinking"))] = None
    if apart and (lost or wanted.off):
        dropped["output_config.effort"] = None
    return out


def _least(wanted: Thinking, name: str, by_budget: bool) -> tuple[dict[str, Any], bool]:
    """(no thinking, or as little as the model can do; is it more than was asked for?)"""
    pro = "-pro" in name  # none of these can stop
    if by_budget:
        return {"thinkingBudget": 128 if pro else 0}, pro
    if wanted.budget == 0 and not pro and "-lite" not in name:
        return {"thinkingBudget": 0}, False
    low = pro or _NO_MINIMAL.match(name) is not None
    return {"thinkingLevel": "LOW" if low else "MINIMAL"}, low


def _amount(wanted: Thinking, name: str, by_budget: bool) -> tuple[dict[str, Any], bool]:
    """(how much; is it something that nobody knows?)"""
    if wanted.budget is not None:
        return {"thinkingBudget": wanted.budget}, False
    level = _LEVELS.get(wanted.effort or "")
    if wanted.effort is None or level is None:
        return {}, wanted.effort is not None
    if by_budget:
        return {"thinkingBudget": _BUDGETS[wanted.effort]}, False
    low = level == "MINIMAL" and ("-pro" in name or _NO_MINIMAL.match(name) is not None)
    return {"thinkingLevel": "LOW" if low else level}, False
