"""Sampling, limits, reasoning and the answer's form in this format's words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import msgspec
from msgspec import Struct, field

from ...core.errors import BadRequest
from ...core.turn import Format, Params, Plan, Prompt, Thinking, ToolChoice, described
from .arrange import Turned
from .block_write import Block
from .form import form_choice, form_tool
from .quirks import Quirks
from .schema import closed_schema
from .unsigned import begins_unsigned

#: The service takes no smaller thinking budget.
MIN_BUDGET = 1024
#: Tokens of thinking for a word, where the model takes a number.
BUDGETS = {"minimal": 1024, "low": 2048, "medium": 8192, "high": 16384, "xhigh": 24576, "max": 32000}
_EFFORTS = {"minimal": "low", "low": "low", "medium": "medium", "high": "high", "xhigh": "xhigh", "max": "max"}
_MODES = {"auto": "auto", "none": "none", "required": "any", "tool": "tool"}
_TIERS = {"auto": "auto", "standard_only": "standard_only", "default": "standard_only"}
#: Parameters without any counterpart here.
_UNKNOWN = ("frequency_penalty", "presence_penalty", "seed", "logit_bias", "verbosity", "cache_key", "audio")
#: What callers call their reasoning knob.
_THINKING_NAMES = ("reasoning_effort", "reasoning", "thinking")

#: What callers call the parameters that this format lacks, where their word is another than ours.
_CALLERS_WORDS = {
    "openai_chat": {"cache_key": "prompt_cache_key", "format": "response_format"},
    "openai_responses": {"cache_key": "prompt_cache_key", "verbosity": "text.verbosity", "format": "text.format"},
    "gemini": {
        "tool_choice": "toolConfig",
        "top_p": "topP",
        "top_k": "topK",
        "stop": "stopSequences",
        "n": "candidateCount",
        "frequency_penalty": "frequencyPenalty",
        "presence_penalty": "presencePenalty",
        "logprobs": "responseLogprobs",
        "top_logprobs": "logprobs",
        "modalities": "responseModalities",
        "audio": "speechConfig",
        "thinking": "thinkingConfig",
    },
}


class Written(Struct):
    """members: of the request. instructions: blocks to add to the system prompt. form: a tool to add, whose call is
    the answer. by_word: as in core.turn.Asked."""

    max_tokens: int
    members: dict[str, Any] = field(default_factory=dict)
    instructions: list[Block] = field(default_factory=list)
    dropped: list[str] = field(default_factory=list)
    form: dict[str, Any] | None = None
    by_word: Literal["", "object", "value"] = ""


def write_params(plan: Plan, quirks: Quirks, turns: Sequence[Turned], tools: Sequence[Block]) -> Written:
    """tools: the caller's, as they are sent."""
    prompt = plan.turn.prompt
    params = prompt.params
    given = params.max_tokens
    out = Written(plan.max_tokens_default if given is None else given)
    _thinking(plan, quirks, turns, out)
    _sampling(params, quirks, out)
    _format(prompt, quirks, tools, out)
    if out.form is not None:
        out.members["tool_choice"] = form_choice(
            prompt.tool_choice, bool(tools), params.parallel_tools, out.form["name"]
        )
    elif tools:
        _tool_choice(prompt.tool_choice, params.parallel_tools, quirks, out)
    _others(params, out)
    words = _words(plan)
    out.dropped = [words.get(name, name) for name in out.dropped]
    return out


def one_answer(plan: Plan) -> None:
    """Raises BadRequest when several answers are asked for: there is no switch for it, and one is not what is meant."""
    if (plan.turn.prompt.params.n or 1) > 1:
        word = _words(plan).get("n", "n")
        raise BadRequest(f"{word}: this provider gives one answer to a request", param=word, code="unsupported")


