"""Every key that `midstream.toml` may have, its type and its default. All of it is optional."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import Annotated, Literal

from msgspec import Meta, Struct

from ..core.agents import McpTransport, OAuth
from ..core.http import Timeouts
from ..core.secret import Secret

Text = Annotated[str, Meta(min_length=1)]
Key = Annotated[Secret, Meta(min_length=1)]
Count = Annotated[int, Meta(ge=1)]
#: At most a year: beyond it, the store cannot count.
Seconds = Annotated[float, Meta(gt=0, le=31_536_000)]
Port = Annotated[int, Meta(ge=0, le=65535)]

#: What a price may be for: USD per million tokens of that class (web_searches: per thousand searches; grounded_prompts:
#: per thousand prompts that were searched for, however often).
PRICE_WORDS = (
    "input", "output", "cached", "cache_read", "cache_write", "cache_write_5m", "cache_write_1h", "reasoning",
    "output_reasoning", "input_audio", "output_audio", "input_image", "output_image", "web_searches",
    "grounded_prompts", "cache_audio_read", "input_video",
)  # fmt: skip


class _Quiet(Struct, frozen=True):
    """Shown by its names only: its free-form values (headers, variables) often hold credentials."""

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(self.__struct_fields__)})"


class ServerConfig(Struct, frozen=True):
    """port 0: any free one. data: the directory of everything that is kept. store: which chat content is kept: all,
    that of named conversations, none. database_url: "" = SQLite in the data directory. full_sync: on SQLite, commits
    survive a power failure. lame_duck_seconds: how long connections are still accepted after SIGTERM.
    drain_seconds: how long running work may take to end then."""

    host: Text = "127.0.0.1"
    port: Port = 8080
    data: Text = "midstream-data"
    workers: Count = 1
    role: Literal["all", "api", "worker"] = "all"
    log: Literal["debug", "info", "warning", "error"] = "info"
    public_url: str = ""
    cors_origins: tuple[str, ...] = ()
    store: Literal["all", "named", "none"] = "all"
    database_url: Secret = Secret("")
    redis_url: Secret = Secret("")
    rabbitmq_url: Secret = Secret("")
    admin_key: Secret = Secret("")
    secret_key: Secret = Secret("")
    full_sync: bool = False
    lame_duck_seconds: float = 5.0
    drain_seconds: float = 120.0

    @property
    def store_url(self) -> str:
        """Where the store is, with its password if it has one: for `store.open_store`, never for a log."""
        if self.database_url:
            return self.database_url.reveal()
        return f"sqlite:///{Path(self.data).absolute() / 'midstream.db'}"


class ProviderConfig(_Quiet, frozen=True):
    """kind: "" = the provider's own name. base_url: "" = the service's. api_key: several are used in turn.
    models: names or patterns it serves. headers: sent with every call (an organization, say). prices: by model name
    or "*"."""

    kind: str = ""
    base_url: str = ""
    api_key: tuple[Key, ...] = ()
    models: tuple[Text, ...] = ("*",)
    headers: dict[str, str] = {}
    prices: dict[str, dict[str, Decimal]] = {}
    timeouts: Timeouts = Timeouts()
    max_tokens_default: Count = 4096
    enabled: bool = True


class AliasConfig(Struct, frozen=True):
    """targets: `provider/model` or model names, tried in order."""

    targets: Annotated[tuple[Text, ...], Meta(min_length=1)]


class LimitsConfig(Struct, frozen=True):
    """org_in_flight: requests of one org that may be under way at once. org_live: its connections to live channels.
    The rest: points of agent turns in each window."""

    org_in_flight: Count = 4096
    org_live: Count = 1000
    agent_points: Count = 100
    thread_points: Count = 20
    window_seconds: Seconds = 60.0


class RetentionConfig(Struct, frozen=True):
    """days: for which what was said is kept after the last word of its conversation; 0 = for ever."""

    days: Annotated[float, Meta(ge=0)] = 0


class EgressConfig(Struct, frozen=True):
    """allow: private hosts, host:port or networks that requests, tools, webhooks and media may reach all the same."""

    allow: tuple[Text, ...] = ()


class McpServerConfig(_Quiet, frozen=True):
    """Either url (Streamable HTTP or SSE) or command (stdio). oauth: how a token for url is got.
    timeout_seconds: for one call, those of [tools] unless it says some."""

    url: str = ""
    headers: dict[str, str] = {}
    oauth: OAuth | None = None
    transport: McpTransport = "auto"
    command: tuple[Text, ...] = ()
    env: dict[str, str] = {}
    timeout_seconds: Seconds | None = None
    enabled: bool = True


class McpConfig(Struct, frozen=True):
    servers: dict[str, McpServerConfig] = {}


class SearchConfig(Struct, frozen=True):
    serper_api_key: Secret = Secret("")
    searxng_url: str = ""


class ToolsConfig(Struct, frozen=True):
    """max_depth: of agents that call agents. timeout_seconds: for one call."""

    max_depth: Count = 8
    timeout_seconds: Seconds = 45.0


class SandboxConfig(Struct, frozen=True):
    """url: of a SandboxFusion server."""

    backend: Literal["monty", "bubblewrap", "sandboxfusion"] = "monty"
    url: str = ""


class TelemetryConfig(Struct, frozen=True):
    otlp_endpoint: str = ""


class IssuerConfig(Struct, frozen=True):
    """A trusted issuer of JWTs. jwks_url: "" = found by the issuer's discovery document. secret: for HS256.
    org_claim: the claim that names the caller's org."""

    issuer: Text
    audience: tuple[Text, ...] = ()
    algorithms: Annotated[tuple[Literal["RS256", "ES256", "HS256"], ...], Meta(min_length=1)] = ("RS256",)
    jwks_url: str = ""
    secret: Secret = Secret("")
    org_claim: Text = "org_id"


class AuthConfig(Struct, frozen=True):
    issuers: dict[str, IssuerConfig] = {}


class S3Config(Struct, frozen=True):
    """Where media are kept instead of the data directory, when bucket is given."""

    endpoint: str = ""
    bucket: str = ""
    region: str = ""
    prefix: str = ""
    access_key: Secret = Secret("")
    secret_key: Secret = Secret("")


class Config(Struct, frozen=True):
    """file: what it was read from, "" for none. models: aliases by name."""

    server: ServerConfig = ServerConfig()
    providers: dict[str, ProviderConfig] = {}
    models: dict[str, AliasConfig] = {}
    limits: LimitsConfig = LimitsConfig()
    retention: RetentionConfig = RetentionConfig()
    egress: EgressConfig = EgressConfig()
    mcp: McpConfig = McpConfig()
    search: SearchConfig = SearchConfig()
    tools: ToolsConfig = ToolsConfig()
    sandbox: SandboxConfig = SandboxConfig()
    telemetry: TelemetryConfig = TelemetryConfig()
    auth: AuthConfig = AuthConfig()
    s3: S3Config = S3Config()
