from __future__ import annotations

import asyncio
import threading
from collections import UserDict
from collections.abc import Sequence
from typing import Any

import pytest

from midstream.core.errors import Refused, StoreDown
from midstream.core.parts import Media, Message, ToolCall
from midstream.core.toolbox import ToolAnswer, ToolScope
from midstream.store import Store
from midstream.store.tool_calls import CallEnded
from midstream.tools._answers import MAX_TEXT

from .scripted import ORG, RUN, Scripted, call, ok, scope, tool, tools_of, with_store

CITY = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}


def test_answers_stand_in_the_order_of_the_calls_and_calls_run_together():
    async def work(store: Store) -> None:
        async def script(arguments: dict[str, Any], note: Any) -> ToolAnswer:
            await asyncio.sleep(0.05 - 0.01 * arguments["n"])
            return ok(str(arguments["n"]))

        kind = Scripted(script)
        calls = [call(id=f"c{n}", n=n) for n in range(5)]
        answers = await tools_of(store, kind).call(1, calls, [tool()], scope())
        assert [answer.text for answer in answers] == ["0", "1", "2", "3", "4"]
        assert kind.most == 5
        rows = await store.tool_calls(ORG).of_run(RUN)
        assert [(row.place, row.status, row.call_id) for row in rows] == [(n, "ok", f"c{n}") for n in range(5)]

    with_store(work)


def test_a_call_is_in_the_journal_as_running_while_it_runs():
    async def work(store: Store) -> None:
        seen = []

        async def script(arguments: dict[str, Any], note: Any) -> ToolAnswer:
            seen.extend(await store.tool_calls(ORG).of_run(RUN))
            return ok()

        await tools_of(store, Scripted(script)).call(1, [call(), call(id="c2")], [tool()], scope(parallel=1))
        assert [row.status for row in seen] == ["running", "queued", "ok", "running"]

    with_store(work)


def test_no_more_run_at_once_than_the_run_and_the_org_allow():
    async def work(store: Store) -> None:
        async def script(arguments: dict[str, Any], note: Any) -> ToolAnswer:
            await asyncio.sleep(0.002)
            return ok()

        calls = [call(id=f"c{n}") for n in range(12)]
        kind = Scripted(script)
        await tools_of(store, kind).call(1, calls, [tool()], scope(parallel=3))
        assert kind.most == 3
        kind = Scripted(script)
        tools = tools_of(store, kind, per_org=2)
        await asyncio.gather(*(tools.call(1, calls, [tool()], scope(run=f"run_{n}")) for n in range(2, 5)))
        assert kind.most == 2
        assert tools._orgs == {}

    with_store(work)


def test_agents_that_call_each_other_do_not_wait_for_each_others_places():
    async def work(store: Store) -> None:
        async def script(arguments: dict[str, Any], note: Any) -> ToolAnswer:
            below = arguments["below"]
            if below:
                [answer] = await tools.call(1, [call(below=below - 1)], agents, scope(run=f"child_{below}"))
                return answer
            return (await tools.call(2, [call("look", below=-1)], [tool()], scope(run="run_last")))[0]

        agents = [tool(kind="agent")]
        tools = tools_of(store, Scripted(None), per_org=1)
        tools._kinds = {"http": Scripted(None), "agent": Scripted(script)}
        [answer] = await tools.call(1, [call(below=4)], agents, scope())
        assert answer.status == "ok"

    with_store(work)


def test_long_arguments_are_checked_while_others_go_on():
    seen: list[bool] = []

    class Variables(UserDict[str, Any]):
        def __getitem__(self, name: str) -> Any:
            seen.append(threading.current_thread() is threading.main_thread())
            return super().__getitem__(name)

    async def work(store: Store) -> None:
        kind = Scripted()
        look = tool(parameters={"properties": {"all": {"items": {"type": "integer"}}}}, mapped={"who": "who.id"})
        for size, here in ((10, [True]), (4_000, [True, False])):
            seen.clear()
            one = call(id=f"c{size}", all=[*range(size)])
            [answer] = await tools_of(store, kind).call(size, [one], [look], scope(variables={"who": Variables(id=1)}))
            assert (answer.status, seen) == ("ok", here)

    with_store(work)


