"""From what is stored of an agent and what a turn asks of it to what its model is asked: request > version > agent.

Pure: no clock, no store; what it needs of the world is given."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC
from typing import Any, get_args

from msgspec import Struct
from msgspec.structs import replace

from ..core.agents import AgentAsk, AgentType, Fallback, Loaded, ModelDocument, Settings, Tool
from ..core.errors import BadRequest
from ..core.estimates import MEDIA_TOKENS, tokens_of
from ..core.json_words import JSON_ONLY
from ..core.parts import Media, Message, Part, Text, media_in
from ..core.turn import MODES, PICTURE, EmbedAsk, Format, Params, Prompt, ToolChoice
from ..core.unread import unread_in
from .fitting import answerable, check_media, readable, room
from .formats import format_of
from .history import DRAWINGS, left_files, shown_to_user, window, with_drawings
from .memory import reminder
from .offered import choice_of, chosen_name, shown, tools_of, unplaced
from .parameters import NAMES, NUMBERS, Fitted, field_of, fit, gathered, one_answer
from .parameters import Given as GivenParameter
from .template import current_time, manner, within, zone_of
from .variables import (
    NOTHING,
    optional_of,
    own_variables,
    placeholders,
    substitute,
    unfilled,
    value_at,
    variables_of,
)

#: Rounds of tool calls when nobody says another number.
ROUNDS = 3
#: What only agents of type embedding look at.
VECTOR = ("dimensions", "encoding_format")
#: What agents of type embedding look at.
_OF_VECTORS = frozenset({"service", "model", "fine_tune_model", "type", "guardrails", *VECTOR})
#: What a configuration holds besides parameters.
_OTHERS = frozenset(
    {"model", "prompt", "tool_choice", "response_type", "json_schema", "fine_tune_model", "service", "type",
     "tool_call_count", "tone", "response_style", "responseStyle", "fall_back", "guardrails", "template_id",
     *PICTURE, *VECTOR}
)  # fmt: skip
#: What a version's configuration may hold; its service stands beside it.
CONFIGURATION = (_OTHERS | NAMES) - {"service"}
_FALL_BACK = {"service": str, "model": str, "is_enable": bool}
#: The answer's form by providers' names -> by the caller's.
_FORM = dict.fromkeys(("format", "response_format"), "response_type")
#: The type of agents that give pictures.
IMAGE = "image"


class Given(Struct, frozen=True):
    """now: unix seconds. history: of the conversation, oldest first. files: given by users before that begins, oldest
    first. memory: what is remembered of the thread.
    model: its document. documents: (name, text) of what is attached. variables: the ask's and the results of
    pre-tools. built_in: the tools that may be asked for as `built_in_tools`."""

    now: float
    history: tuple[Message, ...] = ()
    files: tuple[Media, ...] = ()
    memory: str = ""
    model: ModelDocument = ModelDocument()
    documents: tuple[tuple[str, str], ...] = ()
    variables: dict[str, Any] = {}
    built_in: tuple[Tool, ...] = ()


class Prepared(Struct, frozen=True):
    """What a turn's loop works with. service: "" = whoever has the model. tools: as the toolbox wants them, with all
    mapped arguments. rounds: of tool calls. missing: required variables and placeholders without a value.
    dropped: parameters that the model does not take, in the caller's words. noted: what was changed (clamped values,
    an unknown time zone), in words. names: the caller's of the parameters that are sent, by field; clamped: by field,
    those of `noted` that are about one. format: None = text. variables: all of the turn, for tools' mapped arguments.
    fall_back: another model that is configured. falls_back: False where no usual one answers in the model's place: that
    is switched off, or it draws.
    guardrails: see agent.guardrails. parameters: what is sent, by name, for the accounts. document: the model's.
    past: how many messages of the prompt, after the `first` ones, may be left out when it grows."""

    service: str
    model: str
    prompt: Prompt
    tools: tuple[Tool, ...]
    tool_choice: ToolChoice | None
    rounds: int
    missing: tuple[str, ...]
    dropped: tuple[str, ...]
    noted: tuple[str, ...]
    names: dict[str, str]
    clamped: dict[str, str]
    format: Format | None
    variables: dict[str, Any]
    fall_back: Fallback | None
    falls_back: bool
    guardrails: dict[str, Any]
    settings: Settings
    parameters: dict[str, Any]
    document: ModelDocument
    first: int
    past: int


class _Merged(Struct):
    """One configuration out of two."""

    values: dict[str, Any]
    parameters: dict[str, GivenParameter]
    unknown: tuple[str, ...]


def prepare(loaded: Loaded, ask: AgentAsk, given: Given) -> Prepared:
    """Raises BadRequest: user_message_missing, model_unknown, configuration_invalid, response_type_invalid,
    tool_unknown, tool_choice_invalid, template_unknown, unsupported_media; `param` is the field's path. And
    context_length_exceeded."""
    if not said(ask, given.history):
        raise BadRequest("user: a message is needed", code="user_message_missing", param="user")
    merged = _merge(loaded, ask)
    values, settings = merged.values, loaded.spec.settings
    variables = variables_of(loaded, ask, given.variables)
    tools = tools_of(loaded, ask, given.built_in)
    choice, unmet = _choice(values, ask, tools)
    draws = _draws(loaded, values)
    form = _form(values, ask)
    if form is not None and draws:  # a picture has none
        form, unmet = None, (*unmet, "response_type")
    fitted = fit(merged.parameters, given.model)
    if not draws:
        fitted = one_answer(fitted)
    noted: list[str] = []
    system, missing = _system(loaded, ask, given, values, variables, form, noted)
    params = replace(fitted.params, format=form)
    pictured = {name: values[name] for name in PICTURE if name in values}
    if draws:
        params = replace(params, modalities=("text", "image"))
    bare = Prompt(system, tuple(shown(tool) for tool in tools), choice, params, pictured if draws else {})
    prompt, past = _told(bare, ask, given, settings, DRAWINGS if draws else 0)
    clamped = _lowered(prompt.params, merged.parameters, fitted)
    return Prepared(
        service=_text(values, "service"),
        model=_text(values, "model"),
        prompt=prompt,
        tools=tools,
        tool_choice=choice,
        rounds=rounds_of(values, settings, ask.calls),
        missing=missing,
        dropped=(
            *fitted.dropped,
            *merged.unknown,
            *unmet,
            *unplaced(loaded, ask, tools),
            *_of_other_types(values, draws),
            *(unread_in(prompt.messages) if given.model.modalities else ()),
        ),
        noted=(*clamped.values(), *noted),
        names=fitted.names,
        clamped=clamped,
        format=form,
        variables={"current_time": variables["current_time"], **own_variables(loaded, ask, given.variables)},
        fall_back=fall_back_of(values, settings),
        falls_back=_falls_back(values, settings) and not draws,
        guardrails=_guardrails(values, ask, settings),
        settings=settings,
        parameters=_sent(prompt.params),
        document=given.model,
        first=len(system),
        past=past,
    )


def _of_other_types(values: Mapping[str, Any], draws: bool) -> list[str]:
    """Names of what agents of other types look at."""
    return [name for name in (*(() if draws else PICTURE), *VECTOR) if name in values]


def _lowered(params: Params, given: Mapping[str, GivenParameter], fitted: Fitted) -> dict[str, str]:
    """What was done to parameters that are out of range, and to an answer that would be longer than there is room."""
    most, name = params.max_tokens, "max_tokens"
    if most == fitted.params.max_tokens:
        return fitted.clamped
    one = given[name]
    return fitted.clamped | {name: f"{one.name} {one.value} is more than the model's context leaves: {most} was used"}


def reported(prepared: Prepared, late: Sequence[str] | None) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """(dropped, noted) of a turn, in the caller's words. late: what the provider left out besides, by its names; None:
    no model was asked. What a parameter was changed to is said only of one that counted."""
    fields = {field_of(name) for name in late or ()}
    words = in_their_words(prepared, late or ())
    idle = {note for field, note in prepared.clamped.items() if late is None or field in fields}
    return tuple(dict.fromkeys((*prepared.dropped, *words))), tuple(note for note in prepared.noted if note not in idle)


def in_their_words(prepared: Prepared, late: Iterable[str]) -> list[str]:
    """What a provider left out, as the caller or the version has written it."""
    return [prepared.names.get(field_of(name) or "", _FORM.get(name, name)) for name in late]


def _form(values: Mapping[str, Any], ask: AgentAsk) -> Format | None:
    path = _place("response_type", ask.response_type)
    return format_of(values.get("response_type"), values.get("json_schema"), path)


def _choice(
    values: Mapping[str, Any], ask: AgentAsk, tools: Sequence[Tool]
) -> tuple[ToolChoice | None, tuple[str, ...]]:
    """Which tool shall be called, and its name when there is none to call. What the version says of tools that the
    request has taken away is left out; a tool that the request itself names must be there."""
    name, path = "tool_choice", _place("tool_choice", ask.tool_choice)
    stored = ask.tool_choice in (None, "") and ask.configuration.get(name) in (None, "")
    if not tools and stored and chosen_name(values.get(name), path) not in ("", *MODES):
        return None, (name,)
    choice = choice_of(values.get(name), tools, path)
    if tools or choice is None:
        return choice, ()
    return None, (name,) if choice.mode == "required" else ()


def chosen(loaded: Loaded, ask: AgentAsk) -> tuple[str, str]:
    """(service, model) of the turn, whose document `prepare` is then given. Raises BadRequest as `prepare` does."""
    values = _merge(loaded, ask).values
    return _text(values, "service"), _text(values, "model")


def _guardrails(values: Mapping[str, Any], ask: AgentAsk, settings: Settings) -> dict[str, Any]:
    return ask.guardrails or _object(values, "guardrails") or settings.guardrails


def guarded(loaded: Loaded, ask: AgentAsk) -> bool:
    """Are there guardrails, of whatever layer and whether or not they can be read?"""
    stored = (loaded.spec.settings.guardrails, loaded.spec.configuration.get("guardrails"))
    return any((ask.guardrails, ask.configuration.get("guardrails"), *stored))


def embedded(loaded: Loaded, ask: AgentAsk) -> EmbedAsk:
    """What an agent of type embedding asks its model. Raises BadRequest, user_message_missing and as `prepare` does."""
    if not ask.text.strip():
        raise BadRequest("user: a text is needed", param="user", code="user_message_missing")
    values = _merge(loaded, ask).values
    dimensions, form = values.get("dimensions"), values.get("encoding_format", "float")
    if form != "float":
        raise _wrong("encoding_format", "must be float")
    whole = isinstance(dimensions, int) and not isinstance(dimensions, bool)
    if dimensions is not None and (not whole or dimensions < 1):
        raise _wrong("dimensions", "must be a whole number above 0")
    return EmbedAsk((ask.text,), dimensions=dimensions)


def besides(loaded: Loaded, ask: AgentAsk) -> tuple[dict[str, Any], tuple[str, ...]]:
    """Of an agent of type embedding: its guardrails, and the names of what was asked for and no vector has. Raises
    BadRequest as `prepare` does, unsupported_media too."""
    merged, settings = _merge(loaded, ask), loaded.spec.settings
    values, rails = merged.values, _guardrails(merged.values, ask, settings)
    check_media(ask.media, ask.places or ("user",), ModelDocument(modalities=("text",)))
    idle = {name: value for name, value in values.items() if name not in _OF_VECTORS}
    idle["fall_back"] = fall_back_of(values, settings)
    idle["response_type"] = _form(values, ask)
    choice = chosen_name(values.get("tool_choice"), _place("tool_choice", ask.tool_choice))
    idle["tool_choice"] = MODES.get(choice, choice) not in ("", "auto", "none")
    beside = {
        "thread_id": ask.thread, "sub_thread_id": ask.sub_thread, "variables": ask.variables,
        "variables_path": ask.variables_path, "tools": ask.tools, "extra_tools": ask.extra_tools,
        "built_in_tools": ask.built_in_tools, "template_id": ask.template, "document_ids": ask.document_ids,
        "guardrails.output": rails.get("output"),
    }  # fmt: skip
    named = [name for name, value in (*idle.items(), *beside.items()) if value]
    return rails, tuple(dict.fromkeys((*named, *(one.name for one in merged.parameters.values()), *merged.unknown)))


def said(ask: AgentAsk, history: Sequence[Message]) -> bool:
    """Is there anything to answer?"""
    return bool(ask.text.strip() or ask.media or ask.messages) or bool(
        ask.regenerate and history and history[-1].role == "user"
    )


# configuration


def _merge(loaded: Loaded, ask: AgentAsk) -> _Merged:
    """Parameters are compared by what they mean, whatever each layer calls them."""
    asked = {name: value for name, value in ask.configuration.items() if value is not None}
    for name in asked:
        if name not in _OTHERS and field_of(name) is None:
            raise _wrong(name, "not known here")
    if asked.get("type") not in (None, *get_args(AgentType)):
        raise _wrong("type", f"must be one of {', '.join(get_args(AgentType))}")
    stored = loaded.spec.configuration
    unknown = tuple(name for name in stored if name not in _OTHERS and field_of(name) is None)
    values = {name: value for name, value in stored.items() if name in _OTHERS and value is not None}
    values["service"] = loaded.spec.service or values.get("service", "")
    values["model"] = model_of(values)
    if isinstance(form := values.get("response_type"), Mapping):  # its schema serves a request that only says the word
        values.setdefault("json_schema", form.get("json_schema", form.get("schema")))
    values |= {name: value for name, value in asked.items() if name in _OTHERS}
    values["model"] = _fine_tuned(asked) or values["model"]
    direct = {
        "service": ask.service, "model": _fine_tuned(asked) or ask.model,
        "tool_choice": ask.tool_choice, "response_type": ask.response_type,
    }  # fmt: skip
    values |= {name: value for name, value in direct.items() if value not in (None, "")}
    if not _text(values, "model"):
        raise BadRequest("model: none is configured and none was asked for", code="model_unknown", param="model")
    return _Merged(values, {**gathered(stored), **gathered(asked)}, unknown)


def _draws(loaded: Loaded, values: Mapping[str, Any]) -> bool:
    return IMAGE in (loaded.spec.type, values.get("type"))


def model_of(values: Mapping[str, Any]) -> Any:
    """The model that a configuration names, "" = none: the fine-tuned one where there is one."""
    return _fine_tuned(values) or values.get("model", "")


def _fine_tuned(values: Mapping[str, Any]) -> str:
    """The fine-tuned model to use in place of its base: its name, or {current_model}."""
    chosen = values.get("fine_tune_model")
    if isinstance(chosen, Mapping):
        chosen = chosen.get("current_model")
    return chosen if isinstance(chosen, str) else ""


def _text(values: Mapping[str, Any], name: str) -> str:
    value = values.get(name, "")
    if not isinstance(value, str):
        raise _wrong(name, "must be text")
    return value


def _object(values: Mapping[str, Any], name: str) -> dict[str, Any]:
    value = values.get(name, {})
    if not isinstance(value, dict):
        raise _wrong(name, "must be an object")
    return value


def _place(name: str, direct: Any) -> str:
    """Where a member of the configuration was said. direct: what stands beside the configuration."""
    return name if direct not in (None, "") else f"configuration.{name}"


def _wrong(name: str, why: str) -> BadRequest:
    path = f"configuration.{name}"
    return BadRequest(f"{path}: {why}", code="configuration_invalid", param=path)


def rounds_of(values: Mapping[str, Any], settings: Settings, calls: int | None = None) -> int:
    """Rounds of tool calls. values: a configuration. calls: most model calls that the face allows. The request's or
    version's number, else what the face leaves, else three."""
    rounds = values.get("tool_call_count")
    if rounds is None:
        rounds = settings.maximum_iterations
    if rounds is None:
        return ROUNDS if calls is None else max(0, calls - 1)
    if isinstance(rounds, bool) or not isinstance(rounds, int) or not 0 <= rounds <= 100:
        raise _wrong("tool_call_count", "must be a whole number from 0 to 100")
    return rounds