def _words(plan: Plan) -> Mapping[str, str]:
    words = _CALLERS_WORDS.get(plan.turn.dialect, {})
    if "generationConfig" not in plan.turn.fields:
        return words
    newer = b"JsonSchema" in (given := bytes(plan.turn.fields.get("generationConfig", b""))) or b"json_schema" in given
    return words | {"format": "responseJsonSchema" if newer else "responseSchema"}


def _thinking(plan: Plan, quirks: Quirks, turns: Sequence[Turned], out: Written) -> None:
    params, choice = plan.turn.prompt.params, plan.turn.prompt.tool_choice
    thinking = params.thinking
    own = _words(plan).get("thinking", "reasoning_effort")
    name = next((name for name in _THINKING_NAMES if name in plan.turn.fields), own)
    if thinking is None or (thinking.effort is None and thinking.budget is None):
        out.dropped += [name] if thinking is not None and thinking.show is not None else []
        return
    if thinking.off and quirks.off is not None:
        out.members["thinking"] = {"type": quirks.off}
        return
    if thinking.off:  # it always thinks, and does so as little as it can
        out.members["output_config"] = {"effort": quirks.efforts[0]}
        _make_room(out, params, BUDGETS[quirks.efforts[0]])
        out.dropped.append(name)
        return
    if quirks.thinking == "adaptive" or (quirks.thinking == "either" and (thinking.budget or -1) < 0):
        _adaptive(params, thinking, quirks, out)
        return
    # Refused together with a budget. Adaptive thinking goes with it, and needs no thought before earlier calls.
    forced = choice is not None and choice.mode in ("tool", "required")
    budget = None if forced or begins_unsigned(map(_bytes, reversed(turns))) else _budget(thinking, params.max_tokens)
    if budget is None:
        out.dropped.append(name)
        return
    if budget < (thinking.budget or 0):
        out.dropped.append(name)  # kept, but not as it was asked for
    _make_room(out, params, budget)
    out.members["thinking"] = {"type": "enabled", "budget_tokens": budget, **_display(thinking)}


def _make_room(out: Written, params: Params, tokens: int) -> None:
    """Thinking counts towards the limit: one that the caller has not set leaves room for it and the answer."""
    if params.max_tokens is None:
        out.max_tokens += tokens


