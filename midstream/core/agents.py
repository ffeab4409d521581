"""Agents as rooms hand them to each other: what is stored of one, and what a turn asks of it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, Literal, TypeAlias

from msgspec import Struct

from .parts import Media
from .secret import Secret

AgentType: TypeAlias = Literal["chat", "chatbot", "embedding", "image"]
#: The type of agents that talk with people: they name conversations, may suggest what comes next, and their threads
#: have a live channel each.
CHATBOT: AgentType = "chatbot"
#: Why a request that names an agent by an id and a slug may be refused, where it is read or where the agent is found.
TWO_AGENTS = "agent_id: two different agents are named"
_BEGINNING = re.compile(r"^[^.\[\]]+")
HttpMethod: TypeAlias = Literal["GET", "POST", "PUT", "PATCH", "DELETE"]
ToolKind: TypeAlias = Literal["http", "mcp", "agent", "knowledge", "builtin"]
#: What running a call a second time means. pure: nothing. idempotent: nothing, with the same key. unsafe: harm.
Effect: TypeAlias = Literal["pure", "idempotent", "unsafe"]


class HttpTool(Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """method, url (`{name}` in its path or query stands for an argument), headers (values may be `{{secret:NAME}}`),
    query and body: argument name -> place there; None = all arguments that stand nowhere else go to the body (or the
    query, for GET and DELETE). response_path: dotted path of the part of the answer that the model sees."""

    method: HttpMethod = "POST"
    url: str = ""
    headers: dict[str, str] = {}
    query: dict[str, Any] | None = None
    body: dict[str, Any] | None = None
    response_path: str = ""
    retries: int = 0


class Tool(Struct, frozen=True, omit_defaults=True):
    """A stored tool. parameters: JSON Schema of an object. target: what the kind needs besides: kind "mcp"
    {server, tool}, "agent" {agent_id, version_id, thread: "own"|"shared", transfer}, "knowledge" {document_ids},
    "builtin" {name}. mapped: argument -> path into the turn's variables; such arguments are hidden from the model.
    approved: hash of the schema that was agreed to, for tools of MCP servers. strict: must the model keep to the
    schema? None = the service's default."""

    id: str
    name: str
    description: str = ""
    kind: ToolKind = "http"
    parameters: dict[str, Any] = {}
    http: HttpTool | None = None
    target: dict[str, Any] = {}
    effect: Effect = "unsafe"
    timeout_seconds: float | None = None
    mapped: dict[str, str] = {}
    headers: dict[str, str] = {}
    approved: str = ""
    strict: bool | None = None