def fall_back_of(values: Mapping[str, Any], settings: Settings) -> Fallback | None:
    """The model that answers in the model's place. values: a configuration. Raises BadRequest."""
    told = _fall_back(values, settings)
    return told if told is not None and told.is_enable and told.model else None


def _falls_back(values: Mapping[str, Any], settings: Settings) -> bool:
    told = _fall_back(values, settings)
    return told is None or told.is_enable


def _fall_back(values: Mapping[str, Any], settings: Settings) -> Fallback | None:
    """All that is said of it; None = nothing."""
    if values.get("fall_back") is None:
        return settings.fall_back
    one = {name: value for name, value in _object(values, "fall_back").items() if value is not None}
    for name, value in one.items():
        kind = _FALL_BACK.get(name)
        if kind is None:
            raise _wrong(f"fall_back.{name}", "not known here")
        if not isinstance(value, kind):
            raise _wrong(f"fall_back.{name}", "must be true or false" if kind is bool else "must be text")
    told = Fallback(**one)
    if told.is_enable and told.service and not told.model:
        raise _wrong("fall_back.model", "a model is needed")
    return told


def _sent(params: Params) -> dict[str, Any]:
    return {name: value for name in NUMBERS if (value := getattr(params, name)) is not None}


# the system message


def _system(
    loaded: Loaded,
    ask: AgentAsk,
    given: Given,
    values: Mapping[str, Any],
    variables: dict[str, Any],
    form: Format | None,
    noted: list[str],
) -> tuple[tuple[Message, ...], tuple[str, ...]]:
    """It, if there is anything to say, and the names of variables without a value. What changes most comes last, so
    that what a provider keeps of a prompt stays good."""
    wanted = str(variables.get("timezone") or loaded.timezone)
    zone = zone_of(wanted)
    if zone is None:
        noted.append(f"unknown time zone {wanted[:100]}: UTC was used")
    time = current_time(given.now, zone or UTC)
    variables.setdefault("current_time", time)
    settings = loaded.spec.settings
    prompt = within(_template(loaded, ask.template or _text(values, "template_id")), _text(values, "prompt"))
    tone = _text({"tone": settings.tone, **values}, "tone")
    styles = [name for name in ("response_style", "responseStyle") if name in values]
    style = _text(values, styles[0]) if styles else settings.response_style
    written = (prompt, ask.instructions, manner(tone, style))
    text = "\n\n".join(piece for piece in written if piece.strip())
    text, missing = substitute(text, variables, optional_of(loaded, variables))
    rest = [reminder(given.memory) if loaded.spec.memory else "", JSON_ONLY if form and form.kind == "json" else ""]
    # A picture is drawn of all that is said.
    if loaded.id and not _draws(loaded, values) and "current_time" not in placeholders(prompt):
        rest.append(f"Current time: {time}")
    text = "\n\n".join(piece for piece in (text, *rest) if piece)
    if not loaded.id:  # what an application instructs promises no variables: braces in it are its own
        promised = frozenset(placeholders(prompt))
        missing = tuple(name for name in missing if name in promised)
    return ((Message("system", (Text(text),)),) if text else ()), _missing(loaded, variables, missing)