@pytest.mark.parametrize(
    "asked, word",
    [
        (ToolCall("c", "nope", "{}"), "there is no tool nope; there are: look"),
        (ToolCall("c", "look", "{"), "not JSON"),
        (ToolCall("c", "look", "[1]"), "not a JSON object"),
        (ToolCall("c", "look", '{"city": 7}'), "city: 7 is not of type 'string'"),
        (ToolCall("c", "look", ""), "'city' is a required property"),
        (ToolCall("c", "look", "null"), "'city' is a required property"),
        (ToolCall("c", "look", '{"city":"' + "x" * 300_000 + '"}'), "larger than"),
        (ToolCall("c\0", "look\0\ud800", "{}"), "there is no tool"),
    ],
)
def test_a_call_that_cannot_be_made_is_told_and_journalled_and_the_others_run(asked: ToolCall, word: str):
    async def work(store: Store) -> None:
        kind = Scripted()
        calls = [asked, call(city="Oslo", id="c2")]
        answers = await tools_of(store, kind).call(1, calls, [tool(parameters=CITY)], scope())
        assert [answer.status for answer in answers] == ["failed", "ok"]
        assert word in answers[0].text
        assert [row.status for row in await store.tool_calls(ORG).of_run(RUN)] == ["failed", "ok"]
        assert len(kind.ran) == 1
        assert await tools_of(store, kind).call(1, calls, [tool(parameters=CITY)], scope()) == answers

    with_store(work)


def test_mapped_arguments_come_from_the_variables_and_never_from_the_model():
    async def work(store: Store) -> None:
        kind = Scripted()
        mapped = {"user": "who.id", "last": "items[1].n", "city": "odd.name"}
        variables = {"who": {"id": "u7"}, "items": [{"n": 1}, {"n": 2}], "odd.name": "Oslo"}
        for parameters in (CITY, {"type": "object", "properties": {}, "additionalProperties": False}):
            one = tool(parameters=parameters, mapped=mapped)
            [answer] = await tools_of(store, kind).call(
                1, [call(user="mallory", city="x")], [one], scope(run="", variables=variables)
            )
            assert answer.status == "ok"
            assert kind.ran.pop()[1] == {"user": "u7", "last": 2, "city": "Oslo"}
        assert {row.arguments for row in await store.tool_calls(ORG).page()} == {b"{}"}

    with_store(work)


@pytest.mark.parametrize(
    "variables, word", [({}, "who.id, which has no value"), ({"who": {"id": 7}}, "is not of type")]
)
def test_a_mapped_argument_without_a_value_or_of_the_wrong_type_is_told(variables: dict[str, Any], word: str):
    async def work(store: Store) -> None:
        kind = Scripted()
        one = tool(parameters=CITY, mapped={"city": "who.id"})
        [answer] = await tools_of(store, kind).call(1, [call()], [one], scope(variables=variables))
        assert answer.status == "failed"
        assert word in answer.text
        assert kind.ran == []

    with_store(work)


def test_a_tool_that_is_late_is_told_and_the_others_are_not_held_up():
    async def work(store: Store) -> None:
        async def script(arguments: dict[str, Any], note: Any) -> ToolAnswer:
            await asyncio.sleep(arguments["seconds"])
            return ok()

        kind = Scripted(script)
        tools = [tool(timeout_seconds=0.02), tool("slow", effect="unsafe", timeout_seconds=0.02)]
        calls = [call(seconds=9), call("slow", seconds=9), call(seconds=0)]
        answers = await tools_of(store, kind).call(1, calls, tools, scope())
        assert [answer.status for answer in answers] == ["timeout", "timeout", "ok"]
        assert "0.02 seconds" in answers[0].text
        assert "may have been done" in answers[1].text
        assert kind.now == 0
        late = scope(run="run_2", deadline=asyncio.get_running_loop().time() + 0.01)
        [answer] = await tools_of(store, kind).call(1, [call(seconds=9)], [tool()], late)
        assert answer.status == "timeout"
        [answer] = await tools_of(store, kind, timeout=0.01).call(2, [call(seconds=9)], [tool()], scope())
        assert answer.status == "timeout"

    with_store(work)


def test_a_failure_is_that_tools_text_only_and_a_bug_has_a_number(caplog: pytest.LogCaptureFixture):
    async def work(store: Store) -> None:
        async def script(arguments: dict[str, Any], note: Any) -> ToolAnswer:
            match arguments["do"]:
                case "refused":
                    raise Refused("the service is full", status=503, code="full")
                case "bug":
                    raise ZeroDivisionError("secret-word")
                case "late":
                    raise TimeoutError
                case "stop":
                    raise asyncio.CancelledError
            return ok()

        calls = [call(do=what) for what in ("refused", "bug", "late", "stop", "")]
        answers = await tools_of(store, Scripted(script)).call(1, calls, [tool()], scope())
        assert [answer.status for answer in answers] == ["failed"] * 4 + ["ok"]
        assert (answers[0].text, answers[0].error) == ("the service is full", "full")
        assert "bug_" in answers[1].text
        assert "secret-word" not in answers[1].text
        assert "ZeroDivisionError" in caplog.text

    with_store(work)


