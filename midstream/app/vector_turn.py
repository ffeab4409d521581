"""The turn of an agent that gives vectors, as the work of a run: one model call, accounted as every turn is."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec.structs import replace

from ..agent.guardrails import guardrails_of
from ..agent.prepare import besides, chosen, embedded
from ..core.account import TurnAccount, accounted
from ..core.agents import AgentAsk, Loaded
from ..core.events import Concluded, Embedded, Event, Failed
from ..core.outcome import Outcome
from ..core.parts import Message, Text
from ..core.serving import Desk
from ..core.turn import Prompt, Turn
from ..core.unread import check_honoured
from ..metering.alerts import alarms_of, raised
from ..metering.turns import TURN
from ..runs.order import Act
from ..store.ledger import Record
from .laps import Laps
from .turn_checks import Judged, Judges, input_judged
from .turn_models import DIALECT
from .turn_rooms import TurnRooms
from .turn_work import Also, Asker, first_asked


class VectorWork:
    """Nothing of it is kept but the accounts. run: the id of its run. message: the id that was promised for a later
    answer ("" = none). also: more records of its end. dropped: what was asked for and no vector has.
    turn: the model call. outcome: once it is known.
    Raises what the turn is refused with before any work."""

    def __init__(
        self, rooms: TurnRooms, asker: Asker, ask: AgentAsk, loaded: Loaded, run: str, message: str, also: Also,
        dropped: tuple[str, ...] = (),
    ) -> None:  # fmt: skip
        self._rooms = rooms
        self._asker = asker
        self._ask = ask
        self._loaded = loaded
        self._run = run
        self._message = message
        self._also = also
        self._laps = Laps(rooms.clock.steady)
        self._began_at = rooms.clock.wall()
        self._desk: Desk | None = None
        embed, (self._service, model) = embedded(loaded, ask), chosen(loaded, ask)
        guardrails, idle = besides(loaded, ask)
        self._rails = guardrails_of(guardrails)
        self._dropped = (*dropped, *idle)
        if ask.strict:
            check_honoured("a vector", self._dropped)
        self.turn = Turn(
            DIALECT, {}, lambda fields: Prompt(()), model=model, kind="embedding", embed=embed, strict=ask.strict
        )
        self._targets = rooms.models.targets(asker.org, self._service, model, loaded.spec.keys, ask.api_key)
        self.outcome: Outcome | None = None

    @property
    def act(self) -> Act:
        loaded = self._loaded
        return Act(
            self, closing=self.closing, agent=loaded.id, version=loaded.version_id, run=self._run,
            accounted=not self._ask.playground,
        )  # fmt: skip

    async def __call__(self, desk: Desk) -> None:
        """core.serving.Work."""
        self._desk = desk
        said = Message("user", (Text(self._ask.text),))
        judges = Judges(self._rooms, self._asker.org, self._loaded, desk)
        refused = await input_judged(self._rails, said, judges)
        self._laps.lap("prepare")
        ended = self._refused(refused) if refused is not None else await self._embedded(desk)
        self.outcome = replace(ended, usage=desk.usage, cost=desk.cost, dropped=self._dropped, message=self._message)
        desk.log(Concluded(self.outcome))

    async def _embedded(self, desk: Desk) -> Outcome:
        completed = await desk.complete(self.turn, self._targets)
        result = completed.result
        assert isinstance(result, Embedded)
        self._laps.lap("loop")
        return Outcome("", vectors=result.vectors, model=result.model, service=completed.target.provider)

    def _refused(self, judged: Judged) -> Outcome:
        return Outcome(
            judged.text, blocked=judged.blocked, stop="content_filter", vectors=(), model=self.turn.model,
            service=self._service, rounds=0,
        )  # fmt: skip

    def closing(self, end: Event) -> Sequence[Record]:
        """runs.order.Act.closing."""
        also = self._also(end, self.outcome)
        if self._ask.playground:
            return also
        told = end.error if isinstance(end, Failed) else self.outcome
        assert told is not None
        account = accounted(self._account(), told)
        alarms = raised(self._run, account.org, alarms_of(account), self._rooms.clock.wall())
        return [*self._rooms.after(account, (TURN,)), *alarms, *also]

    def _account(self) -> TurnAccount:
        loaded, asker, desk = self._loaded, self._asker, self._desk
        known = {} if desk is None else {"attempts": desk.attempts, "usage": desk.usage, "cost": desk.cost}
        service, model = first_asked(desk, 0, (self._service, self.turn.model))
        return TurnAccount(
            id=self._run,
            org=asker.org,
            agent=loaded.id,
            run=self._run,
            created_at=self._began_at,
            version=loaded.version_id,
            type="embedding",
            user=self._ask.user,
            key=asker.key,
            request=asker.request,
            face=asker.face,
            service=service,
            model=model,
            latency_ms=self._laps.whole(),
            steps_ms=self._laps.ms,
            **known,  # type: ignore[arg-type]
        )
