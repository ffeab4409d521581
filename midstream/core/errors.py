"""Everything that can go wrong, by whose fault it is and what to do next.

    MidstreamError
    ├── CallerError              the request is at fault: change it, then ask again
    │   ├── BadRequest           400  malformed or contradictory; `param` is the field's path
    │   │   └── Unhonoured       400  it cannot be done whole, and nothing may be left out (`names`)
    │   ├── Unauthenticated      401  no valid credential
    │   ├── Forbidden            403  a valid credential without the scope
    │   ├── NotFound             404  does not exist, or is not yours
    │   ├── MethodNotAllowed     405
    │   ├── Conflict             409  the object is busy or has changed
    │   ├── TooLarge             413  body, header or field over its limit
    │   ├── WrongContentType     415
    │   ├── LimitReached         429  wait `retry_after` seconds
    │   └── NotBuilt             501  a known operation that this server does not offer
    ├── UpstreamError            the provider is at fault: another attempt may do
    │   ├── Refused              it answered with an error status (kept: status, code, body)
    │   ├── KeyRefused           502  it does not take the key that it was given, as told by our own faces
    │   ├── Unreachable          502  no connection (nothing was sent)
    │   ├── Cut                  502  the answer ended before its terminal event
    │   ├── Garbled              502  the answer is not what its format allows
    │   └── TimedOut             504  one phase took longer than allowed (`phase`)
    ├── Cancelled                499  the caller went away or asked to stop
    └── OurError                 we are at fault: wait, or report it
        ├── StoreDown            503  the database cannot be used now
        ├── Busy                 503  draining, or no capacity
        └── Bug                  500  unexpected; `bug_id` finds it in the log

An error is raised to refuse before a stream began; afterwards it travels as an event (`events.Failed`).
"""

from __future__ import annotations

from collections.abc import Iterable

from .usage import Usage

#: Characters of a message or path that are told: they repeat what a caller or a provider said.
MAX_TOLD = 2048


class MidstreamError(Exception):
    """status: HTTP status. code: stable snake_case word. param: path of the offending field.
    retry_after: seconds, or None when waiting does not help. retryable: may another attempt succeed?
    message_id: of the user's message, in an agent's turn that had begun."""

    status = 500
    code = "error"
    retryable = False
    message_id = ""

    def __init__(
        self,
        message: str,
        *,
        code: str | None = None,
        param: str | None = None,
        status: int | None = None,
        retry_after: float | None = None,
    ) -> None:
        if len(message) > MAX_TOLD:
            message = message[:MAX_TOLD] + "..."
        super().__init__(message)
        self.message = message
        self.param = param if param is None else param[:MAX_TOLD]
        self.retry_after = retry_after
        if code is not None:
            self.code = code
        if status is not None:
            self.status = status


class CallerError(MidstreamError):
    status = 400
    code = "invalid_request"


class BadRequest(CallerError):
    pass


class Unhonoured(BadRequest):
    """who: it cannot do what these names ask for."""

    code = "unsupported"

    def __init__(self, who: str, names: Iterable[str]) -> None:
        self.who = who
        self.names = tuple(names)
        super().__init__(f"{who} cannot honour: {', '.join(self.names)}", param=self.names[0])


class Unauthenticated(CallerError):
    status = 401
    code = "invalid_api_key"


class Forbidden(CallerError):
    status = 403
    code = "permission_denied"


class NotFound(CallerError):
    status = 404
    code = "not_found"


class MethodNotAllowed(CallerError):
    """allowed: the methods that its path knows."""

    status = 405
    code = "method_not_allowed"
    allowed: tuple[str, ...] = ()

    @classmethod
    def of(cls, method: str, known: Iterable[str]) -> MethodNotAllowed:
        names = {*known}
        allowed = tuple(sorted({*names, "HEAD"} if "GET" in names else names))
        error = cls(f"{method} is not offered here; allowed: {', '.join(allowed)}")
        error.allowed = allowed
        return error


class Conflict(CallerError):
    status = 409
    code = "conflict"


