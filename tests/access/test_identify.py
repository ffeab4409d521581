from __future__ import annotations

import asyncio
from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from midstream.access import identify as identify_module
from midstream.access.identify import BELIEVE, OPERATOR, Identify, credential, require_admin, require_operator
from midstream.core.errors import Forbidden, StoreDown, Unauthenticated
from midstream.core.web import Caller
from midstream.store.keys import ApiKey

ADMIN = "ms-the-operators-own-key"
NOW = 1_000_000.0


def key_of(name: str, **more: object) -> ApiKey:
    return ApiKey(f"key_{name}", f"org_{name}", name, "ms-abc", frozenset(), NOW, **more)  # type: ignore[arg-type]


class Door:
    """An identifier over keys that the test holds; time passes by hand, and the clock of the wall may be set
    to another. asked: how often the store was."""

    def __init__(self, keys: Mapping[str, ApiKey] | None = None, admin: str = ADMIN) -> None:
        self.keys = dict(keys or {})
        self.now = NOW
        self.set_by = 0.0
        self.asked = 0
        self.down = False
        self.identify = Identify(admin, "org_default", self._find, lambda: self.now + self.set_by, lambda: self.now)

    async def _find(self, secret: str) -> ApiKey | None:
        self.asked += 1
        if self.down:
            raise StoreDown
        return self.keys.get(secret)

    def __call__(self, secret: str) -> Caller:
        return asyncio.run(self.identify({"authorization": f"Bearer {secret}"}))


@pytest.mark.parametrize(
    "headers",
    [
        {"authorization": "Bearer s3cret"},
        {"authorization": "bearer  s3cret "},
        {"x-api-key": "s3cret"},
        {"api-key": "s3cret"},
        {"x-goog-api-key": "s3cret"},
        {"authorization": "Basic dXNlcjpwYXNz", "x-api-key": "s3cret"},
        {"authorization": "Bearer ", "x-api-key": "s3cret"},
    ],
)
def test_a_secret_is_found_wherever_a_client_puts_it(headers: dict[str, str]):
    assert credential(headers, None) == "s3cret"


def test_a_secret_in_the_address_counts_only_where_the_address_is_given():
    assert credential({}, {"key": "s3cret"}) == "s3cret"
    for query in (None, {}, {"key": ""}, {"other": "x"}):
        with pytest.raises(Unauthenticated):
            credential({}, query)


@pytest.mark.parametrize(
    "headers",
    [
        {}, {"authorization": ""}, {"authorization": "Bearer"}, {"authorization": "Bearer "},
        {"authorization": "Basic dXNlcjpwYXNz"}, {"x-consumer-id": "42"}, {"x-credential-identifier": "root"},
        {"x-user-id": "root"},
    ],
)  # fmt: skip
def test_no_other_header_is_a_credential(headers: dict[str, str]):
    with pytest.raises(Unauthenticated):
        credential(headers, None)


def test_the_admin_key_works_without_a_store():
    door = Door()
    door.down = True
    caller = door(ADMIN)
    assert (caller.key_id, caller.admin, caller.org) == (OPERATOR, True, "org_default")
    assert door.asked == 0


@given(st.text(min_size=1, max_size=50))
def test_nothing_but_the_admin_key_is_the_admin_key(guess: str):
    door = Door()
    if guess.strip() == ADMIN:
        return
    with pytest.raises(Unauthenticated):
        door(guess)


@pytest.mark.parametrize("guess", [ADMIN[:-1], ADMIN + "x", ADMIN.upper(), " ", "\u00e9", "a" * 30_000])
def test_a_near_miss_of_the_admin_key_is_nobody(guess: str):
    with pytest.raises(Unauthenticated):
        Door()(guess)


def test_an_admin_key_that_was_left_empty_opens_nothing():
    door = Door(admin="")
    for headers in ({"authorization": "Bearer "}, {"x-api-key": ""}, {}):
        with pytest.raises(Unauthenticated):
            asyncio.run(door.identify(headers, {"key": ""}))


def test_a_key_is_its_org_and_its_scopes():
    door = Door({"one": key_of("one"), "boss": ApiKey("key_b", "org_b", "", "", frozenset({"admin", "chat"}), NOW)})
    assert door("one") == Caller("org_one", "key_one")
    assert door("boss") == Caller("org_b", "key_b", frozenset({"admin", "chat"}), admin=True)


