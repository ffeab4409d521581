"""Neutral parameters as generationConfig."""

from __future__ import annotations

import re
from typing import Any

from ...core.turn import Fields, Format, Plan, Thinking, described

MAX_STOPS = 5
_BUDGET_MODELS = re.compile(r"gemini-[12](?:\.|-|$)")
# What Google's own OpenAI-compatible endpoint makes of reasoning_effort.
_BUDGETS = {"none": 0, "minimal": 1024, "low": 1024, "medium": 8192, "high": 24576, "xhigh": 24576, "max": 24576}
_LEVELS = {
    "none": "MINIMAL", "minimal": "MINIMAL", "low": "LOW", "medium": "MEDIUM", "high": "HIGH", "xhigh": "HIGH",
    "max": "HIGH",
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


def write_config(plan: Plan, thinking: str, dropped: dict[str, None]) -> dict[str, Any]:
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
    if params.thinking is not None and (config := _thinking(params.thinking, plan.model, thinking, dropped)):
        out["thinkingConfig"] = config
    for ours, names in _UNKNOWN:
        if getattr(params, ours) is not None:
            dropped[_own_name(fields, names)] = None
    if params.parallel_tools is False:
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


def _thinking(wanted: Thinking, model: str, form: str, dropped: dict[str, None]) -> dict[str, Any]:
    """The caller's own number is kept; a word becomes what the model takes (a level, or tokens)."""
    out: dict[str, Any] = {}
    name = model.rpartition("/")[2]
    if wanted.budget is not None:
        out["thinkingBudget"] = wanted.budget
    elif wanted.effort is not None:
        by_budget = form == "budget" or (form == "auto" and _BUDGET_MODELS.match(name) is not None)
        level = _LEVELS.get(wanted.effort)
        # Pro models cannot stop thinking: they get the least that they take.
        pro = "-pro" in name
        if level is None or (pro and wanted.effort == "none"):
            dropped["reasoning_effort"] = None
        if level is not None and by_budget:
            budget = _BUDGETS[wanted.effort]
            out["thinkingBudget"] = 128 if pro and budget == 0 else budget
        elif level is not None:
            out["thinkingLevel"] = "LOW" if pro and level == "MINIMAL" else level
    if wanted.show is not None:
        out["includeThoughts"] = wanted.show
    elif wanted.summary not in {None, "none"}:
        out["includeThoughts"] = True
    return out