class TooLarge(CallerError):
    status = 413
    code = "request_too_large"


class WrongContentType(CallerError):
    status = 415
    code = "unsupported_media_type"


class LimitReached(CallerError):
    """limit: {limit_type, current_usage, limit_value}, where a face shows them. since: when the window began that is
    used up, unix milliseconds."""

    status = 429
    code = "rate_limit_exceeded"
    retryable = True
    limit: dict[str, str | int] | None = None
    since: int = 0


class NotBuilt(CallerError):
    status = 501
    code = "not_implemented"


class UpstreamError(MidstreamError):
    """provider, key: the configured provider's name and the label of the key it was given, once known. staged: failed
    by what the caller asked for, so nothing is learned from it about the provider's health. told: as in
    events.Attempted. used: what the provider says it took, where no answer says so; tier: by which it then bills."""

    status = 502
    code = "upstream_error"
    retryable = True
    provider: str | None = None
    key: str | None = None
    staged = False
    told: tuple[tuple[str, str], ...] = ()
    used: Usage | None = None
    tier: str = ""


#: What a provider may say that another attempt can change (RELIABILITY.md §5.2).
RETRYABLE_STATUS = frozenset({408, 409, 429, 500, 502, 503, 504, 529})


class Refused(UpstreamError):
    """The provider answered with an error, as a status or as an event inside a 200 stream.

    kind: the provider's own error type ("rate_limit_error", "RESOURCE_EXHAUSTED", ...).
    dialect, native: the provider's format and its body, byte for byte, to be relayed to a client of that format."""

    def __init__(
        self,
        message: str,
        *,
        status: int,
        code: str | None = None,
        kind: str | None = None,
        param: str | None = None,
        retry_after: float | None = None,
        dialect: str | None = None,
        native: bytes | None = None,
    ) -> None:
        super().__init__(message, code=code, param=param, status=status, retry_after=retry_after)
        self.kind = kind
        self.dialect = dialect
        self.native = native
        self.retryable = status in RETRYABLE_STATUS


class KeyRefused(UpstreamError):
    code = "key_refused"
    retryable = False


class Unreachable(UpstreamError):
    code = "upstream_unreachable"


class Cut(UpstreamError):
    code = "upstream_cut"


class Garbled(UpstreamError):
    code = "upstream_garbled"


class TimedOut(UpstreamError):
    """phase: connect | write | first_byte | first_token | between | total."""

    status = 504
    code = "upstream_timeout"

    def __init__(self, message: str, *, phase: str) -> None:
        super().__init__(message, code=f"upstream_timeout_{phase}")
        self.phase = phase
        self.retryable = phase != "total"


class Cancelled(MidstreamError):
    status = 499
    code = "cancelled"


class OurError(MidstreamError):
    status = 503
    code = "unavailable"
    retryable = True


class StoreDown(OurError):
    """harmless: what it was raised in has done nothing that must not be done twice."""

    code = "store_unavailable"
    harmless = False

    def __init__(self, message: str = "the store is unavailable, try again", *, retry_after: float = 1.0) -> None:
        super().__init__(message, retry_after=retry_after)


class Busy(OurError):
    """refused: (provider, key) where nobody is asked because that provider has refused that key a moment ago."""

    code = "server_busy"
    refused: tuple[str, str] | None = None

    def __init__(self, message: str, *, retry_after: float = 1.0) -> None:
        super().__init__(message, retry_after=retry_after)


class Bug(OurError):
    """bug_id stands in the reply and in the log line that holds the traceback."""

    status = 500
    code = "internal_error"
    retryable = False

    def __init__(self, bug_id: str) -> None:
        super().__init__(f"unexpected error, reported as {bug_id}")
        self.bug_id = bug_id


def forget_frames(error: BaseException) -> None:
    """An error that was raised holds every frame it passed through, and those hold it: under a flood of failures
    such circles pile up faster than they are collected. Call it where the error's journey ends."""
    error.__traceback__ = error.__context__ = error.__cause__ = None
