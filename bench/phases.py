"""What is measured. A phase is one way of asking one behaviour of the fake upstream."""

from __future__ import annotations

from dataclasses import dataclass, replace


@dataclass(frozen=True)
class Upstream:
    """name: of the provider or model in every gateway's configuration. behaviour: see native/mockllm.c."""

    name: str
    behaviour: str
    dialect: str
    chunks: int
    tls: bool = False


BURST = Upstream("burst", "n50", "chat", 50)
PACED = Upstream("paced", "n100d50", "chat", 100)
TLS = Upstream("tls", "n50", "chat", 50, tls=True)
CLAUDE = Upstream("claude", "n100d50", "anthropic", 100)
GEMINI = Upstream("gemini", "n100d50", "gemini", 100)
UPSTREAMS = (BURST, PACED, TLS, CLAUDE, GEMINI)


@dataclass(frozen=True)
class Phase:
    """face: the API asked of the gateway; translated when it is not the upstream's dialect.
    seconds: the measured window. ramp: seconds over which connections open. prompt: bytes of the user's text,
    0 for a short one."""

    name: str
    about: str
    upstream: Upstream
    connections: int
    face: str = "chat"
    streamed: bool = False
    seconds: float = 4
    warm: float = 1
    ramp: float = 0
    drain: float = 3
    prompt: int = 0

    @property
    def paced(self) -> bool:
        return self.ramp > 0


def _streams(name: str, about: str, upstream: Upstream, face: str) -> Phase:
    return Phase(name, about, upstream, 1000, face, streamed=True, seconds=6, warm=2, ramp=3, drain=8)


ALL = (
    Phase("p1", "plain, one connection: latency", BURST, 1, seconds=3, warm=0.5),
    Phase("p32", "plain, 32 connections", BURST, 32),
    Phase("p256", "plain, 256 connections", BURST, 256),
    Phase("s1", "burst streams of 50 chunks, one connection", BURST, 1, streamed=True, seconds=2, warm=0.5),
    Phase("s32", "burst streams of 50 chunks, 32 connections", BURST, 32, streamed=True),
    _streams("k1000", "1,000 streams, 20 chunks a second each", PACED, "chat"),
    _streams("x1000", "the same, asked through /v1/messages (translated)", PACED, "anthropic"),
    Phase("p32-40k", "plain, 32 connections, prompts of 40 kB", BURST, 32, prompt=40_000),
    Phase("tls32", "plain, 32 connections, TLS to the upstream", TLS, 32),
    _streams("a1000", "1,000 paced streams of an Anthropic upstream through /v1/messages", CLAUDE, "anthropic"),
    _streams("g1000", "1,000 paced streams of a Gemini upstream through its own API", GEMINI, "gemini"),
)
WARM_UP = ALL[1]
# the paced streams come first: memory a stream is what a fresh process adds, not what earlier load left behind
DEFAULT = "k1000,x1000,p1,p32,p256,s1,s32,p32-40k,tls32,agents"
#: The phase that has its own servers and its own load: see agents.py.
AGENTS = "agents"


def chosen(names: list[str], quick: bool) -> list[Phase]:
    """Raises KeyError with the unknown name."""
    table = {phase.name: phase for phase in ALL}
    phases = [table[name] for name in names]
    if not quick:
        return phases
    return [replace(p, seconds=p.seconds / 2, warm=p.warm / 2) for p in phases]