class PreTool(Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """Runs before the first model call. args: argument -> a value, in which `{{name}}` stands for a variable.
    The result becomes the variable `into`, the tool's name when empty."""

    tool_id: str
    args: dict[str, Any] = {}
    into: str = ""


class Fallback(Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    service: str = ""
    model: str = ""
    is_enable: bool = True


class Settings(Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """maximum_iterations: rounds of tool calls (SPEC's tool_call_count). history_messages, history_tokens: what of
    the conversation is shown to the model. seconds, tokens, cost: ceilings of one run (cost: decimal USD).
    guardrails: see agent.guardrails. suggestions: offer what to ask next (type chatbot). titles: name new
    conversations (None: type chatbot does)."""

    maximum_iterations: int | None = None
    tone: str = ""
    response_style: str = ""
    guardrails: dict[str, Any] = {}
    fall_back: Fallback | None = None
    history_messages: int = 200
    history_tokens: int | None = None
    seconds: float = 600.0
    tokens: int | None = None
    cost: str | None = None
    suggestions: bool = False
    titles: bool | None = None
    parallel_tools: int = 8


def webhook_headers(guardrails: Any) -> Iterator[tuple[str, dict[str, str]]]:
    """The headers of the webhooks that guardrails name, each with their path in these: of what cannot be read as such,
    none."""
    for stage in ("input", "output"):
        found, path = guardrails, (stage, "webhook", "headers")
        for name in path:
            found = found.get(name) if isinstance(found, dict) else None
        if isinstance(found, dict) and all(isinstance(value, str) for value in found.values()):
            yield ".".join(path), found


class Variable(Struct, frozen=True, omit_defaults=True):
    """default: used when the caller gives none."""

    required: bool = False
    default: Any = None


class Spec(Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """All that a version says. configuration: model, prompt, parameters by their neutral names, tool_choice,
    response_type, fine_tune_model, ... as the caller of /api/v2 would write them. keys: stored key's id by service.
    variables_path: tool name or id -> {argument: path into variables}. limits: points by kind ("agent", "thread")."""

    type: AgentType = "chat"
    service: str = ""
    configuration: dict[str, Any] = {}
    keys: dict[str, str] = {}
    tool_ids: tuple[str, ...] = ()
    pre_tools: tuple[PreTool, ...] = ()
    variables_state: dict[str, Variable] = {}
    variables_path: dict[str, dict[str, str]] = {}
    connected_agents: dict[str, dict[str, Any]] = {}
    doc_ids: tuple[str, ...] = ()
    built_in_tools: tuple[str, ...] = ()
    mcp_servers: tuple[str, ...] = ()
    memory: bool = False
    memory_prompt: str = ""
    limits: dict[str, int] = {}
    settings: Settings = Settings()


#: auto is Streamable HTTP, but the older SSE for an address that ends in /sse.
McpTransport: TypeAlias = Literal["auto", "http", "sse"]


class OAuth(Struct, frozen=True):
    """Client credentials (RFC 6749 §4.4). resource: whom the token is for (RFC 8707), the server's URL when empty."""

    token_url: str
    client_id: str
    client_secret: Secret
    scope: str = ""
    resource: str = ""


class McpServer(Struct, frozen=True):
    """An org's own server of tools. headers: text by name (core.secret.Secret values)."""

    id: str
    name: str
    url: str
    headers: Mapping[str, Any] = {}
    oauth: OAuth | None = None
    transport: McpTransport = "auto"


class Loaded(Struct, frozen=True):
    """An agent with everything that its turns need, in one piece; one org's only. version_id: what runs.
    tools: of tool_ids, connected agents, MCP servers and built-in ones, in that order. templates: text by id.
    timezone: the org's. secrets: text by name, for tools' headers (core.secret.Secret values).
    servers: the org's own MCP servers that the agent names."""

    org: str
    id: str
    slug: str
    name: str
    status: str
    version_id: str
    spec: Spec
    tools: tuple[Tool, ...] = ()
    pre_tools: tuple[tuple[PreTool, Tool], ...] = ()
    templates: Mapping[str, str] = {}
    timezone: str = "UTC"
    secrets: Mapping[str, Any] = {}
    servers: tuple[McpServer, ...] = ()


class Delivery(Struct, frozen=True, omit_defaults=True):
    """Where a later answer goes. kind: default (the reply itself) | webhook {url, headers, secret} |
    live {channel} | queue {name}."""

    kind: Literal["default", "webhook", "live", "queue"] = "default"
    target: dict[str, Any] = {}


class AgentAsk(Struct, frozen=True, omit_defaults=True):
    """What a turn asks of an agent, neutral of the face it came by. Values given here win over the version's.

    agent: any spelling of its id, or its slug ("" = none: the configuration alone makes one). slug: of the same agent,
    where the caller names it twice. version: runs a draft.
    org: the one that the caller names, which must be its own ("" = it names none). usual_fallback: without a configured
    fallback, the service's usual one answers when the model fails.
    calls: most model calls that the face allows, the last one without tools (None = the agent's own limit of rounds).
    text, media: the user's message. places: where each of media stands in the request. messages: a whole transcript
    instead of it (core.parts.Message values).
    strict: refuse the turn instead of leaving anything out.
    arguments: what the model of another agent has called this one with. They are variables of its prompt before all
    others, and what its tools' mapped arguments are taken from where no variable says anything: see `beneath`.
    tools: names or ids that replace the agent's set (None = the agent's own). tool_places: where each of them stands in
    the request, () = where it stands here. extra_tools: whole tools for this call.
    conversation: id of the conversation, "" = a new one, None = found by thread. wait: False = 409 when another turn of
    the conversation is under way. edit: id of the message that this one replaces (a new branch); regenerate: answer
    that message once more. emptied: of document_ids and variables, those that the caller gives as empty, which is more
    than to say nothing of them: the message that is answered once more has none then. playground: nothing is kept but
    the attempts."""

    agent: str = ""
    slug: str = ""
    version: str = ""
    org: str = ""
    usual_fallback: bool = False
    strict: bool = False
    text: str = ""
    media: tuple[Media, ...] = ()
    places: tuple[str, ...] = ()
    messages: tuple[Any, ...] = ()
    instructions: str = ""
    user: str = ""
    thread: str = ""
    sub_thread: str = ""
    conversation: str | None = None
    wait: bool = True
    edit: str = ""
    regenerate: str = ""
    emptied: tuple[str, ...] = ()
    variables: dict[str, Any] = {}
    arguments: dict[str, Any] = {}
    variables_path: dict[str, dict[str, str]] = {}
    configuration: dict[str, Any] = {}
    service: str = ""
    model: str = ""
    api_key: Any = None
    response_type: Any = None
    tools: tuple[str, ...] | None = None
    tool_places: tuple[int, ...] = ()
    extra_tools: tuple[Tool, ...] = ()
    built_in_tools: tuple[str, ...] = ()
    tool_choice: Any = None
    document_ids: tuple[str, ...] = ()
    template: str = ""
    guardrails: dict[str, Any] = {}
    playground: bool = False
    calls: int | None = None
    delivery: Delivery = Delivery()


def beneath(variables: Mapping[str, Any], arguments: Mapping[str, Any]) -> dict[str, Any]:
    """The variables, and of a model's arguments those of which they say nothing: neither that name nor, where it is a
    path (`user.id`, `items[0]`), the beginning of it."""
    free = [name for name in arguments if not {name, *_BEGINNING.findall(name)} & variables.keys()]
    return {**{name: arguments[name] for name in free if arguments[name] is not None}, **variables}


class Range(Struct, frozen=True, omit_defaults=True):
    """What a model takes of a parameter. None = no such bound, no default of its own."""

    min: float | None = None
    max: float | None = None
    default: float | None = None


class ModelDocument(Struct, frozen=True, omit_defaults=True):
    """What is known of a model. parameters: by neutral name, None = it does not take that one; a name that is not
    here is sent as it is. modalities: text and the kinds of media that it reads, () = not known. context: tokens of
    the prompt and the answer together; output: of the answer; None = not known."""

    parameters: dict[str, Range | None] = {}
    modalities: tuple[str, ...] = ()
    context: int | None = None
    output: int | None = None