def test_an_unknown_key_is_nobody_and_is_looked_up_each_time():
    door = Door()
    for _ in range(2):
        with pytest.raises(Unauthenticated):
            door("nobody")
    assert door.asked == 2


def test_a_key_that_was_just_looked_up_is_believed_for_a_moment():
    door = Door({"one": key_of("one")})
    door("one")
    door.now += BELIEVE * 0.9
    door("one")
    assert door.asked == 1
    door.now += BELIEVE * 0.2
    door("one")
    assert door.asked == 2


@pytest.mark.parametrize("gone", ["revoked", "deleted"])
def test_a_revocation_holds_within_that_moment_on_every_worker(gone: str):
    assert BELIEVE <= 1.0
    door = Door({"one": key_of("one")})
    door("one")
    door.keys = {"one": key_of("one", revoked_at=NOW)} if gone == "revoked" else {}
    door.now += BELIEVE
    with pytest.raises(Unauthenticated):
        door("one")


@pytest.mark.parametrize("set_by", [-3600.0, 3600.0])
def test_a_revocation_holds_as_soon_when_the_clock_is_set(set_by: float):
    door = Door({"one": key_of("one")})
    door("one")
    door.set_by = set_by
    door("one")
    assert door.asked == 1
    door.keys = {}
    door.now += BELIEVE
    with pytest.raises(Unauthenticated):
        door("one")


def test_a_key_is_not_believed_when_the_clock_is_set_beyond_its_end():
    door = Door({"one": key_of("one", expires_at=NOW + 60)})
    door("one")
    door.set_by = 60.0
    with pytest.raises(Unauthenticated):
        door("one")


def test_a_revocation_here_holds_at_once():
    door = Door({"one": key_of("one")})
    door("one")
    door.keys = {}
    door.identify.forget()
    with pytest.raises(Unauthenticated):
        door("one")


def test_what_was_looked_up_before_a_revocation_here_is_not_believed_after_it():
    door = Door({"one": key_of("one")})

    async def test() -> None:
        answers = asyncio.Event()

        async def slow(secret: str) -> ApiKey | None:
            found = await door._find(secret)
            await answers.wait()
            return found

        identify = Identify(ADMIN, "org_default", slow, lambda: NOW, lambda: NOW)
        asked = asyncio.create_task(identify({"x-api-key": "one"}))
        await asyncio.sleep(0)
        door.keys = {}
        identify.forget()
        answers.set()
        await asked
        with pytest.raises(Unauthenticated):
            await identify({"x-api-key": "one"})

    asyncio.run(test())


def test_a_key_is_not_believed_beyond_its_own_end():
    door = Door({"one": key_of("one", expires_at=NOW + 0.5)})
    assert door("one").key_id == "key_one"
    door.now = NOW + 0.4
    assert door("one").key_id == "key_one"
    door.now = NOW + 0.5
    with pytest.raises(Unauthenticated):
        door("one")


def test_a_store_that_is_away_is_no_refusal():
    door = Door({"one": key_of("one")})
    door.down = True
    with pytest.raises(StoreDown):
        door("one")


def test_a_thousand_tokens_that_begin_alike_are_never_mixed_up():
    prefix = "ms-" + "x" * 197
    secrets = {f"{prefix}{number}": key_of(str(number)) for number in range(1000)}
    door = Door(secrets)
    for _ in range(2):
        for secret, key in secrets.items():
            assert door(secret) == Caller(key.org_id, key.id)
    assert door.asked == 1000
    with pytest.raises(Unauthenticated):
        door(prefix)


def test_what_is_remembered_is_bounded(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(identify_module, "CACHE", 10)
    door = Door({str(number): key_of(str(number)) for number in range(100)})
    for number in range(100):
        door(str(number))
    assert len(door.identify._known) <= 10


def test_admin_routes_need_the_scope_and_the_operators_ones_the_operator():
    operator, boss, one = Caller("o", OPERATOR, admin=True), Caller("o", "key_b", admin=True), Caller("o", "key_1")
    require_admin(operator)
    require_admin(boss)
    require_operator(operator)
    for check, caller in ((require_admin, one), (require_operator, one), (require_operator, boss)):
        with pytest.raises(Forbidden):
            check(caller)


def test_a_refusal_never_repeats_the_secret():
    with pytest.raises(Unauthenticated) as refused:
        Door()("s3cret-s3cret")
    assert "s3cret" not in refused.value.message
