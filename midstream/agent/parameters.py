"""Parameters by neutral or usual names, fitted to a model: what it does not take is dropped, what is out of its range
is clamped, and both are said. A value of the wrong type is the caller's mistake."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from ..core.agents import ModelDocument, Range
from ..core.errors import BadRequest
from ..core.turn import Params, Thinking

#: Neutral name -> field of core.turn.Params.
NEUTRAL = {
    "creativity_level": "temperature",
    "probability_cutoff": "top_p",
    "repetition_penalty": "frequency_penalty",
    "novelty_penalty": "presence_penalty",
    "token_selection_limit": "top_k",
    "response_count": "n",
    "additional_stop_sequences": "stop",
    "log_probability": "logprobs",
    "parallel_tool_calls": "parallel_tools",
    "max_completion_tokens": "max_tokens",
    "max_output_tokens": "max_tokens",
    "maxOutputTokens": "max_tokens",
    "topP": "top_p",
    "topK": "top_k",
    "stop_sequences": "stop",
    "reasoning_effort": "thinking",
    "reasoning": "thinking",
    "prompt_cache_key": "cache_key",
}
#: Field -> the name that model documents and reports use for it.
_SHOWN = {
    "temperature": "creativity_level",
    "top_p": "probability_cutoff",
    "frequency_penalty": "repetition_penalty",
    "presence_penalty": "novelty_penalty",
    "top_k": "token_selection_limit",
    "n": "response_count",
    "stop": "additional_stop_sequences",
}
#: Words that stand for the model's own value of a parameter.
WORDS = ("default", "min", "max")
_WHOLE = ("max_tokens", "top_k", "seed", "n", "top_logprobs")
_REAL = ("temperature", "top_p", "frequency_penalty", "presence_penalty")
#: Fields that are numbers.
NUMBERS = (*_REAL, *_WHOLE)


class Fitted(Struct, frozen=True):
    """dropped: names, as the caller wrote them, that the model does not take. names: of the others, by field.
    clamped: by field, in words, what was done to those that were out of range."""

    params: Params
    dropped: tuple[str, ...] = ()
    names: dict[str, str] = {}
    clamped: dict[str, str] = {}


class Given(Struct, frozen=True):
    """A parameter as it was written. name: in the caller's words. path: where it stood."""

    name: str
    path: str
    value: Any


def field_of(name: str) -> str | None:
    """The field of Params that a name means; None when it is no parameter."""
    field = NEUTRAL.get(name, name)
    return field if field in _READ else None


def gathered(configuration: Mapping[str, Any], path: str = "configuration") -> dict[str, Given]:
    """The parameters of a configuration by field. Raises BadRequest when one is given by two names."""
    found: dict[str, Given] = {}
    for name, value in configuration.items():
        field = field_of(name)
        if field is None or value is None:
            continue
        if field in found and found[field].value != value:
            raise _wrong(f"{path}.{name}", f"says something else than {found[field].name}")
        found[field] = Given(name, f"{path}.{name}", value)
    return found


def fit(given: Mapping[str, Given], model: ModelDocument) -> Fitted:
    """given: by field, the ones that win. Raises BadRequest with the path of a value of the wrong type."""
    values: dict[str, Any] = {}
    dropped: list[str] = []
    clamped: dict[str, str] = {}
    for field, one in given.items():
        known, limits = _limits(field, one.name, model)
        if known and limits is None:
            dropped.append(one.name)
            continue
        value = _chosen(one, field, limits or Range(), dropped)
        if value is None:
            continue
        values[field] = value = _READ[field](value, one.path)
        if field in NUMBERS and limits is not None:
            values[field] = nearest = _nearest(field, value, limits)
            if nearest != value:
                clamped[field] = f"{one.name} {value} is outside of what the model takes: {nearest} was used"
    names = {field: given[field].name for field in values}
    return Fitted(Params(**values), tuple(dropped), names, clamped)


def one_answer(fitted: Fitted) -> Fitted:
    """Of a turn that tells one answer: more of them would be paid for and thrown away, whatever the model takes."""
    if (fitted.params.n or 1) == 1 and "n" not in fitted.clamped:
        return fitted
    rest = {field: name for field, name in fitted.names.items() if field != "n"}
    clamped = {field: words for field, words in fitted.clamped.items() if field != "n"}
    return Fitted(replace(fitted.params, n=None), (*fitted.dropped, fitted.names["n"]), rest, clamped)


