import pytest
from hypothesis import given
from hypothesis import strategies as st

from midstream.core.errors import BadRequest
from midstream.core.http import Outgoing
from midstream.egress.requests import finish, head_lines
from midstream.egress.targets import parse_target

TARGET = parse_target("http://api.example.com/v1")


def head(headers=(), method="POST", body=b"", url=None):
    outgoing = Outgoing(method, "", tuple(headers), body)
    return finish(head_lines(outgoing, parse_target(url) if url else TARGET, None), outgoing)


def test_the_head_is_exactly_this():
    assert head([("x-a", "1\t\u00e9")], body=b"abc") == (
        b"POST /v1 HTTP/1.1\r\nhost: api.example.com\r\naccept-encoding: identity\r\nuser-agent: midstream\r\n"
        b"x-a: 1\t\xe9\r\ncontent-length: 3\r\n\r\n"
    )


def test_what_the_caller_says_of_encoding_and_agent_stands():
    written = head([("accept-encoding", "gzip"), ("user-agent", "me")], "GET")
    assert written == b"GET /v1 HTTP/1.1\r\nhost: api.example.com\r\naccept-encoding: gzip\r\nuser-agent: me\r\n\r\n"


def test_an_empty_post_has_a_length_of_zero():
    assert b"content-length: 0\r\n" in head()


def test_userinfo_becomes_a_login_unless_there_is_one():
    assert b"authorization: Basic dTpw\r\n" in head(url="http://u:p@a.example/")
    written = head([("authorization", "Bearer k")], url="http://u:p@a.example/")
    assert written.count(b"authorization") == 1


@pytest.mark.parametrize(
    "pair",
    [
        ("x", "a\r\nhost: evil"),
        ("x", "a\nb"),
        ("x", "a\rb"),
        ("x", "a\0b"),
        ("x", "a\x7fb"),
        ("x", "\u0394"),
        ("x", "a\u2028b"),
        ("x\r\ny", "a"),
        ("x: 1\r\ny", "a"),
        ("x y", "a"),
        ("x:", "a"),
        ("", "a"),
        ("X-Upper", "a"),
        ("Host", "evil"),
    ],
)
def test_a_header_that_could_begin_another_is_refused_and_its_value_is_not_told(pair):
    with pytest.raises(BadRequest) as caught:
        head([("accept", "canary"), pair])
    assert "evil" not in caught.value.message
    assert "canary" not in f"{caught.value} {caught.value.param}"


@pytest.mark.parametrize(
    "name", ["host", "content-length", "connection", "transfer-encoding", "upgrade", "proxy-authorization", "expect"]
)
def test_headers_of_the_connection_are_the_egresss_own(name):
    with pytest.raises(BadRequest) as caught:
        head([(name, "1")])
    assert caught.value.param == f"headers.{name}"


@pytest.mark.parametrize("method", ["", "post", "GET /x HTTP/1.1\r\nx:", "CONNECT", "GE T"])
def test_a_method_that_is_none_is_refused(method):
    with pytest.raises(BadRequest):
        head(method=method)


@given(st.lists(st.tuples(st.text(max_size=8), st.text(max_size=12)), max_size=4))
def test_no_headers_can_add_a_line(headers):
    try:
        written = head(headers, "GET")
    except BadRequest:
        return
    lines = written.decode("latin-1").split("\r\n")
    own = 2 + len({"accept-encoding", "user-agent"} - {name for name, _ in headers})
    assert lines[-2:] == ["", ""]
    assert len(lines) == own + len(headers) + 2
    assert not {"\r", "\n", "\0"} & set("".join(lines))


@pytest.mark.parametrize("url", ["http://a.example/x\r\nhost: evil", "http://a.example/x y", "http://a.example/\0"])
def test_a_url_that_could_begin_another_request_is_refused(run, door, ask, url):
    async def go():
        async with door() as egress:
            with pytest.raises(BadRequest):
                await egress.send(ask(url))

    run(go)
