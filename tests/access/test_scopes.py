from __future__ import annotations

import pytest

from midstream.access.identify import OPERATOR, require_reader
from midstream.access.scopes import SCOPES, UNSAID, known, require
from midstream.core.errors import BadRequest, Forbidden
from midstream.core.web import Caller


def allowed(caller: Caller, *scopes: str) -> bool:
    try:
        require(caller, *scopes)
    except Forbidden:
        return False
    return True


def one(*scopes: str) -> Caller:
    return Caller("o", "key_1", frozenset(scopes), "admin" in scopes)


def test_each_scope_opens_what_it_says_and_nothing_else():
    assert [scope for scope in SCOPES if allowed(one(), scope)] == [*UNSAID]
    for word in ("chat", "embeddings", "read"):
        assert [scope for scope in SCOPES if allowed(one(word), scope)] == [word]
    assert all(allowed(one("admin"), scope) for scope in SCOPES)
    assert all(allowed(Caller("o", OPERATOR, admin=True), scope) for scope in SCOPES)


def test_one_of_several_is_enough_and_a_refusal_names_them_all():
    require(one("read"), "read", "admin")
    with pytest.raises(Forbidden, match="lacks the scope `chat` or `embeddings`"):
        require(one("read"), "chat", "embeddings")


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE", "get", "X"])
def test_a_reader_changes_nothing(method: str):
    require_reader(one("read"), "GET")
    require_reader(one("read"), "HEAD")
    require_reader(one("admin"), method)
    for caller in (one("read"), one("chat"), one()):
        with pytest.raises(Forbidden):
            require_reader(caller, method)
    for caller in (one("chat"), one()):
        with pytest.raises(Forbidden):
            require_reader(caller, "GET")


@pytest.mark.parametrize("word", ["", "Chat", "chat ", "admins", "*", "a admin"])
def test_a_word_that_is_no_scope_is_refused_with_those_that_are(word: str):
    known([*SCOPES])
    with pytest.raises(BadRequest, match="chat, embeddings, read, admin") as refused:
        known(["chat", word])
    assert refused.value.param == "scopes.1"
