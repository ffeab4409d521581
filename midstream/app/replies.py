"""What a finished or beginning run looks like to the one who asked: headers and bodies."""

from __future__ import annotations

from math import ceil
from urllib.parse import quote

from msgspec import Struct

from ..core import events
from ..core.dialect import Say
from ..core.errors import Cancelled, MethodNotAllowed, MidstreamError, NotBuilt, UpstreamError
from ..core.events import Attempted, Fold, Gave
from ..core.turn import Turn
from ..core.web import Reply
from ..runs.log import Follower
from ..runs.run import Run
from .clock import Clock
from .conversations import Opened, mentioned
from .faces import Face, called, tells_outcomes

#: Marks that parameters' names and paths are made of.
PLAIN = "._-[]$:/"
MAX_HEADER = 4096


class Reading(Struct, frozen=True):
    """One caller's reading of one run. began: steady seconds at which the request was taken up."""

    run: Run
    turn: Turn
    request_id: str
    face: Face
    opened: Opened
    began: float

    def say(self, now: float) -> Say:
        return Say(
            id=self.face.ID_PREFIX + self.run.id.removeprefix("run_"),
            created=int(now),
            model=self.turn.model,
            include_usage=self.turn.include_usage,
            function_call=self.turn.function_call,
            request_id=self.request_id,
        )

    def headers(self, attempted: Attempted | None) -> list[tuple[str, str]]:
        pairs = [("x-run-id", self.run.id), ("x-midstream-attempts", str(self.run.attempts))]
        if self.opened.id is not None:
            pairs.append(("x-conversation-id", self.opened.id))
        if attempted is not None:
            if attempted.dropped:
                pairs.append(("x-midstream-dropped-params", _listed(called(self.face, attempted.dropped))))
            pairs += attempted.told
        return pairs


def _listed(names: tuple[str, ...]) -> str:
    """Names with commas between. They are the caller's own words: what has a meaning in a header is written as %XX."""
    text = ",".join(quote(name, safe=PLAIN) for name in names)
    return text if len(text) <= MAX_HEADER else text[:MAX_HEADER] + "..."


async def whole(follower: Follower) -> tuple[Attempted | None, Fold, Gave | None]:
    """Everything of a run, folded, once its log is closed. Raises the error it ended with."""
    fold, attempted, gave, message = Fold(), None, None, ""
    follower.patient = True
    while not fold.ended:
        taken = await follower.take()
        if not taken:
            raise Cancelled("the client went away")
        fold.extend(taken)
        for event in taken:
            if type(event) is Attempted:
                attempted = event
            elif type(event) is events.Opened:
                message = event.message
            elif type(event) is Gave:
                gave = event
    if fold.error is not None:
        fold.error.message_id = message
        raise fold.error
    return attempted, fold, gave


def written(reading: Reading, attempted: Attempted | None, fold: Fold, gave: Gave | None, clock: Clock) -> Reply:
    """The reply of a run that has ended well."""
    face, turn = reading.face, reading.turn
    if fold.outcome is not None and tells_outcomes(face):
        body = face.write_outcome(turn, fold.outcome, reading.say(clock.wall()))
    elif gave is not None:
        body = face.write_result(turn, gave.result)
    else:
        body = face.DIALECT.write_answer(fold.answer(), reading.say(clock.wall()))
    spent = clock.steady() - reading.began - reading.run.upstream_seconds
    headers = reading.headers(attempted)
    headers.append(("x-midstream-overhead-us", str(max(0, round(spent * 1e6)))))
    return Reply(mentioned(body, reading.opened), headers=tuple(headers))


def error_headers(error: MidstreamError) -> tuple[tuple[str, str], ...]:
    """What a refusal says in its headers, whoever words its body."""
    headers = []
    if error.retry_after is not None:  # rounded up: who obeys may not come too soon
        headers.append(("retry-after", str(max(1, ceil(error.retry_after)))))
        headers.append(("retry-after-ms", str(ceil(round(error.retry_after * 1000, 3)))))
    if isinstance(error, MethodNotAllowed):
        headers.append(("allow", ", ".join(error.allowed)))
    if isinstance(error, UpstreamError | NotBuilt):  # our own attempts are spent, or there is nothing to try
        headers.append(("x-should-retry", "false"))
    if isinstance(error, UpstreamError):
        headers += error.told
    return tuple(headers)