def _budget(thinking: Thinking, max_tokens: int | None) -> int | None:
    """Tokens to think, fewer than max_tokens, which counts them too; None when that leaves too few. A word leaves a
    quarter of the limit for the answer; a number is the caller's own affair."""
    number = thinking.budget if thinking.budget is not None and thinking.budget > 0 else None
    wanted = number or BUDGETS.get(thinking.effort or "medium")
    if wanted is None:
        return None
    if max_tokens is not None:
        wanted = min(wanted, max_tokens - 1 if number else max(max_tokens * 3 // 4, MIN_BUDGET))
        if max(wanted, MIN_BUDGET) >= max_tokens:
            return None
    return max(wanted, MIN_BUDGET)


def _adaptive(params: Params, thinking: Thinking, quirks: Quirks, out: Written) -> None:
    out.members["thinking"] = {"type": "adaptive", **_display(thinking)}
    word = thinking.effort
    if word is None:
        word = next((word for word, size in BUDGETS.items() if 0 < (thinking.budget or 0) <= size), None)
    effort = _EFFORTS.get(word or "")
    if effort is not None:
        out.members["output_config"] = {"effort": effort if effort in quirks.efforts else "high"}
    wanted = BUDGETS.get(word or "", BUDGETS["high"])  # which is what the service does where nobody says how much
    _make_room(out, params, max(thinking.budget or 0, wanted))


def _display(thinking: Thinking) -> dict[str, str]:
    if thinking.show is None:
        return {"display": "summarized"} if thinking.summary else {}
    return {"display": "summarized" if thinking.show else "omitted"}


def _bytes(turn: Turned) -> bytes:
    return turn.raw if turn.raw is not None else msgspec.json.encode(turn.blocks)


def _sampling(params: Params, quirks: Quirks, out: Written) -> None:
    """Thinking allows no sampling parameters, and newer models take either temperature or top_p."""
    given = {"temperature": params.temperature, "top_p": params.top_p, "top_k": params.top_k}
    given = {name: value for name, value in given.items() if value is not None}
    thinking = out.members.get("thinking", {}).get("type") in ("enabled", "adaptive")
    if thinking or not quirks.sampling:
        out.dropped += [name for name, value in given.items() if not (name in ("temperature", "top_p") and value == 1)]
        return
    if params.temperature is not None and not 0 <= params.temperature <= 1:
        given["temperature"] = min(max(params.temperature, 0.0), 1.0)
        out.dropped.append("temperature")
    if len(given.keys() & {"temperature", "top_p"}) == 2:
        if given["temperature"] == 1:
            del given["temperature"]  # the default
        elif given.pop("top_p") != 1:
            out.dropped.append("top_p")
    out.members |= given


def _format(prompt: Prompt, quirks: Quirks, tools: Sequence[Block], out: Written) -> None:
    form = prompt.params.format
    if form is None or form.kind == "text":
        return
    if form.kind == "json_schema" and form.schema is not None and quirks.schemas:
        config = out.members.setdefault("output_config", {})
        config["format"] = {"type": "json_schema", "schema": closed_schema(described(form))}
        return
    if form.kind == "json_schema" and form.schema is not None:
        if tools and prompt.tool_choice is not None and prompt.tool_choice.mode in ("required", "tool"):
            return  # the answer is a call of the caller's own tools: nothing in it has this form
        if out.members.get("thinking", {}).get("type") not in ("enabled", "adaptive"):  # which forbids a forced call
            out.form = form_tool(form, [tool.name for tool in prompt.tools])
        if out.form is not None:
            return
        out.dropped.append("format")
    _instruct(form, out)
    prefilled = bool(prompt.messages) and prompt.messages[-1].role == "assistant"  # then the answer is its second half
    if form.kind == "json" and not prefilled:
        out.by_word = "value" if form.any else "object"


def _instruct(form: Format, out: Written) -> None:
    text = "Answer with one valid JSON object and nothing else: no prose, no code fence."
    if form.schema is not None:
        text += " It must be an instance of this JSON schema:\n" + msgspec.json.encode(form.schema).decode()
    out.instructions.append({"type": "text", "text": text})


def _tool_choice(choice: ToolChoice | None, parallel: bool | None, quirks: Quirks, out: Written) -> None:
    if choice is not None and choice.mode in ("tool", "required") and not quirks.forced:
        choice = ToolChoice("auto")
        out.dropped.append("tool_choice")
    if choice is None and parallel is not False:
        return
    mode = choice.mode if choice is not None else "auto"
    members: dict[str, Any] = {"type": _MODES[mode]}
    if choice is not None and mode == "tool":
        members["name"] = choice.names[0] if choice.names else ""
    if parallel is not None and mode != "none":
        members["disable_parallel_tool_use"] = not parallel
    out.members["tool_choice"] = members


def _others(params: Params, out: Written) -> None:
    stop = [word for word in params.stop if word.strip()]
    if stop:
        out.members["stop_sequences"] = stop
    if len(stop) < len(params.stop):
        out.dropped.append("stop")  # the service refuses a sequence of white space
    if params.user is not None:
        out.members["metadata"] = {"user_id": params.user}
    if params.service_tier in _TIERS:
        out.members["service_tier"] = _TIERS[params.service_tier]
    elif params.service_tier is not None:
        out.dropped.append("service_tier")
    out.dropped += [name for name in _UNKNOWN if getattr(params, name) is not None]
    out.dropped += ["logprobs"] if params.logprobs else []
    out.dropped += ["top_logprobs"] if params.top_logprobs else []
    out.dropped += ["modalities"] if set(params.modalities) - {"text"} else []