def test_results_are_bounded_and_say_what_is_missing():
    async def work(store: Store) -> None:
        async def script(arguments: dict[str, Any], note: Any) -> ToolAnswer:
            media = tuple(Media("image", "image/png", "A" * 5_000_000) for _ in range(3))
            return ToolAnswer("ok", "é" * 300_000 + "\ud800", value="y" * 300_000, media=media)

        tools = tools_of(store, Scripted(script))
        [answer] = await tools.call(1, [call()], [tool()], scope())
        assert len(answer.text.encode()) <= MAX_TEXT
        assert "600001 bytes in all" in answer.text
        assert "2 media of 3 left out" in answer.text
        assert answer.value is None
        assert [answer] == await tools.call(1, [call()], [tool()], scope())

    with_store(work)


@pytest.mark.parametrize("depth", [64, 65, 960, 3000])
def test_a_value_that_nobody_could_read_again_is_told_as_text_alone(depth: int):
    async def work(store: Store) -> None:
        value: Any = 1
        for _ in range(depth):
            value = [value]

        async def script(arguments: dict[str, Any], note: Any) -> ToolAnswer:
            return ToolAnswer("ok", "the text", value=value)

        [answer] = await tools_of(store, Scripted(script)).call(1, [call()], [tool()], scope())
        assert (answer.status, answer.text, answer.value is None) == ("ok", "the text", depth > 64)

    with_store(work)


def test_notes_are_told_while_the_tool_runs_bounded_and_never_after_it():
    async def work(store: Store) -> None:
        told: list[tuple[str, str]] = []
        kept = []

        async def script(arguments: dict[str, Any], note: Any) -> ToolAnswer:
            kept.append(note)
            for n in range(500):
                note(f"{n} " + "x" * 5000)
            return ok()

        await tools_of(store, Scripted(script)).call(
            1, [call()], [tool()], scope(progress=lambda call, text: told.append((call, text)))
        )
        kept[0]("too late")
        assert len(told) == 200
        assert {id for id, _ in told} == {"c1"}
        assert max(len(text) for _, text in told) == 2000

    with_store(work)


@pytest.mark.parametrize("effect", ["pure", "idempotent", "unsafe"])
@pytest.mark.parametrize("left", ["queued", "running", "ok"])
def test_a_second_execution_of_the_same_round(effect: str, left: str):
    """What the journal holds when a process has died, and what the next one does with it."""

    async def work(store: Store) -> None:
        journal, kind = store.tool_calls(ORG), Scripted()
        one, calls = [tool(effect=effect)], [call()]

        async def dies(*ends: CallEnded) -> None:
            raise asyncio.CancelledError

        first = await tools_of(store, kind).call(1, calls, one, scope())
        [row] = await journal.of_run(RUN)
        if left != "ok":
            await store.db.write([("UPDATE tool_calls SET status = $1, result = NULL", (left,))])
        again = await tools_of(store, kind).call(1, calls, one, scope())
        if left == "ok":
            assert again == first
            assert len(kind.ran) == 1
        elif left == "running" and effect == "unsafe":
            assert again[0].status == "in_doubt"
            assert len(kind.ran) == 1
        else:
            assert again[0].status == "ok"
            assert [key for _, _, key in kind.ran] == ["run_1:1:0"] * 2
        [row] = await journal.of_run(RUN)
        assert row.status == again[0].status
        assert await tools_of(store, kind).call(1, calls, one, scope()) == again

    with_store(work)


def test_another_call_at_the_same_place_never_runs():
    async def work(store: Store) -> None:
        kind = Scripted()
        await tools_of(store, kind).call(1, [call(n=1)], [tool(effect="unsafe")], scope())
        [answer] = await tools_of(store, kind).call(1, [call(n=2)], [tool(effect="unsafe")], scope())
        assert (answer.status, answer.error, len(kind.ran)) == ("failed", "journal_mismatch", 1)

    with_store(work)


def test_calls_outside_of_a_run_are_journalled_and_never_taken_for_each_other():
    async def work(store: Store) -> None:
        kind = Scripted()
        for _ in range(2):
            await tools_of(store, kind).call(0, [call()], [tool()], scope(run=""))
        rows = await store.tool_calls(ORG).page(run_id="")
        assert [key for _, _, key in kind.ran] == [row.id for row in rows]

    with_store(work)


