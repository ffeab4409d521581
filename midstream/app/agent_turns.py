"""An agent's turn as a run: who it is, whether it may, where it is kept, and what its run does."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AsyncExitStack
from functools import partial
from itertools import zip_longest

from msgspec.structs import replace

from ..access.points import Paid
from ..agent.offered import tools_of
from ..core.agents import CHATBOT, AgentAsk, Loaded, Tool
from ..core.errors import BadRequest, Busy, LimitReached, MidstreamError, NotFound, StoreDown
from ..core.ids import new_id
from ..core.parts import media_in
from ..core.toolbox import ToolAnswer, ToolScope
from ..core.turn import Prompt, Turn
from ..core.web import Caller, Request
from ..runs.order import MAX_ATTEMPTS, Act, Order, Spent, spent_by
from ..tools.agent import circle
from .faces import Face
from .places import PLAIN, WITHIN, Standing
from .refused_keys import in_our_words
from .replies import whole
from .thread_channel import ThreadChannel, heard_in
from .threads import answer_of, conversation_of
from .turn_models import DIALECT
from .turn_rooms import TurnRooms
from .turn_work import Also, Asker, TurnWork, nothing_else
from .vector_turn import VectorWork

#: The type of agents that give vectors.
EMBEDDING = "embedding"
#: How much of an agent's points may be spent by turns that nobody waits for: the rest is for those that somebody does.
PATIENT = 0.5


class AgentTurns:
    """Also implements core.toolbox.RunAgent: an agent's turn inside another one."""

    def __init__(self, rooms: TurnRooms) -> None:
        self._rooms = rooms
        #: Turns under way by their run, for what agents called from them spend.
        self._under_way: dict[str, TurnWork] = {}

    def shut(self) -> None:
        """The server ends: turns that wait for others of their conversation are refused."""
        self._rooms.threads.shut()

    async def admit(self, caller: Caller, turn: Turn, new: str) -> Loaded:
        """The agent of a turn that may be made. new: the id that its conversation will have if there is none yet.
        Raises NotFound, Conflict, BadRequest, LimitReached."""
        return (await self._admitted(caller, turn, new))[0]

    async def _admitted(self, caller: Caller, turn: Turn, new: str) -> tuple[Loaded, Paid | None]:
        """And what the turn has spent."""
        ask = _asked(turn)
        if ask.org and ask.org != caller.org:
            raise NotFound(f"no such organization: {ask.org}", param="org_id")
        loaded = await self._load(caller.org, ask)
        for id in dict.fromkeys(ask.document_ids):
            await self._rooms.store.documents(caller.org).one(id)
        if not loaded.id or ask.playground:
            return loaded, None
        thread = await self._counted(caller.org, ask, loaded, new)
        try:
            return loaded, await self._rooms.points.spend(caller.org, loaded.id, thread, loaded.spec.limits)
        except LimitReached as error:
            await self._rooms.bell.limit_reached(caller.org, loaded.id, thread, error)
            raise

    async def wait(self, caller: Caller, turn: Turn, new: str) -> float:
        """Seconds until a turn that nobody waits for may begin; 0 when it may, and has spent its point. Raises as
        `admit` does, but for LimitReached: it is not refused, it waits."""
        ask = _asked(turn)
        loaded = await self._load(caller.org, ask)
        if loaded.id:
            thread = await self._counted(caller.org, ask, loaded, new)
            try:
                await self._rooms.points.spend(caller.org, loaded.id, thread, loaded.spec.limits, share=PATIENT)
            except LimitReached as error:
                return error.retry_after or 1.0
        return 0.0

    async def tools(self, loaded: Loaded) -> tuple[Tool, ...]:
        """Those of a turn that says nothing of tools, as its model is told of them."""
        ask = AgentAsk()
        return tools_of(await self._rooms.offered(loaded, ask), ask)

    async def _counted(self, org: str, ask: AgentAsk, loaded: Loaded, new: str) -> str:
        """The thread whose point the turn spends, "" = none's."""
        return "" if _type(ask, loaded) == EMBEDDING else await self._rooms.threads.named(org, ask, new)

    async def line(self, caller: Caller, turn: Turn, loaded: Loaded, new: str) -> str:
        """Of an admitted turn that is made later: the conversation in which it stands in line, "" = in none."""
        ask = _asked(turn)
        return (
            "" if _type(ask, loaded) == EMBEDDING else await self._rooms.threads.line(caller.org, ask, loaded.id, new)
        )

    async def channel(self, caller: Caller, turn: Turn, loaded: Loaded, new: str) -> str:
        """Of an admitted turn: the live channel that hears of its end as its thread's, "" = none."""
        if loaded.spec.type != CHATBOT:
            return ""
        return heard_in(turn, await self._counted(caller.org, _asked(turn), loaded, new))

    async def _load(self, org: str, ask: AgentAsk) -> Loaded:
        """A turn that names a conversation and no agent is of that conversation's agent."""
        self._check_media(ask)
        if not ask.agent and ask.conversation:
            ask = replace(ask, agent=await self._rooms.threads.agent_of(org, ask.conversation))
            if not ask.agent:  # it was begun without one, and who goes on with it here says no model either
                where = "agent_id"
                raise BadRequest(
                    f"{where}: name the agent that shall answer", param=where, code="missing_required_parameter"
                )
        return await self._rooms.loader.load(org, ask)

    def _check_media(self, ask: AgentAsk) -> None:
        """Services that fetch media themselves are handed its address, and may stand where private ones lead somewhere.
        What is fetched here passes the door besides. Raises BadRequest, code address_refused."""
        found = list(zip_longest(ask.places, ask.media))
        for number, message in enumerate(ask.messages):
            found += [(f"messages[{number}]", one) for one in media_in(message.parts)]
        for place, media in found:
            if media is not None and media.url is not None:
                try:
                    self._rooms.check_address(media.url)
                except BadRequest as error:
                    raise BadRequest(f"{place}: the media's {error.message}", param=place, code=error.code) from None

    async def order(
        self, caller: Caller, turn: Turn, face: Face, request: Request, *, message: str = "", run: str = "",
        again: bool = False, also: Also = nothing_else, standing: Standing = PLAIN,
    ) -> Order:  # fmt: skip
        """What the run of this turn shall do and keep, once it is its turn. message, run: ids that were promised before
        (then the turn has been admitted). again: the run was cut and goes on. also: more records of its end. standing:
        in its conversation's line."""
        ask = _asked(turn)
        if self._rooms.runs.draining:
            raise Busy("the server is shutting down", retry_after=5.0)
        new = conversation_of(message) if message else new_id("conv_")
        loaded, paid = (await self._load(caller.org, ask), None) if message else await self._admitted(caller, turn, new)
        asker = Asker(caller.org, caller.key_id, request=request.id, face=face.NAME)
        before, below = await self._spent(caller.org, run) if again else (Spent(), Spent())
        made, conversation = turn, None
        if _type(ask, loaded) == EMBEDDING:
            turn.stream = False  # it does not answer: it gives the vector of what was said, in one piece
            dropped = ("stream",) if bytes(turn.fields.get("stream", b"")) == b"true" else ()
            vectors = VectorWork(self._rooms, asker, ask, loaded, run or new_id("run_"), message, also, dropped)
            act, made = vectors.act, vectors.turn
        else:
            heard = (face, turn) if loaded.spec.type == CHATBOT else None
            async with AsyncExitStack() as refund:  # where it does not come to its turn
                if paid is not None:
                    refund.push_async_callback(self._rooms.points.give_back, paid)
                act, conversation = await self._act(
                    asker, ask, loaded, turn.stream, message, run, also, heard, again=again, new=new, standing=standing
                )
                refund.pop_all()
            if again:
                self._under_way[run].spending.bill(below)
        return Order(
            org=caller.org,
            key_id=caller.key_id,
            face=face.NAME,
            request_id=request.id,
            turn=made,
            targets=(),
            conversation=conversation,
            transactions=True,
            act=replace(act, again=True, before=before, job=message) if again else act,
            told=self._told(caller.org, ask),
        )

    def _told(self, org: str, ask: AgentAsk) -> Callable[[MidstreamError], MidstreamError]:
        """How the turn's failure is told: who speaks of agents speaks a format of ours."""
        own, models = ask.api_key, self._rooms.models
        return in_our_words(lambda provider, key: own is not None and key == models.label_of(org, provider, own))

    async def _spent(self, org: str, run: str) -> tuple[Spent, Spent]:
        """By the run itself, and by those that it has called: by their attempts that their worker's death has ended, or
        their own end before."""
        store = self._rooms.store.org(org)
        try:
            began = (await store.run(run)).created_at
            own = await store.attempts(run_id=run, limit=MAX_ATTEMPTS)
            return replace(spent_by(own), began=began), spent_by(await store.attempts_below(run))
        except NotFound:  # it had not begun
            return Spent(), Spent()

    async def _act(
        self, asker: Asker, ask: AgentAsk, loaded: Loaded, stream: bool, message: str = "", run: str = "",
        also: Also = nothing_else, heard: tuple[Face, Turn] | None = None, *, again: bool = False, new: str = "",
        standing: Standing = PLAIN,
    ) -> tuple[Act, str | None]:  # fmt: skip
        """heard: its thread's live channel hears of its end, in this face's words."""
        held = AsyncExitStack()
        most = loaded.spec.settings.history_messages
        try:
            opening = self._rooms.threads.open(
                asker.org, ask, loaded.id, message=message, new=new, standing=standing,
                history=most and most + 1,  # one before the window, that this is seen to be one (agent/history.py)
            )  # fmt: skip
            thread = await held.enter_async_context(opening)
            run = run or new_id("run_")
            thread = replace(thread, answer=answer_of(run))
            if heard is not None and thread.kept:
                channel = ThreadChannel(self._rooms.hub, *heard, thread, run, self._rooms.clock.wall)
                also = channel.beside(also)
                held.callback(channel.over)
            work = TurnWork(
                self._rooms, asker, loaded, thread, run, stream=stream, also=also, again=again,
                above=partial(self._ceiling, asker.parent),
            )  # fmt: skip
            self._under_way[run] = work
            held.callback(self._under_way.pop, run)
        except BaseException:
            await held.aclose()
            raise
        act = Act(
            work, thread.begins(run), work.closing, held.aclose, loaded.id, loaded.version_id, thread.thread,
            asker.parent, run, accounted=work.accounted,
        )  # fmt: skip
        return act, thread.conversation or None

    def _ceiling(self, run: str | None) -> str:
        """Of the turn that is made by this run, see Spending."""
        work = self._under_way.get(run or "")
        return work.spending.ceiling() if work is not None else ""

    async def __call__(self, agent: str, text: str, scope: ToolScope) -> ToolAnswer:
        """core.toolbox.RunAgent."""
        begun: list[TurnWork] = []
        try:
            return await self._within(agent, text, scope, begun)
        except StoreDown as error:
            error.harmless = not any(one.unsafe for one in begun)
            raise

    async def _within(self, agent: str, text: str, scope: ToolScope, begun: list[TurnWork]) -> ToolAnswer:
        """begun: gets the turn's work."""
        rooms, parent = self._rooms, self._under_way.get(scope.run)
        agent, _, version = agent.partition("@")
        ask = AgentAsk(
            agent=agent, version=version, text=text, variables=scope.variables, arguments=scope.arguments,
            thread=scope.thread, sub_thread=scope.sub_thread, playground=scope.playground,
        )  # fmt: skip
        loaded = await rooms.loader.load(scope.org, ask)
        if loaded.id in scope.path:
            return circle(scope.path, loaded.id)
        if parent is not None and await parent.is_past(ask.thread):
            # What its user has left behind is not said on the thread again: nobody goes on with this one.
            ask = replace(ask, thread=f"{scope.run}:{loaded.id}:", sub_thread="")
        asker = Asker(scope.org, scope.key, scope.path, scope.run or None, request=scope.run)
        act, conversation = await self._act(asker, ask, loaded, stream=False, standing=WITHIN)
        order = Order(
            org=scope.org, key_id=scope.key, face="agent", request_id=scope.run, turn=_turn(text), targets=(),
            conversation=conversation, transactions=True, act=act,
        )  # fmt: skip
        begun.append(self._under_way[act.run])
        if parent is not None:
            parent.calls(*begun)
        follower = rooms.runs.start(order, within=True).log.follow()
        try:
            _, fold, _ = await whole(follower)
        finally:
            follower.leave()  # when the caller is stopped, so is this
        outcome = fold.outcome
        assert outcome is not None
        drawn = tuple(replace(one, state=None) for one in outcome.images)  # which only its own model could read
        return ToolAnswer(
            "ok", outcome.text, outcome.value, media=drawn, citations=outcome.annotations, ending=outcome.ending
        )


def _type(ask: AgentAsk, loaded: Loaded) -> object:
    return ask.configuration.get("type") or loaded.spec.configuration.get("type") or loaded.spec.type


def _asked(turn: Turn) -> AgentAsk:
    assert turn.agent is not None
    return turn.agent


def _turn(text: str) -> Turn:
    return Turn(DIALECT, {}, lambda fields: Prompt(()), model="", agent=AgentAsk(text=text))
