"""The bodies of the admin routes of agents, tools and their kin: every field by name, strictly typed and bounded."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Set
from typing import Annotated, Any, Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

from ..agent.prepare import CONFIGURATION
from ..core.agents import AgentType, Effect, McpTransport, ToolKind, webhook_headers
from ..core.http import HEADER_NAME, HEADER_VALUE, OWN_HEADERS
from ..core.json_schema import broken
from ..core.secret import written_out
from ..core.turn import MODES
from ..delivery.webhook import WRITTEN
from ..metering.alerts import AlertType
from ..store.nouns import KINDS
from ..tools.http import owner_of
from .admin_keys import WORDS
from .deliver import is_web
from .guards import STORE_IT

MAX_DEPTH = 40
MAX_WHOLE = 2**53
PAGE = 1000
_UUID = "[0-9a-f]{8}(-?[0-9a-f]{4}){3}-?[0-9a-f]{12}"
#: A slug is not to be taken for an id: no 24 hexadecimal digits, no UUID, no prefix of ids.
SLUG = re.compile(rf"(?!agt_)(?!ver_)(?![0-9a-f]{{24}}$)(?!{_UUID}$)[a-z0-9][a-z0-9._-]{{0,63}}")


def plain(value: Any, path: str = "", depth: int = 0) -> Any:
    """JSON as it can be kept: no NUL, no half of a surrogate pair, no number beyond all bounds, not endlessly deep.
    Raises ValueError naming the place."""
    where = f"{path}: " if path else ""
    if depth > MAX_DEPTH:
        raise ValueError(f"{where}is nested more than {MAX_DEPTH} deep")
    if isinstance(value, str):
        _check_text(value, where)
    elif isinstance(value, float):
        if not math.isfinite(value):
            raise ValueError(f"{where}is no finite number")
    elif isinstance(value, int):
        if abs(value) > MAX_WHOLE:
            raise ValueError(f"{where}is beyond the whole numbers that JSON can hold")
    elif isinstance(value, Mapping):
        for name, one in value.items():
            _check_text(name, where)
            plain(one, f"{path}.{name}" if path else name, depth + 1)
    elif isinstance(value, list):
        for place, one in enumerate(value):
            plain(one, f"{path}.{place}" if path else str(place), depth + 1)
    return value


def _check_text(text: str, where: str) -> None:
    if "\0" in text:
        raise ValueError(f"{where}holds a NUL")
    if not text.isascii() and any("\ud800" <= sign <= "\udfff" for sign in text):
        raise ValueError(f"{where}holds half of a surrogate pair")


def _schema(value: dict[str, Any]) -> dict[str, Any]:
    plain(value)
    if value.get("type", "object") != "object":
        raise ValueError("must be the JSON Schema of an object")
    if not isinstance(value.get("properties", {}), dict):
        raise ValueError("properties: must be an object")
    required = value.get("required", [])
    if not isinstance(required, list) or not all(isinstance(one, str) for one in required):
        raise ValueError("required: must be a list of names")
    if (problem := broken(value)) is not None:
        raise ValueError(problem)
    return value


def _configuration(value: dict[str, Any]) -> dict[str, Any]:
    _guardrails(value.get("guardrails"), "guardrails.")
    plain(value)
    unknown = sorted(value.keys() - CONFIGURATION)
    if unknown:
        raise ValueError(f"{unknown[0]} is no field of a configuration")
    for name in ("model", "prompt"):
        if not isinstance(value.get(name, ""), str | None):
            raise ValueError(f"{name}: must be text")
    return value


def _guardrails(value: Any, path: str = "") -> Any:
    """Versions are shown, copied and exported: no credential stands in one."""
    for place, headers in webhook_headers(value):
        for header, text in headers.items():
            if written_out(header, text):
                raise ValueError(f"{path}{place}.{header}: {STORE_IT}")
    return value


def _headers(value: dict[str, str], written: Set[str] = OWN_HEADERS) -> dict[str, str]:
    for name in value:
        if name.lower() in written:
            raise ValueError(f"{name} is written by the server itself")
    return value


def _of_webhook(value: dict[str, str]) -> dict[str, str]:
    return _headers(value, WRITTEN)


def _slug(value: str) -> str:
    if SLUG.fullmatch(value) is None:
        raise ValueError("must be lower-case letters, digits, `.`, `_` and `-`, at most 64, and not look like an id")
    return value


def _no_mode(value: str) -> str:
    if value in MODES:
        raise ValueError(f"{value} is a word of tool_choice: a tool needs another name")
    return value


def _secret_name(value: str) -> str:
    if value.lower().startswith((*KINDS.values(), "tool_")):
        raise ValueError("begins like an id")
    return value


def _anyones_secret(value: str) -> str:
    if owner_of(value.removeprefix("{{secret:")):
        raise ValueError("names a secret that is a tool's own")
    return value


def _zone(value: str) -> str:
    try:
        ZoneInfo(value)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise ValueError("is no time zone; expected a name like Europe/Berlin") from None
    return value


def _http(value: str) -> str:
    if not re.match(r"https?://[^\s/?#]+", value):
        raise ValueError("must begin with http:// or https:// and a host")
    return value


def _web(value: str) -> str:
    if not is_web(value):
        raise ValueError("must be an http or https address")
    return value


def _variable(value: Any) -> Any:
    """`required` and `optional` alone are words enough; `status` and `default_value` are the words of others."""
    if value in ("required", "optional"):
        return {"required": value == "required"}
    if isinstance(value, dict) and value.get("status") in ("required", "optional") and "required" not in value:
        value = {**value, "required": value["status"] == "required"}
        value.pop("status")
    if isinstance(value, dict) and "default_value" in value and "default" not in value:
        value = {**value, "default": value["default_value"]}
        value.pop("default_value")
    return value


Name = Annotated[str, Field(min_length=1, max_length=200, pattern=WORDS)]
Word = Annotated[str, Field(min_length=1, max_length=200, pattern=r"^[^\x00-\x20\x7f]+$")]
#: As models call it.
Function = Annotated[str, Field(pattern=r"^[a-zA-Z0-9_-]{1,64}$"), AfterValidator(_no_mode)]
Text = Annotated[str, Field(max_length=500_000, pattern=WORDS)]
Short = Annotated[str, Field(max_length=10_000, pattern=WORDS)]
Slug = Annotated[str, AfterValidator(_slug)]
Zone = Annotated[str, Field(min_length=1, max_length=100, pattern=WORDS), AfterValidator(_zone)]
Address = Annotated[str, Field(max_length=8000, pattern=r"^[^\x00-\x20\x7f]*$"), AfterValidator(_http)]
JsonObject = Annotated[dict[str, Any], AfterValidator(plain)]
Json = Annotated[Any, AfterValidator(plain)]
Schema = Annotated[dict[str, Any], AfterValidator(_schema)]
Configuration = Annotated[dict[str, Any], AfterValidator(_configuration)]
Header = Annotated[str, Field(pattern=f"^{HEADER_NAME}$")]
HeaderValue = Annotated[str, Field(max_length=8000, pattern=f"^{HEADER_VALUE}$")]
Headers = Annotated[dict[Header, HeaderValue], Field(max_length=100), AfterValidator(_headers)]
Ids = Annotated[list[Word], Field(max_length=200)]
Points = Annotated[int, Field(ge=1, le=1_000_000_000)]
Money = Annotated[str, Field(pattern=r"^\d{1,9}(\.\d{1,12})?$")]


class Body(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    def given(self) -> dict[str, Any]:
        """What was written, without what was left out."""
        return self.model_dump(exclude_unset=True)


# tools


class HttpFields(Body):
    method: Literal["GET", "POST", "PUT", "PATCH", "DELETE"] = "POST"
    url: Address
    headers: Headers = Field(default_factory=dict)
    query: JsonObject | None = None
    body: JsonObject | None = None
    response_path: Short = ""
    retries: int = Field(0, ge=0, le=5)


class McpFields(Body):
    server: Word
    tool: Name


class AgentFields(Body):
    agent_id: Word
    version_id: Word | None = None
    thread: Literal["own", "shared"] | None = None
    transfer: bool | None = None


class KnowledgeFields(Body):
    document_ids: Ids = Field(default_factory=list)


class BuiltinFields(Body):
    name: Word


class ToolFields(Body):
    """http, mcp, agent, knowledge, builtin: what the kind of that name needs."""

    name: Function | None = None
    description: Text | None = None
    kind: ToolKind | None = None
    parameters: Schema | None = None
    http: HttpFields | None = None
    mcp: McpFields | None = None
    agent: AgentFields | None = None
    knowledge: KnowledgeFields | None = None
    builtin: BuiltinFields | None = None
    effect: Effect | None = None
    timeout_seconds: float | None = Field(None, gt=0, le=3600, allow_inf_nan=False)
    mapped: Annotated[dict[Name, Short], Field(max_length=200)] | None = None


class NewTool(ToolFields):
    name: Function
    org_id: Word | None = None


# agents


class PreToolFields(Body):
    tool_id: Word
    args: JsonObject = Field(default_factory=dict)
    into: Short = ""


class FallbackFields(Body):
    service: Short = ""
    model: Short = ""
    is_enable: bool = True


class SettingsFields(Body):
    maximum_iterations: int | None = Field(None, ge=0, le=100)
    tone: Text | None = None
    response_style: Text | None = None
    guardrails: Annotated[JsonObject, AfterValidator(_guardrails)] | None = None
    fall_back: FallbackFields | None = None
    history_messages: int | None = Field(None, ge=0, le=10_000)
    history_tokens: int | None = Field(None, ge=1, le=100_000_000)
    seconds: float | None = Field(None, gt=0, le=86_400, allow_inf_nan=False)
    tokens: int | None = Field(None, ge=1, le=1_000_000_000)
    cost: Money | None = None
    suggestions: bool | None = None
    titles: bool | None = None
    parallel_tools: int | None = Field(None, ge=1, le=100)


class VariableFields(Body):
    required: bool = False
    default: Json = None


class ConnectedFields(Body):
    agent_id: Word
    version_id: Word | None = None
    description: Text | None = None
    parameters: Schema | None = None
    thread: Literal["own", "shared"] | None = None
    transfer: bool | None = None


class LimitFields(Body):
    agent: Points | None = None
    thread: Points | None = None


def _connected(value: Any) -> Any:
    if isinstance(value, dict) and "bridge_id" in value and "agent_id" not in value:
        value = {**value, "agent_id": value["bridge_id"]}
        value.pop("bridge_id")
    return value


class VersionFields(Body):
    """All that a version says. null puts a field back to what it is by default."""

    type: AgentType | None = None
    service: Short | None = None
    configuration: Configuration | None = None
    keys: Annotated[dict[Word, Word | None], Field(max_length=100)] | None = None
    tool_ids: Ids | None = None
    pre_tools: Annotated[list[PreToolFields], Field(max_length=50)] | None = None
    variables_state: (
        Annotated[dict[Name, Annotated[VariableFields, BeforeValidator(_variable)]], Field(max_length=500)] | None
    ) = None
    variables_path: Annotated[dict[Word, dict[Name, Short]], Field(max_length=200)] | None = None
    connected_agents: (
        Annotated[dict[Function, Annotated[ConnectedFields, BeforeValidator(_connected)]], Field(max_length=50)] | None
    ) = None
    doc_ids: Ids | None = None
    built_in_tools: Ids | None = None
    mcp_servers: Ids | None = None
    memory: bool | None = None
    memory_prompt: Text | None = None
    limits: LimitFields | None = None
    settings: SettingsFields | None = None


class NewAgent(VersionFields):
    name: Name
    slug: Slug | None = None
    org_id: Word | None = None


class NewVersion(VersionFields):
    """from_version: what it is a copy of; by default the published one, else the newest."""

    from_version: Word | None = None


class AgentChange(Body):
    name: Name | None = None
    slug: Slug | None = None


class Chosen(Body):
    version_id: Word


class Copy(Body):
    name: Name | None = None
    slug: Slug | None = None
    version_id: Word | None = None


# nouns


#: What a model may read.
Modality = Literal["text", "image", "audio", "video", "file"]


class RangeFields(Body):
    min: float | None = Field(None, allow_inf_nan=False)
    max: float | None = Field(None, allow_inf_nan=False)
    default: float | None = Field(None, allow_inf_nan=False)


class TemplateFields(Body):
    name: Name | None = None
    template: Text | None = None


class KeyFields(Body):
    name: Name | None = None
    service: Word | None = None
    key: Annotated[str, Field(min_length=1, max_length=8000, pattern=r"^[\x21-\x7e]+$")] | None = None


class OAuthFields(Body):
    """Client credentials. client_secret: the name of a stored secret, so that it is sealed like all of them."""

    token_url: Address
    client_id: Annotated[str, Field(min_length=1, max_length=1000, pattern=WORDS)]
    client_secret: Annotated[str, Field(pattern=r"^\{\{secret:[^{}]{1,200}\}\}$"), AfterValidator(_anyones_secret)]
    scope: Short = ""
    resource: Short = ""


class ServerFields(Body):
    name: Word | None = None
    url: Address | None = None
    headers: Headers | None = None
    oauth: OAuthFields | None = None
    transport: McpTransport | None = None


class ModelFields(Body):
    name: Word | None = None
    service: Word | None = None
    model: Word | None = None
    own: bool | None = None
    parameters: Annotated[dict[Word, RangeFields | None], Field(max_length=100)] | None = None
    modalities: Annotated[list[Modality], Field(min_length=1, max_length=20)] | None = None
    context: int | None = Field(None, ge=1, le=1_000_000_000)
    output: int | None = Field(None, ge=1, le=1_000_000_000)


class WebhookFields(Body):
    url: Annotated[Address, AfterValidator(_web)]
    headers: Annotated[Headers, AfterValidator(_of_webhook)] = Field(default_factory=dict)


class AlertFields(Body):
    name: Name | None = None
    type: AlertType | None = None
    webhook: WebhookFields | None = None
    agent_ids: Ids | None = None
    window_seconds: float | None = Field(None, ge=0, le=2_592_000, allow_inf_nan=False)


class NewTemplate(TemplateFields):
    name: Name
    template: Text
    org_id: Word | None = None


class NewKey(KeyFields):
    name: Name
    service: Word
    key: Annotated[str, Field(min_length=1, max_length=8000, pattern=r"^[\x21-\x7e]+$")]
    org_id: Word | None = None


class NewAlert(AlertFields):
    name: Name
    type: AlertType
    webhook: WebhookFields
    org_id: Word | None = None


class NewServer(ServerFields):
    name: Word
    url: Address
    org_id: Word | None = None


class NewModel(ModelFields):
    name: Word
    service: Word
    org_id: Word | None = None


class NewSecret(Body):
    name: Annotated[str, Field(pattern=r"^[A-Za-z][A-Za-z0-9_.-]{0,99}$"), AfterValidator(_secret_name)]
    value: Annotated[str, Field(min_length=1, max_length=8000, pattern=WORDS)]
    org_id: Word | None = None


class ModelChoice(Body):
    """service: "" = told by the model's name, as on /v1."""

    service: Short = ""
    model: Name


class SettingsChange(Body):
    """embedding: the model that compares texts by their meaning."""

    timezone: Zone | None = None
    embedding: ModelChoice | None = None
