"""What can be put under load: how each is started and how it is asked."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from phases import Upstream

HERE = Path(__file__).resolve().parent
WORK = HERE / "work"
ADMIN_KEY = "ms-admin-bench-0123456789abcdef"
LITELLM_KEY = "sk-Zq83hfLw02mXcVt719pRkB4yNsD6"
PATHS = {"chat": "/v1/chat/completions", "anthropic": "/v1/messages"}


@dataclass(frozen=True)
class Ports:
    mock: int
    tls: int
    gateway: int


@dataclass(frozen=True)
class Ask:
    path: str
    model: str = "mock"
    headers: tuple[str, ...] = ()


@dataclass(frozen=True)
class Target:
    """command, config: given the ports. ask: given (face, upstream, streamed), None when it cannot be asked so.
    ready: the path that answers 200 when it serves; empty: any answer will do. settle: idle seconds before its
    memory is read. accounts: it keeps a ledger that is compared with what the upstream served."""

    name: str
    label: str
    ask: Callable[[str, Upstream, bool, Ports], Ask | None]
    command: Callable[[Ports], list[str]] | None = None
    config: str = ""
    environment: dict[str, str] = field(default_factory=dict)
    folder: Path = WORK
    ready: str = ""
    settle: float = 1
    accounts: bool = False
    postgres: bool = False


def gemini_path(model: str, streamed: bool) -> str:
    return f"/v1beta/models/{model}:" + ("streamGenerateContent?alt=sse" if streamed else "generateContent")


def ask_upstream(face: str, upstream: Upstream, streamed: bool, ports: Ports) -> Ask | None:
    if face != upstream.dialect or upstream.tls:
        return None
    return Ask(f"/{upstream.behaviour}" + (PATHS.get(face) or gemini_path("mock", streamed)))


def ask_nginx(face: str, upstream: Upstream, streamed: bool, ports: Ports) -> Ask | None:
    if upstream.tls:
        return Ask(f"/tls/{upstream.behaviour}{PATHS[face]}")
    return ask_upstream(face, upstream, streamed, ports)


def ask_litellm(face: str, upstream: Upstream, streamed: bool, ports: Ports) -> Ask | None:
    model = "gemini-mock" if upstream.dialect == "gemini" else upstream.name
    path = PATHS.get(face) or gemini_path(model, streamed)
    return Ask(path, model, (f"authorization: Bearer {LITELLM_KEY}",))


def ask_portkey(face: str, upstream: Upstream, streamed: bool, ports: Ports) -> Ask | None:
    provider = {"chat": "openai", "anthropic": "anthropic", "gemini": "google"}[upstream.dialect]
    host = f"https://127.0.0.1:{ports.tls}" if upstream.tls else f"http://127.0.0.1:{ports.mock}"
    if face == "gemini":
        return None  # it has no such face
    headers = (
        f"x-portkey-provider: {provider}",
        f"x-portkey-custom-host: {host}/{upstream.behaviour}/v1",
        "authorization: Bearer sk-up",
    )
    return Ask(PATHS[face], "mock", headers)


def ask_midstream(face: str, upstream: Upstream, streamed: bool, ports: Ports) -> Ask | None:
    key = (f"authorization: Bearer {ADMIN_KEY}",)
    if face == "gemini":
        return Ask(gemini_path("gemini-mock", streamed), "gemini-mock", key)
    model = "gem/gemini-mock" if upstream.dialect == "gemini" else f"{upstream.name}/mock"
    return Ask(PATHS[face], model, key)


def nginx_program() -> str:
    return next(
        (p for p in ("/usr/sbin/nginx", "/usr/local/sbin/nginx", "/usr/bin/nginx") if os.path.exists(p)), "nginx"
    )


def _nginx(ports: Ports) -> list[str]:
    command = [nginx_program(), "-c", str(WORK / "nginx.conf"), "-p", f"{WORK}/nginx/"]
    return [*command, "-g", "user root;"] if os.geteuid() == 0 else command


def _litellm(ports: Ports) -> list[str]:
    program = str(WORK / "v-lite/bin/litellm")
    where = ["--port", str(ports.gateway), "--host", "127.0.0.1"]
    return [program, "--config", str(WORK / "litellm.yaml"), *where, "--num_workers", "1"]


def _portkey(ports: Ports) -> list[str]:
    return ["node", "node_modules/@portkey-ai/gateway/build/start-server.js", f"--port={ports.gateway}", "--headless"]


def midstream_program() -> str:
    return os.environ.get("MIDSTREAM") or str(HERE.parent / ".venv/bin/midstream")


def _midstream(ports: Ports) -> list[str]:
    files = ["--config", str(WORK / "midstream.toml"), "--data", str(WORK / "midstream-data")]
    return [midstream_program(), "serve", *files, "--host", "127.0.0.1", "--port", str(ports.gateway)]


_CA = str(WORK / "tls/ca.pem")
_LITELLM_ENV = {
    "LITELLM_LOCAL_MODEL_COST_MAP": "True",
    "LITELLM_MODE": "PRODUCTION",
    "LITELLM_LOG": "ERROR",
    "LITELLM_TELEMETRY": "False",
    "SSL_CERT_FILE": _CA,
}
_PORTKEY_ENV = {
    "NODE_ENV": "production",
    "TRUSTED_CUSTOM_HOSTS": "127.0.0.1,localhost",
    "NODE_EXTRA_CA_CERTS": _CA,
}
_MIDSTREAM_ENV = {"MIDSTREAM_ADMIN_KEY": ADMIN_KEY, "SSL_CERT_FILE": _CA}
_MIDSTREAM = {"command": _midstream, "config": "midstream.toml", "ready": "/healthz", "accounts": True}

TARGETS = {
    target.name: target
    for target in (
        Target("direct", "no gateway", ask_upstream),
        Target("nginx", "nginx proxy_pass", ask_nginx, _nginx, "nginx.conf"),
        Target("litellm", "LiteLLM proxy", ask_litellm, _litellm, "litellm.yaml", _LITELLM_ENV, settle=2),
        Target("portkey", "Portkey gateway", ask_portkey, _portkey, environment=_PORTKEY_ENV, folder=WORK / "npm"),
        Target("midstream", "Midstream (SQLite)", ask_midstream, environment=_MIDSTREAM_ENV, **_MIDSTREAM),
        Target(
            "midstream-pg",
            "Midstream (PostgreSQL)",
            ask_midstream,
            environment=_MIDSTREAM_ENV,
            postgres=True,
            **_MIDSTREAM,
        ),
    )
}
DEFAULT = "direct,nginx,midstream,midstream-pg,portkey,litellm"
