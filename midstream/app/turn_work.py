"""One agent's turn, step by step, as the work of a run: what its rooms do, in order, and what is kept of it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from ..agent.guardrails import guardrails_of
from ..agent.loop import Ask, Ended, Limits, Round, arguments_of, loop
from ..agent.pre_tools import before_them, early_variables, pre_call
from ..agent.prepare import Given, Prepared, chosen, guarded, prepare, reported
from ..core.account import TurnAccount, accounted
from ..core.agents import CHATBOT, AgentAsk, Loaded, Tool, beneath
from ..core.errors import NotFound, TimedOut
from ..core.events import Answer, Concluded, Event, Failed, Opened, ToolEnded, ToolNoted, ToolStarted
from ..core.outcome import Outcome, Step
from ..core.parts import Media, ToolCall, has_media, spoken
from ..core.serving import Completed, Desk, Target
from ..core.toolbox import ToolAnswer, ToolScope
from ..core.turn import Prompt
from ..metering.alerts import alarms_of, raised
from ..metering.turns import TURN
from ..store.ledger import Record
from ..store.searching import of_a_call
from ..store.tool_calls import left_behind
from ..tools.knowledge import searches
from .laps import Laps
from .remember import MEMORY
from .spending import Spending
from .suggestions import hurried, suggestions
from .threads import Thread
from .titles import TITLE
from .turn_checks import Judged, Judges, TurnChecks, shown
from .turn_ends import ending_of, own_arguments, own_ending, pictures, sources, steps_of, stop_of
from .turn_models import TurnModels, asked, honoured, placed, refused_in_words_of, why_another
from .turn_rooms import TurnRooms

#: The round of the tools that run before the first model call.
BEFORE = 0
#: More records of a turn's end, given its run's.
Also = Callable[[Event, Outcome | None], Sequence[Record]]


class Asker(Struct, frozen=True):
    """Who asks. path: ids of the agents that called each other down to this one. parent: the run that called it."""

    org: str
    key: str
    path: tuple[str, ...] = ()
    parent: str | None = None
    request: str = ""
    face: str = ""


class TurnWork:
    """thread: where the turn is kept, with what is asked there. run: the id of its run. also: more records of its end.
    again: the run may have begun before. above: see Spending. outcome: once it is known."""

    def __init__(
        self, rooms: TurnRooms, asker: Asker, loaded: Loaded, thread: Thread, run: str, *, stream: bool, also: Also,
        again: bool = False, above: Callable[[], str],
    ) -> None:  # fmt: skip
        self._rooms = rooms
        self._asker = asker
        self._ask = thread.ask
        self._loaded = loaded
        self._thread = thread
        self._run = run
        self._stream = stream
        self._also = also
        self._again = again
        self._laps = Laps(rooms.clock.steady)
        self._began_at = rooms.clock.wall()
        self._desk: Desk | None = None
        self._prepared: Prepared | None = None
        #: Of a turn that fails: calls of tools that had ended.
        self._steps: list[Step] = []
        self._first_error = ""
        self._said = ""
        self._passed = False
        #: By agents that it has asked.
        self._drawn: list[Media] = []
        #: How many attempts there were before its newest model call.
        self._asks_from = 0
        self.spending = Spending(loaded.spec.settings, above)
        self._called: list[TurnWork] = []
        self._unsafe = False
        self.outcome: Outcome | None = None

    async def __call__(self, desk: Desk) -> None:
        """core.serving.Work."""
        thread, seconds = self._thread, self._loaded.spec.settings.seconds
        self._desk = self.spending.desk = desk
        desk.log(Opened(thread.conversation, thread.message, thread.thread, thread.sub_thread))
        try:
            async with asyncio.timeout(seconds) as limit:
                self.outcome = await self._turn(desk)
        except TimeoutError:
            if not limit.expired():
                raise
            raise TimedOut(f"the turn took longer than {seconds:g} seconds", phase="total") from None
        desk.log(Concluded(self.outcome))

    @property
    def accounted(self) -> bool:
        """The metrics count it: what an agent spends that another one calls is of that one's turn."""
        return not self._ask.playground and self._asker.parent is None

    @property
    def unsafe(self) -> bool:
        """It, or an agent that it has called, has begun what must not be done twice."""
        return self._unsafe or any(other.unsafe for other in self._called)

    async def is_past(self, thread: str) -> bool:
        """Is it of that thread, and its conversation deleted or reset since it began?"""
        mine = self._thread
        if not mine.kept or mine.thread != thread:
            return False
        try:
            row = await self._rooms.store.org(self._asker.org).threads.thread(mine.conversation)
        except NotFound:
            return True
        return mine.since != (-1 if row.reset_seq is None else row.reset_seq)

    def calls(self, other: TurnWork) -> None:
        """An agent that is called from here: what it does and spends is this turn's, however its own turn ends."""
        self._called.append(other)
        self.spending.calls(other.spending)

    async def _turn(self, desk: Desk) -> Outcome:
        self._loaded = await self._rooms.offered(self._loaded, self._ask)
        given = await self._given()
        prepared, models, checks = self._ready(desk, given, before_them)
        self._laps.lap("prepare")
        refused = await checks.of_input()
        self._laps.lap("checks")
        self._passed = refused is None
        if refused is None and self._loaded.pre_tools:
            read = prepared.prompt.messages[-1]
            found = await self._before(desk)
            given = replace(given, now=self._rooms.clock.wall(), variables=found)
            prepared, models, checks = self._ready(desk, given, prepare)
            if prepared.prompt.messages[-1] != read:  # it brings other files of the thread, as the prompt is longer
                refused = await checks.of_input()
        if refused is not None:
            desk.log(*shown(refused.text))
            return self._outcome(models, Ended(Answer(), None, 0, 0), refused)
        # What may still be refused or mended is not shown before it has passed.
        ask = self._asking(desk, prepared, models, quiet=checks.judges_output)
        journal = self._rooms.store.tool_calls(self._asker.org)
        ended = await loop(
            prepared.prompt,
            ask,
            self._calling(desk, prepared.tools, prepared.variables, quiet=checks.judges_output),
            _limits(self._ask, prepared),
            self.spending.counted,
            [Round(reply) for reply in await journal.rounds(desk.run_id)] if self._again else (),
            lambda number, reply: desk.hold(journal.round_kept(desk.run_id, number, reply)),
            self.spending.above,
        )
        self._laps.lap("loop")
        judged = await checks.of_output(ended)
        if checks.judges_output or ended.transferred is not None:
            desk.log(*shown(judged.text))
        self._laps.lap("checks")
        self._said = judged.text
        following = await self._following(desk, prepared, models.targets, judged)
        return replace(self._outcome(models, ended, judged), suggestions=following)

    def _ready(
        self, desk: Desk, given: Given, make: Callable[[Loaded, AgentAsk, Given], Prepared]
    ) -> tuple[Prepared, TurnModels, TurnChecks]:
        prepared = self._prepared = honoured(make(self._loaded, self._ask, given), self._ask)
        models = self._models_of(prepared, given)
        return prepared, models, self._checks(desk, prepared, models)

    def _models_of(self, prepared: Prepared, given: Given) -> TurnModels:
        org, rooms = self._asker.org, self._rooms
        return TurnModels(
            rooms.targets(org, self._loaded, self._ask, prepared),
            prepared,
            lambda target: rooms.models.document(org, target.provider, target.model),
            lambda known: honoured(prepare(self._loaded, self._ask, replace(given, model=known)), self._ask),
        )

    async def _following(
        self, desk: Desk, prepared: Prepared, targets: Sequence[Target], judged: Judged
    ) -> tuple[str, ...]:
        """What the user may want to ask next, where that is wanted."""
        if self._loaded.spec.type != CHATBOT or not prepared.settings.suggestions or judged.blocked:
            return ()

        async def ask(prompt: Prompt) -> Completed:
            return await desk.complete(asked(prompt, prepared.model, False), hurried(targets), quiet=True)

        found = await suggestions(self._ask.text, judged.text, ask)
        self._laps.lap("suggestions")
        return found

    def _asking(self, desk: Desk, prepared: Prepared, models: TurnModels, *, quiet: bool) -> Ask:
        async def ask(prompt: Prompt) -> Completed:
            turn, targets = models.asks(
                prompt, lambda made: asked(placed(made, self._ask), prepared.model, self._stream, self._ask.strict)
            )
            if has_media(prompt.messages):
                await desk.write()  # they may have to be fetched before the call leaves
            self._asks_from = len(desk.asked)
            with refused_in_words_of(prepared):
                completed = await desk.complete(turn, targets, quiet=quiet)
            self._first_error = self._first_error or why_another(targets[0], completed)
            return completed

        return ask

    def _checks(self, desk: Desk, prepared: Prepared, models: TurnModels) -> TurnChecks:
        judges = Judges(self._rooms, self._asker.org, self._loaded, desk)
        aside = self._asking(desk, prepared, models, quiet=True)
        return TurnChecks(prepared, guardrails_of(prepared.guardrails), aside, judges)

    # before the first call

    async def _before(self, desk: Desk) -> dict[str, Any]:
        """Results of what runs first, by the variable that each becomes. A failure is text for the prompt."""
        found: dict[str, Any] = {}
        for place, (pre, stored) in enumerate(self._loaded.pre_tools):
            own = early_variables(self._loaded, self._ask, found, desk.began)
            known = beneath(own, self._ask.arguments)
            tool, arguments = pre_call(self._loaded, self._ask, pre, stored, known)
            call = ToolCall(f"pre_{place}", tool.name, msgspec.json.encode(arguments).decode())
            # Each has a round of its own below the first: they run one after the other, once.
            [answer] = await self._calling(desk, (tool,), own, written=True)(BEFORE - place, [call])
            found[pre.into or tool.name] = answer.text if answer.value is None else answer.value
        self._laps.lap("pre_tools")
        return found

    async def _given(self) -> Given:
        org, loaded, ask, rooms = self._asker.org, self._loaded, self._ask, self._rooms
        memory = ""
        if loaded.spec.memory and not ask.playground:
            kept = await rooms.store.memories(org).get(loaded.id, self._thread.thread)
            memory = kept.text if kept is not None else ""
        documents = await self._documents()
        service, model = chosen(loaded, ask)
        return Given(
            now=rooms.clock.wall(),
            history=self._thread.history,
            files=self._thread.files,
            memory=memory,
            model=rooms.models.document(org, service, model),
            documents=documents,
            built_in=rooms.built_in,
        )

    async def _documents(self) -> tuple[tuple[str, str], ...]:
        """(name, text) of those attached before, as far as they are still there, and of those attached now."""
        before = () if self._ask.messages else self._thread.documents  # a transcript is all that its turn is shown
        found: list[tuple[str, str]] = []
        for id in dict.fromkeys((*before, *self._ask.document_ids)):
            try:
                found += await self._rooms.documents(self._asker.org, (id,))
            except NotFound:
                if id not in before:
                    raise
        return tuple(found)

    # tools

    def _calling(
        self,
        desk: Desk,
        tools: Sequence[Tool],
        variables: dict[str, Any],
        *,
        quiet: bool = False,
        written: bool = False,
    ) -> Callable[[int, Sequence[ToolCall]], Awaitable[list[ToolAnswer]]]:
        """Calls tools and tells the log of each call and answer as it happens. quiet: but for the text of an agent that
        goes on instead, which is the turn's answer. written: see ToolScope; what the version's author says to a tool is
        told to nobody who asks the agent, nor what it gives."""
        scope = self._scope(desk, variables, written)
        agents = {tool.name for tool in tools if tool.kind == "agent"}
        unsafe = {tool.name for tool in tools if tool.effect == "unsafe"} - agents  # these are asked: see `unsafe`

        async def call(round: int, calls: Sequence[ToolCall]) -> list[ToolAnswer]:
            told: set[str] = set()

            def ended(call: ToolCall, answer: ToolAnswer) -> None:
                told.add(call.id)
                if written:
                    return
                text = "" if quiet and answer.transfer else answer.text
                desk.log(ToolEnded(call.id, call.name, answer.status, text, answer.error, answer.ms, round))
                self._steps.append(Step(call.id, call.name, {}, answer.status, answer.text, answer.error, round))

            for one in () if written else calls:
                desk.log(ToolStarted(one.id, one.name, own_arguments(arguments_of(one), one.name, tools), round))
            self._unsafe = self._unsafe or any(one.name in unsafe for one in calls)
            answers = await self._rooms.tools.call(round, calls, tools, scope(ended))
            for one, answer in zip(calls, answers, strict=True):
                if one.id not in told:
                    ended(one, answer)
                if one.name in agents:
                    self._drawn += answer.media
            return answers

        return call

    def _scope(
        self, desk: Desk, variables: dict[str, Any], written: bool
    ) -> Callable[[Callable[[ToolCall, ToolAnswer], None]], ToolScope]:
        loaded, thread, ask = self._loaded, self._thread, self._ask
        deadline = asyncio.get_running_loop().time() + loaded.spec.settings.seconds

        def scope(ended: Callable[[ToolCall, ToolAnswer], None]) -> ToolScope:
            return ToolScope(
                org=self._asker.org,
                run=desk.run_id,
                agent=loaded.id,
                thread=thread.thread,
                sub_thread=thread.sub_thread,
                key=self._asker.key,
                variables=variables,
                arguments=ask.arguments,
                written=written,
                secrets=dict(loaded.secrets),
                document_ids=loaded.spec.doc_ids + ask.document_ids,
                path=(*self._asker.path, loaded.id) if loaded.id else self._asker.path,
                playground=ask.playground,
                parallel=loaded.spec.settings.parallel_tools,
                deadline=deadline,
                progress=lambda call, text: None if written else desk.log(ToolNoted(call, text)),
                ended=ended,
                again=self._again,
                write=desk.write,
                hold=desk.hold,
            )

        return scope

    # the end

    def _outcome(self, models: TurnModels, ended: Ended, judged: Judged) -> Outcome:
        thread, completed = self._thread, ended.completed
        target = completed.target if completed is not None else None
        prepared = models.prepared(target)
        spent = self.spending.so_far()
        late = completed.dropped if completed is not None else () if ended.calls else None
        dropped, noted = reported(prepared, late)
        own = replace(
            own_ending(ended),
            model=ended.answer.model or (target.model if target is not None else prepared.model),
            service=target.provider if target is not None else prepared.service,
            missing=prepared.missing,
            fallback=bool(self._first_error),
            first_error=self._first_error,
        )
        end = ending_of(ended, own)
        return Outcome(
            text=judged.text,
            value=judged.value,
            blocked=judged.blocked,
            declined=judged.declined,
            stop=stop_of(end, blocked=bool(judged.blocked), declined=judged.declined),
            native_stop=end.native_stop,
            model=end.model,
            service=end.service,
            usage=spent.usage,
            cost=spent.cost,
            rounds=ended.calls,
            steps=steps_of(ended, judged.text if judged.blocked else None, prepared.tools),
            images=() if judged.blocked else (*self._drawn, *pictures(ended)),
            annotations=() if judged.blocked else sources(ended, judged.text),
            fallback=end.fallback,
            first_error=end.first_error,
            missing=end.missing,
            dropped=dropped,
            noted=noted,
            id=thread.answer,
            conversation=thread.conversation,
            thread=thread.thread,
            sub_thread=thread.sub_thread,
            message=thread.message,
            answer=thread.answer if thread.kept else "",
            title=thread.title,
        )

    def closing(self, end: Event) -> Sequence[Record]:
        """runs.order.Act.closing: what the turn leaves behind, in the transaction that ends its run."""
        also = self._also(end, self.outcome)
        records: list[Record] = []
        thread, version = self._thread, self._loaded.version_id
        sent = self._prepared.parameters if self._prepared is not None else {}
        if isinstance(end, Failed):
            records += left_behind(self._run, self._asker.org, self._rooms.clock.wall())
            said = self._said or partial_text(self._desk)
            if self._desk is not None:  # else its question may not be stored, and an answer to nothing is none
                unchecked = not self._passed and guarded(self._loaded, self._ask)
                records += thread.failed(
                    end.error, self._run, said=said, version=version, configuration=sent, unchecked=unchecked
                )
        elif self.outcome is not None:
            records += thread.ends(self.outcome, self._run, version=version, configuration=sent)
        if topics := self._topics(end):
            told = self.outcome if not isinstance(end, Failed) else end.error
            assert told is not None
            account = accounted(self._account(), told)
            records += self._rooms.after(account, topics)
        if self.accounted:
            # By its run: a message that is answered anew is another occasion.
            records += raised(self._run, account.org, alarms_of(account, self._searches()), self._rooms.clock.wall())
        return [*records, *also]

    def _searches(self) -> list[Step]:
        """The turn's calls of tools that search documents."""
        tools = self._prepared.tools if self._prepared is not None else ()
        names = {tool.name for tool in tools if searches(tool)}
        steps = self.outcome.steps if self.outcome is not None else self._steps
        return [step for step in steps if step.name in names]

    def _topics(self, end: Event) -> list[str]:
        """What happens after this turn. One that another agent has asked for is remembered where its thread goes on."""
        loaded, outcome, mine = self._loaded, self.outcome, self.accounted
        topics = [TURN] if mine else []
        if isinstance(end, Failed) or outcome is None or outcome.blocked or not self._thread.kept:
            return topics
        titles = loaded.spec.settings.titles
        if titles is None:
            titles = loaded.spec.type == CHATBOT
        remembers = loaded.spec.memory and not of_a_call(self._thread.thread)
        wanted = {MEMORY: remembers, TITLE: mine and titles and self._thread.unnamed}
        return topics + [topic for topic, on in wanted.items() if on and loaded.id]

    def _account(self) -> TurnAccount:
        """What is known of the turn whatever its end."""
        loaded, thread, prepared, asker = self._loaded, self._thread, self._prepared, self._asker
        spent = self.spending.so_far()
        chosen = (prepared.service, prepared.model) if prepared is not None else (loaded.spec.service, "")
        service, model = first_asked(self._desk, self._asks_from, chosen)
        return TurnAccount(
            id=thread.message if thread.kept else self._run,
            org=asker.org,
            agent=loaded.id,
            run=self._run,
            created_at=self._began_at,
            version=loaded.version_id,
            type=loaded.spec.type,
            user=self._ask.user,
            thread=thread.thread,
            sub_thread=thread.sub_thread,
            conversation=thread.conversation,
            key=asker.key,
            request=asker.request,
            face=asker.face,
            service=service,
            model=model,
            attempts=spent.attempts,
            usage=spent.usage,
            cost=spent.cost,
            latency_ms=self._laps.whole(),
            steps_ms=self._laps.ms,
            tools=tuple(dict.fromkeys(step.name for step in self._steps)),
            rounds=max((step.round for step in self._steps), default=0),
            missing=prepared.missing if prepared is not None else (),
            parameters=prepared.parameters if prepared is not None else {},
            asked=self._ask.text if thread.kept else "",
            answered=self.outcome.text if self.outcome is not None and thread.kept else "",
            title=thread.unnamed,
        )


def first_asked(desk: Desk | None, since: int, chosen: tuple[str, str]) -> tuple[str, str]:
    """Service and model of the first that was asked after so many attempts, `chosen` = of the one that would have been:
    one that was failing a moment ago is passed over."""
    asked = desk.asked[since:] if desk is not None else ()
    return (asked[0].provider, asked[0].model) if asked else chosen


def _limits(ask: AgentAsk, prepared: Prepared) -> Limits:
    settings = prepared.settings
    return Limits(rounds=prepared.rounds, calls=ask.calls, tokens=settings.tokens, cost=settings.cost)


def partial_text(desk: Desk | None) -> str:
    """What the user has seen of an answer that was cut."""
    choices = desk.partial.choices if desk is not None else ()
    return spoken(choices[0].parts) if choices else ""


def nothing_else(end: Event, outcome: Outcome | None) -> Sequence[Record]:
    return ()
