"""The spine: how every request of every face becomes a run, and how its log becomes the answer."""

from __future__ import annotations

from functools import partial

from ..core.errors import MidstreamError
from ..core.turn import Turn
from ..core.web import Caller, Request, Route
from .exchange import Exchange
from .faces import Face
from .places import Standing
from .query_names import check_names
from .replies import Reading, whole, written
from .services import Services

#: Bytes of a JSON body.
MAX_BODY = 20 * 1024 * 1024


async def serve(services: Services, face: Face, route: Route, request: Request, exchange: Exchange) -> None:
    """Answers one request of a face. Raises MidstreamError while nothing has been said."""
    caller = await services.identify(request.headers, request.query if face.KEY_IN_QUERY else None)
    services.limits.enter(caller, route.scope)
    try:
        if face.OURS:
            check_names(request.query)  # all that our own formats know stands in the body
        await _run(services, caller, face, route.task, request, exchange)
    finally:
        services.limits.leave(caller)


async def _run(services: Services, caller: Caller, face: Face, task: str, request: Request, exchange: Exchange) -> None:
    asked = services.clock.steady()
    request.body = await exchange.body(MAX_BODY)
    exchange.began += services.clock.steady() - asked  # how long its client took to send it is no time of ours
    turn = face.read(task, request)
    if turn.agent is None:
        turn.amend = partial(services.stash.restore, caller.org)  # before anybody reads its prompt
    elif turn.agent.delivery.kind != "default":
        await exchange.reply(await services.jobs.accept(caller, turn, face, task, request))
        return
    if turn.stream:
        exchange.streams(*stream_form(face, turn))
    targets = await services.targets(caller, turn, face)
    async with services.conversations.open(caller, turn, services.keeps(turn), exchange.waiting) as opened:
        if turn.agent is None:
            order = services.order(caller, turn, face, request, targets, opened)
        else:
            order = await services.agents.order(
                caller, turn, face, request, standing=Standing(waiting=exchange.waiting)
            )
        request.body = b""  # the turn has what it needs of it
        run = services.runs.start(order)
        follower = run.log.follow()
        exchange.on_gone(follower.leave)
        reading = Reading(run, turn, request.id, face, opened, exchange.began)
        try:
            if turn.stream:
                writer = face.writer(turn, reading.say(services.clock.wall()))
                await exchange.stream(writer, follower, reading.headers)
            else:
                answered = await whole(follower)
                await exchange.reply(written(reading, *answered, services.clock))
        except MidstreamError:  # a run that failed can be looked up as well
            exchange.always += [(name.encode(), value.encode()) for name, value in reading.headers(None)]
            raise
        finally:
            follower.leave()
            await services.runs.ended(run)  # a conversation's next turn sees all of this one


def stream_form(face: Face, turn: Turn) -> tuple[str, bytes]:
    """The stream's content type, and what may stand anywhere in it without meaning anything."""
    return ("application/json", b"\n") if turn.as_array else (face.STREAM_TYPE, face.PING)
