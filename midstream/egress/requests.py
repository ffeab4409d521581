"""The bytes of a request head. Nothing a caller hands in can begin a second header line or a second request."""

from __future__ import annotations

import re

from ..core.errors import BadRequest
from ..core.http import OWN_HEADERS, Outgoing
from .proxies import Proxy
from .targets import Target

_METHOD = re.compile(r"[A-Z]{1,32}")
# Checked on the joined lines: one match a request costs less than one a header.
_LINES = re.compile(r"(?:[!#$%&'*+.^_`|~0-9a-z-]+: [\t\x20-\x7e\x80-\xff]*\r\n)*")
_WITH_BODY = frozenset(("POST", "PUT", "PATCH"))
USER_AGENT = "midstream"


def finish(lines: bytes, outgoing: Outgoing) -> bytes:
    """The whole head: its lines, and how long the body is."""
    if outgoing.body or outgoing.method in _WITH_BODY:
        return b"%bcontent-length: %d\r\n\r\n" % (lines, len(outgoing.body))
    return lines + b"\r\n"


def head_lines(outgoing: Outgoing, target: Target, forward: Proxy | None) -> bytes:
    """The head of every request with this method, address and these headers, without its end.
    forward: the proxy that is given the whole URL (plain http), or None. Raises BadRequest."""
    lines = []
    encoding = agent = login = False
    for name, value in outgoing.headers:
        if name == "accept-encoding":
            encoding = True
        elif name == "user-agent":
            agent = True
        elif name == "authorization":
            login = True
        elif name in OWN_HEADERS:
            raise BadRequest(f"the header {name} is written by the server itself", param=f"headers.{name}")
        lines.append(f"{name}: {value}\r\n")
    given = "".join(lines)
    if _LINES.fullmatch(given) is None or given.count("\n") != len(lines):
        raise _bad_header(outgoing)
    if _METHOD.fullmatch(outgoing.method) is None or outgoing.method == "CONNECT":
        raise BadRequest("the HTTP method is not one that can be sent", param="method")
    own = f"host: {target.authority}\r\n"
    if not encoding:
        own += "accept-encoding: identity\r\n"
    if not agent:
        own += f"user-agent: {USER_AGENT}\r\n"
    if target.login is not None and not login:
        own += f"authorization: {target.login}\r\n"
    path = target.path
    if forward is not None:
        path = f"http://{target.authority}{path}"
        if forward.login is not None:
            own += f"proxy-authorization: {forward.login}\r\n"
    return f"{outgoing.method} {path} HTTP/1.1\r\n{own}{given}".encode("latin-1")


def _bad_header(outgoing: Outgoing) -> BadRequest:
    """Names the header, never its value: that may be a key."""
    for name, value in outgoing.headers:
        line = f"{name}: {value}\r\n"
        if _LINES.fullmatch(line) is None or line.count("\n") != 1:
            return BadRequest(
                "a header's name or value holds a character that cannot be sent", param=f"headers.{name!r}"
            )
    return BadRequest("a header cannot be sent", param="headers")
