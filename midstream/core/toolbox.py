"""How the loop reaches tools without knowing what they are."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Literal, Protocol, TypeAlias

from msgspec import Struct

from .agents import Tool, beneath
from .outcome import Ending
from .parts import Citation, Media, ToolCall

#: in_doubt: an unsafe call was begun by a process that died, so it may have happened. denied: not approved.
ToolStatus: TypeAlias = Literal["ok", "failed", "timeout", "in_doubt", "denied"]


class ToolAnswer(Struct, frozen=True):
    """A failure is a value too. text: for the model. value: JSON-ready, for readers who want the data.
    media: what the tool gave besides text. ms: how long it took. transfer: the agent that goes on instead of this one
    (its answer is then the turn's answer). citations: where the text of an agent comes from. ending: of an agent."""

    status: ToolStatus
    text: str
    value: Any = None
    media: tuple[Media, ...] = ()
    error: str = ""
    ms: int = 0
    transfer: bool = False
    citations: tuple[Citation, ...] = ()
    ending: Ending | None = None


#: The end of an unsafe call that was begun and of which no more is known.
IN_DOUBT = ToolAnswer(
    "in_doubt",
    "this call was begun and its end is not known: it may have been done. It was not repeated, because doing it twice "
    "could do harm. Check the state before calling again, and tell the user.",
    error="in_doubt",
)


class ToolScope(Struct, frozen=True):
    """Under what a tool runs. run: "" outside of one. variables: the turn's own. arguments: what a model has called the
    turn's agent with, see AgentAsk; `mappable` is both. written: the call is the version's own (a pre-tool's), no model
    has chosen its arguments. secrets: text by name. path: ids of the agents that called each other down to this one.
    depth: its length. key: the caller's key id. progress: told (call id, text) while a tool runs. ended: told each
    answer as soon as it is known.
    deadline: loop time at which the run ends.
    again: the run was cut and goes on, so some calls may have been made before. write: how the run writes statements
    of the store, together with what it holds; None: as they come. hold: the run takes a statement along with the
    next that it writes."""

    org: str
    run: str = ""
    agent: str = ""
    thread: str = ""
    sub_thread: str = ""
    key: str = ""
    variables: dict[str, Any] = {}
    arguments: dict[str, Any] = {}
    written: bool = False
    secrets: dict[str, Any] = {}
    document_ids: tuple[str, ...] = ()
    path: tuple[str, ...] = ()
    playground: bool = False
    parallel: int = 8
    deadline: float | None = None
    progress: Callable[[str, str], None] = lambda call, text: None
    ended: Callable[[ToolCall, ToolAnswer], None] = lambda call, answer: None
    again: bool = True
    write: Callable[[Sequence[Any]], Awaitable[None]] | None = None
    hold: Callable[[Any], None] | None = None

    @property
    def mappable(self) -> dict[str, Any]:
        """What mapped arguments are taken from."""
        return beneath(self.variables, self.arguments)


class Toolbox(Protocol):
    async def call(
        self, round: int, calls: Sequence[ToolCall], tools: Sequence[Tool], scope: ToolScope
    ) -> list[ToolAnswer]:
        """Answers in the order of calls, whatever happens to each: journalled, validated, run concurrently, bounded.
        An unknown name and arguments that do not fit the schema are failures told to the model. Never raises but for
        errors.StoreDown (nothing was run that is not in the journal, and nothing is told of what could not be asked
        without the store) and cancellation."""


class RunAgent(Protocol):
    """An agent's turn within another run (the agent tool): its events go nowhere, its spending to the parent's.
    scope: its variables and arguments are the turn's. Raises errors.StoreDown, which says whether it is harmless."""

    async def __call__(self, agent: str, text: str, scope: ToolScope) -> ToolAnswer: ...


class Search(Protocol):
    """Pieces of an org's documents nearest to the query: [{document_id, name, text, score}]."""

    async def __call__(self, org: str, query: str, document_ids: Sequence[str], limit: int) -> list[dict[str, Any]]: ...
