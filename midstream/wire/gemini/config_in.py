"""Tools, toolConfig and generationConfig of a request, read into neutral words."""

from __future__ import annotations

from typing import Any

from msgspec import Struct

from ...core.errors import BadRequest
from ...core.parts import State
from ...core.turn import Format, Params, Thinking, Tool, ToolChoice
from .schema import json_schema_of
from .shape import NAME, listed, members, shaped


class _Declaration(Struct, frozen=True):
    name: str
    description: str | None = None


def read_tools(value: Any) -> tuple[Tool, ...]:
    """functionDeclarations become functions, every other member of a tool is a hosted tool. Raises BadRequest."""
    tools: list[Tool] = []
    for number, item in enumerate(listed(value, "tools")):
        path = f"tools[{number}]"
        for name, member in members(item, path).items():
            at = f"{path}.{name}"
            if name == "functionDeclarations":
                declarations = listed(member, at)
                tools += [_declared(one, f"{at}[{index}]") for index, one in enumerate(declarations)]
            else:
                tools.append(Tool(name, kind="hosted", state=State(NAME, {name: member})))
    return tuple(tools)


def _declared(value: Any, path: str) -> Tool:
    found = members(value, path)
    declaration = shaped(found, _Declaration, path)
    schema = found.get("parametersJsonSchema")
    if schema is not None:
        parameters = members_kept(schema, f"{path}.parametersJsonSchema")
    elif "parameters" in found:
        parameters = json_schema_of(found["parameters"], f"{path}.parameters")
    else:
        parameters = None
    known = {"name", "description", "parameters", "parametersJsonSchema"}
    rest = {name: member for name, member in found.items() if name not in known}
    return Tool(declaration.name, declaration.description, parameters, state=State(NAME, rest) if rest else None)


def members_kept(value: Any, path: str) -> dict[str, Any]:
    """The object itself. Raises BadRequest."""
    if not isinstance(value, dict):
        raise BadRequest(f"{path} must be an object", param=path)
    return value


#: By the numbers that Google's own REST clients send in their place.
_MODES = ("MODE_UNSPECIFIED", "AUTO", "ANY", "NONE", "VALIDATED")


class _Calling(Struct, frozen=True):
    mode: str | int = "AUTO"
    allowedFunctionNames: list[str] = []


def read_choice(value: Any) -> tuple[ToolChoice | None, dict[str, Any]]:
    """(the choice, toolConfig's other members as extras). Raises BadRequest."""
    config = members(value, "toolConfig")
    path = "toolConfig.functionCallingConfig"
    extras = {f"toolConfig.{name}": item for name, item in config.items() if name != "functionCallingConfig"}
    if "functionCallingConfig" not in config:
        return None, extras
    found = members(config["functionCallingConfig"], path)
    calling = shaped(found, _Calling, path)
    extras |= {f"{path}.{name}": item for name, item in found.items() if name not in _Calling.__struct_fields__}
    names = tuple(calling.allowedFunctionNames)
    mode = calling.mode
    match _MODES[mode] if isinstance(mode, int) and 0 <= mode < len(_MODES) else str(mode).upper():
        case "NONE":
            return ToolChoice("none"), extras
        case "ANY":
            return ToolChoice("tool" if len(names) == 1 else "required", names), extras
        case "AUTO" | "MODE_UNSPECIFIED":
            return ToolChoice("auto", names), extras
        case "VALIDATED":
            return ToolChoice("auto", names), {**extras, f"{path}.mode": "VALIDATED"}
    raise BadRequest(f"{path}.mode must be AUTO, ANY, NONE or VALIDATED", param=f"{path}.mode")


class _Config(Struct, frozen=True, kw_only=True):
    maxOutputTokens: int | None = None
    temperature: float | None = None
    topP: float | None = None
    topK: float | None = None
    frequencyPenalty: float | None = None
    presencePenalty: float | None = None
    seed: int | None = None
    stopSequences: tuple[str, ...] = ()
    candidateCount: int | None = None
    responseLogprobs: bool | None = None
    logprobs: int | None = None
    responseModalities: tuple[str, ...] = ()
    responseMimeType: str | None = None


class _Thinking(Struct, frozen=True):
    thinkingBudget: int | None = None
    thinkingLevel: str | None = None
    includeThoughts: bool | None = None


_SCHEMAS = ("responseJsonSchema", "_responseJsonSchema", "responseSchema")
_ELSEWHERE = frozenset({*_SCHEMAS, "thinkingConfig", "speechConfig"})


def read_params(value: Any) -> tuple[Params, dict[str, Any]]:
    """(neutral parameters, generationConfig's other members as extras named by their path). Raises BadRequest."""
    path = "generationConfig"
    found = members(value, path)
    config = shaped(found, _Config, path)
    extras = {
        f"{path}.{name}": item
        for name, item in found.items()
        if name not in _Config.__struct_fields__ and name not in _ELSEWHERE
    }
    voice = _voice(found.get("speechConfig"))
    if voice is None and "speechConfig" in found:
        extras[f"{path}.speechConfig"] = found["speechConfig"]
    params = Params(
        max_tokens=config.maxOutputTokens,
        temperature=config.temperature,
        top_p=config.topP,
        top_k=None if config.topK is None else shaped(config.topK, int, f"{path}.topK"),
        frequency_penalty=config.frequencyPenalty,
        presence_penalty=config.presencePenalty,
        seed=config.seed,
        stop=config.stopSequences,
        n=config.candidateCount,
        logprobs=config.responseLogprobs,
        top_logprobs=config.logprobs,
        format=_format(found, config.responseMimeType, extras),
        thinking=_thinking(found.get("thinkingConfig")),
        modalities=tuple(word.lower() for word in config.responseModalities),
        audio=voice,
    )
    return params, extras


def _format(found: dict[str, Any], mime: str | None, extras: dict[str, Any]) -> Format | None:
    path = "generationConfig"
    schema = found.get("responseJsonSchema", found.get("_responseJsonSchema"))
    if schema is not None:
        return Format("json_schema", members_kept(schema, f"{path}.responseJsonSchema"))
    if "responseSchema" in found:
        return Format("json_schema", json_schema_of(found["responseSchema"], f"{path}.responseSchema"))
    if mime == "application/json":
        return Format("json", any=True)
    if mime not in {None, "text/plain"}:
        extras[f"{path}.responseMimeType"] = mime
    return None if mime is None else Format("text")


def _thinking(value: Any) -> Thinking | None:
    if value is None:
        return None
    path = "generationConfig.thinkingConfig"
    found = shaped(members(value, path), _Thinking, path)
    level = (found.thinkingLevel or "").lower()
    effort = level if level and level != "thinking_level_unspecified" else None
    return Thinking(effort, found.thinkingBudget, found.includeThoughts)


def _voice(value: Any) -> dict[str, Any] | None:
    """{"voice": name} when one of Google's own voices is asked for and nothing else is."""
    path = "generationConfig.speechConfig"
    if value is None:
        return None
    speech = members(value, path)
    if set(speech) != {"voiceConfig"}:
        return None
    voice = members(speech["voiceConfig"], f"{path}.voiceConfig")
    if set(voice) != {"prebuiltVoiceConfig"}:
        return None
    prebuilt = members(voice["prebuiltVoiceConfig"], f"{path}.voiceConfig.prebuiltVoiceConfig")
    name = prebuilt.get("voiceName")
    return {"voice": name} if isinstance(name, str) else None