def _limits(field: str, name: str, model: ModelDocument) -> tuple[bool, Range | None]:
    """Does the document say anything of it, and what?"""
    words = (name, _SHOWN.get(field, field), field)
    said = next((word for word in words if word in model.parameters), None)
    limits = model.parameters[said] if said is not None else None
    if field == "max_tokens" and model.output is not None and (said is None or limits is not None):
        most = limits.max if limits is not None else None
        return True, replace(limits or Range(), max=model.output if most is None else min(most, model.output))
    return said is not None, limits


def _chosen(one: Given, field: str, limits: Range, dropped: list[str]) -> Any:
    """The value meant by default, min or max; None when there is none to send."""
    if not isinstance(one.value, str) or one.value not in WORDS:
        return one.value
    if one.value == "default":  # without a number of its own, the service's holds
        return _whole_if_it_is(limits.default)
    if field not in NUMBERS:
        return one.value  # "max" is an effort too
    bound = limits.min if one.value == "min" else limits.max
    if bound is None:
        dropped.append(one.name)
    return _whole_if_it_is(bound)


def _whole_if_it_is(value: float | None) -> float | int | None:
    return int(value) if value is not None and float(value).is_integer() else value


def _nearest(field: str, value: float, limits: Range) -> float | int | None:
    """Rounded only where the field is a whole number: a temperature of 1 may well be lowered to 0.9."""
    is_whole = field in _WHOLE
    nearest = value
    if limits.max is not None and value > limits.max:
        nearest = math.floor(limits.max) if is_whole else limits.max
    if limits.min is not None and value < limits.min:
        nearest = math.ceil(limits.min) if is_whole else limits.min
    return _whole_if_it_is(nearest) if isinstance(value, int) else float(nearest)


# readers: the value of a field, or BadRequest with the path


def _wrong(path: str, why: str) -> BadRequest:
    return BadRequest(f"{path}: {why}", code="configuration_invalid", param=path)


def _real(value: Any, path: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise _wrong(path, "must be a number, or default, min or max")
    return float(value) if isinstance(value, float) else value


def _whole(value: Any, path: str) -> int:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value) or value != int(value):
        raise _wrong(path, "must be a whole number, or default, min or max")
    return int(value)


def _count(value: Any, path: str) -> int:
    """A whole number that makes no sense below 1."""
    number = _whole(value, path)
    if number < 1:
        raise _wrong(path, "must be at least 1")
    return number


def _stop(value: Any, path: str) -> tuple[str, ...]:
    words = (value,) if isinstance(value, str) else value
    return tuple(_text(word, path) for word in _items(words, path))


def _items(value: Any, path: str) -> Iterable[Any]:
    if not isinstance(value, list | tuple):
        raise _wrong(path, "must be text or a list of texts")
    return value


def _text(value: Any, path: str) -> str:
    if not isinstance(value, str):
        raise _wrong(path, "must be text")
    return value


def _flag(value: Any, path: str) -> bool:
    if not isinstance(value, bool):
        raise _wrong(path, "must be true or false")
    return value


def _bias(value: Any, path: str) -> dict[str, float]:
    if not isinstance(value, Mapping):
        raise _wrong(path, "must be an object of numbers")
    return {str(token): _real(weight, f"{path}.{token}") for token, weight in value.items()}


def _thinking(value: Any, path: str) -> Thinking:
    if isinstance(value, str):
        return Thinking(effort=value)
    if not isinstance(value, Mapping):
        raise _wrong(path, "must be a word of effort, or an object {effort, budget, show, summary}")
    readers: dict[str, Callable[[Any, str], Any]] = {
        "effort": _text, "budget": _whole, "max_tokens": _whole, "show": _flag, "summary": _text,
    }  # fmt: skip
    made: dict[str, Any] = {}
    for name, one in value.items():
        if name not in readers:
            raise _wrong(f"{path}.{name}", "is not known here")
        made["budget" if name == "max_tokens" else name] = readers[name](one, f"{path}.{name}")
    return Thinking(**made)


_READ: dict[str, Callable[[Any, str], Any]] = {
    **dict.fromkeys(_REAL, _real),
    **dict.fromkeys(_WHOLE, _whole),
    "max_tokens": _count,
    "n": _count,
    "stop": _stop,
    "logprobs": _flag,
    "logit_bias": _bias,
    "thinking": _thinking,
    "parallel_tools": _flag,
    "user": _text,
    "service_tier": _text,
    "cache_key": _text,
    "verbosity": _text,
}
#: All names of parameters.
NAMES = frozenset(_READ) | frozenset(NEUTRAL)