def _template(loaded: Loaded, id: str) -> str:
    if not id:
        return ""
    if id not in loaded.templates:
        path = "template_id"
        raise BadRequest(f"{path}: no such template: {id}", code="template_unknown", param=path, status=404)
    return loaded.templates[id]


def _missing(loaded: Loaded, variables: Mapping[str, Any], in_prompt: tuple[str, ...]) -> tuple[str, ...]:
    states = loaded.spec.variables_state.items()
    required = [name for name, one in states if one.required and value_at(variables, name) is NOTHING]
    optional = optional_of(loaded, variables)
    in_arguments = [name for pre, _ in loaded.pre_tools for name in unfilled(pre.args, variables, optional)]
    return tuple(dict.fromkeys((*required, *in_prompt, *in_arguments)))


# messages


def _told(prompt: Prompt, ask: AgentAsk, given: Given, settings: Settings, drawings: int) -> tuple[Prompt, int]:
    """The prompt with what is said now and, as far as its model holds that, with what was said before; and how many
    messages that is. drawings: pictures that models have drawn, of those that are shown again."""
    model = given.model
    check_media(ask.media, ask.places or ("user",), model)
    for place, message in enumerate(ask.messages):
        check_media(media_in(message.parts), (f"messages[{place}]",), model)
    history = readable(with_drawings(() if ask.messages else given.history, drawings), model)
    own = _own(ask, given.documents)
    again = () if own else history[-1:]  # without another message the last one is answered once more
    history = history[: len(history) - len(again)]
    space = room(replace(prompt, messages=(*prompt.messages, *ask.messages, *again, *own)), model)
    tokens = min((one for one in (settings.history_tokens, space) if one is not None), default=None)
    before = window(history, settings.history_messages, tokens)
    given_before = readable((Message("user", given.files),), model)
    files = left_files((*given_before, *history), before) if settings.history_messages else ()
    if space is not None:
        files = files[max(0, len(files) - (space - sum(map(tokens_of, before))) // MEDIA_TOKENS) :]
    before, drawn = shown_to_user((*before, *again)) if drawings else ((*before, *again), ())
    messages = (*prompt.messages, *before, *ask.messages, *_own(ask, given.documents, (*files, *drawn)))
    return answerable(replace(prompt, messages=messages), model), len(before) - len(again)


def _own(ask: AgentAsk, documents: Sequence[tuple[str, str]], kept: Sequence[Media] = ()) -> tuple[Message, ...]:
    """The user's message, after what is attached to it, if there is one. kept: files and pictures of the thread that
    the model would not see else."""
    parts: list[Part] = [Text(f"Attached document {name}:\n\n{text}") for name, text in documents]
    parts += ask.media
    if ask.text:
        parts.append(Text(ask.text))
    return (Message("user", (*(one for one in kept if one not in parts), *parts)),) if parts else ()