class Held:
    """A run's way to write: what it holds goes first. writes: the rows of calls that each write touched."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.held: list[Any] = []
        self.writes: list[int] = []

    def hold(self, statement: Any) -> None:
        self.held.append(statement)

    async def write(self, statements: Sequence[Any]) -> None:
        held, self.held = self.held, []
        self.writes.append(len(held) + len(statements))
        await self._store.db.write([*held, *statements])

    def scope(self, **more: Any) -> ToolScope:
        return scope(again=False, write=self.write, hold=self.hold, **more)


def test_a_round_is_written_down_and_begun_in_one_transaction_of_its_run():
    async def work(store: Store) -> None:
        held, kind = Held(store), Scripted()
        held.held.append(store.tool_calls(ORG).round_kept(RUN, 1, Message("assistant", ())))
        await tools_of(store, kind).call(1, [call(), call(id="c2")], [tool(effect="unsafe")], held.scope())
        assert held.writes == [3, 1, 1]
        assert len(await store.tool_calls(ORG).rounds(RUN)) == 1
        assert [row.status for row in await store.tool_calls(ORG).of_run(RUN)] == ["ok", "ok"]

    with_store(work)


@pytest.mark.parametrize("effect", ["pure", "idempotent", "unsafe"])
def test_only_the_end_of_the_last_call_goes_with_what_its_run_writes_next_and_none_of_an_unsafe_one(effect: str):
    async def work(store: Store) -> None:
        held = Held(store)

        async def script(arguments: dict[str, Any], note: Any) -> ToolAnswer:
            if arguments:
                while held.writes == [2]:
                    await asyncio.sleep(0.001)
                await asyncio.sleep(0.01)
            return ok()

        calls = [call(), call(id="c2", slow=True)]
        answers = await tools_of(store, Scripted(script)).call(1, calls, [tool(effect=effect)], held.scope())
        assert [answer.status for answer in answers] == ["ok", "ok"]
        rows = await store.tool_calls(ORG).of_run(RUN)
        if effect == "unsafe":
            assert (held.writes, held.held) == ([2, 1, 1], [])
        else:
            assert [row.status for row in rows] == ["ok", "running"]
            await held.write(())
            assert held.writes == [2, 1, 1]
            rows = await store.tool_calls(ORG).of_run(RUN)
        assert [row.status for row in rows] == ["ok", "ok"]

    with_store(work)


def test_calls_that_are_stopped_before_or_while_they_run_give_their_places_back():
    async def work(store: Store) -> None:
        write, over = store.db.write, asyncio.Event()

        async def slow(statements: Sequence[Any]) -> None:
            await write(statements)
            await asyncio.sleep(0.001)

        async def script(arguments: dict[str, Any], note: Any) -> ToolAnswer:
            if arguments:
                await over.wait()
            await asyncio.sleep(0.002)
            return ok()

        store.db.write = slow  # type: ignore[method-assign]
        tools = tools_of(store, Scripted(script), per_org=2)
        async with asyncio.timeout(10):
            # One that stays, so that the org's places are remembered.
            other = asyncio.create_task(tools.call(99, [call(id="c99", stays=True)], [tool()], scope()))
            await asyncio.sleep(0.01)
            for steps in range(60):
                task = asyncio.create_task(tools.call(steps, [call(), call(id="c2")], [tool()], scope()))
                for _ in range(steps):
                    await asyncio.sleep(0 if steps % 2 else 0.0005)
                task.cancel()
                await asyncio.wait([task])
            [answer] = await tools.call(100, [call()], [tool()], scope())
            over.set()
            await other
        assert answer.status == "ok"
        assert not tools._orgs

    with_store(work)


@pytest.mark.parametrize("harmless", [True, False])
@pytest.mark.parametrize(
    ("kind", "effect"), [("agent", "unsafe"), ("agent", "pure"), ("http", "pure"), ("http", "unsafe")]
)
def test_that_our_store_is_away_is_no_answer_of_what_can_be_asked_again(kind: str, effect: str, harmless: bool):
    """The run ends so, and whoever goes on with it asks again; an unsafe call only where nothing was done."""

    async def work(store: Store) -> None:
        down = [True]

        async def script(arguments: dict[str, Any], note: Any) -> ToolAnswer:
            if not down:
                return ok()
            error = StoreDown()
            error.harmless = harmless
            raise error

        offered, held = [tool(kind=kind, effect=effect)], list[Any]()
        scripted = Scripted(script)
        journal = store.tool_calls(ORG)
        tools, told = tools_of(store, scripted), scope(hold=held.append)
        if (kind, effect, harmless) == ("http", "unsafe", False):  # it may have been made, and is not made again
            [answer] = await tools.call(1, [call()], offered, told)
            assert (answer.status, answer.error) == ("failed", "store_unavailable")
            return
        with pytest.raises(StoreDown):
            await tools.call(1, [call()], offered, told)
        await store.db.write(held)  # with the end of the run
        [row] = await journal.of_run(RUN)
        assert (row.status, row.error) == (("failed", "cancelled") if harmless else ("running", None))
        down.clear()
        [answer] = await tools.call(1, [call()], offered, told)
        again = harmless or effect != "unsafe"
        assert (answer.status, len(scripted.ran)) == (("ok", 2) if again else ("in_doubt", 1))

    with_store(work)
