"""Which room may use which, and that nothing goes round in a circle."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from tests.architecture.source import PACKAGE, Module, imports, module, package_modules, resolve

#: room -> the rooms that it may import; `app`, which puts them together, may import all.
TABLE: dict[str, frozenset[str]] = {
    "core": frozenset(),
    "wire": frozenset({"core"}),
    "egress": frozenset({"core"}),
    "store": frozenset({"core"}),
    "agent": frozenset({"core"}),
    "runs": frozenset({"core", "store"}),
    "providers": frozenset({"core", "wire", "egress"}),
    "faces": frozenset({"core", "wire"}),
    "tools": frozenset({"core", "wire", "egress", "store"}),
    "media": frozenset({"core", "egress", "store"}),
    "knowledge": frozenset({"core", "store"}),
    "access": frozenset({"core", "egress", "store"}),
    "metering": frozenset({"core", "egress", "store"}),
    "delivery": frozenset({"core", "wire", "egress", "store"}),
}

#: library -> the only rooms that know it.
LIBRARIES: dict[str, frozenset[str]] = {
    "asyncpg": frozenset({"store"}),
    "sqlite3": frozenset({"store"}),
    "genai_prices": frozenset({"metering"}),
    "click": frozenset({"app"}),
    "fastapi": frozenset({"app"}),
    "starlette": frozenset({"app"}),
    "pydantic": frozenset({"app"}),
    "uvicorn": frozenset({"app"}),
    "uvloop": frozenset({"app"}),
    "httptools": frozenset({"egress", "app"}),
    "websockets": frozenset({"app"}),
    "ssl": frozenset({"egress", "store", "app"}),
}

#: Another project's client would bring its own retries, time limits and door to the network.
FOREIGN_CLIENTS = frozenset({"httpx", "httpx2", "aiohttp", "requests", "urllib3", "openai", "anthropic", "google"})

#: Modules whose presence means input, output, time or chance: not in the language, not in the codecs.
IMPURE = frozenset(
    {"asyncio", "socket", "ssl", "os", "io", "pathlib", "subprocess", "threading", "time", "random", "logging"}
)

#: Text put together in memory is neither input nor output.
IN_MEMORY = frozenset({"io.StringIO", "io.BytesIO"})

#: Identifiers need randomness from somewhere: this one module.
CHANCE = frozenset({("midstream.core.ids", "os")})

#: (module, what is imported) -> why it may wait until its function runs.
LATE: dict[tuple[str, str], str] = (
    {
        (f"midstream.app.{name}", target): "the other commands start without it"
        for name, target in (
            ("cli", "midstream.app.server.run"),
            ("cli", "midstream.app.chat.run"),
            ("cli", "midstream.app.doctor.examine"),
            ("cli", "midstream.app.listing.list_models"),
        )
    }
    | {
        (
            "midstream.app.server",
            "midstream.app.live_protocol.LiveProtocol",
        ): "its library is needed by those who listen only"
    }
    | {
        (
            "midstream.app.compose",
            "midstream.app.compose_nouns.applications",
        ): "FastAPI takes as long to load as all else, and no model's caller needs it"
    }
    | {
        ("midstream.core.json_schema", f"midstream.core.schema_checker.{name}"): "its library takes a tenth of a second"
        for name in ("first_error", "examine")
    }
    | {
        (
            "midstream.tools.python",
            "midstream.tools._sandbox_monty.MontySandbox",
        ): "its library takes a tenth of a second"
    }
)


def forbidden_rooms(modules: Iterable[Module], known: Mapping[str, Module]) -> list[str]:
    wrong = []
    for source in modules:
        if source.room == "app":
            continue
        for imported in imports(source):
            reached = resolve(imported.target, known)
            if reached is None or reached.room in {source.room, ""} | TABLE.get(source.room, frozenset()):
                continue
            wrong.append(f"{source.path}:{imported.line}: {source.room} may not import {reached.room}")
    return wrong


def forbidden_libraries(modules: Iterable[Module]) -> list[str]:
    wrong = []
    for source in modules:
        for imported in imports(source):
            library = imported.target.split(".")[0]
            if library in FOREIGN_CLIENTS or source.room not in LIBRARIES.get(library, {source.room}):
                wrong.append(f"{source.path}:{imported.line}: {library} may not be used in {source.room or 'the root'}")
    return wrong


def impure(modules: Iterable[Module]) -> list[str]:
    return [
        f"{source.path}:{imported.line}: {imported.target} in a room without input, output, clock or chance"
        for source in modules
        if source.room in {"core", "wire"}
        for imported in imports(source)
        if imported.target.split(".")[0] in IMPURE and imported.target not in IN_MEMORY
        if (source.name, imported.target) not in CHANCE
    ]


def late_imports(modules: Iterable[Module]) -> list[tuple[str, str, int]]:
    return [
        (source.name, imported.target, imported.line)
        for source in modules
        for imported in imports(source)
        if imported.function
    ]


def cycles(known: Mapping[str, Module]) -> list[str]:
    """Circles among modules by the imports at their tops, type-checking ones included."""
    edges = {
        name: sorted(
            {
                reached.name
                for imported in imports(source)
                if not imported.function and (reached := resolve(imported.target, known)) and reached is not source
            }
        )
        for name, source in known.items()
    }
    found: list[str] = []
    done: set[str] = set()
    for name in edges:
        _walk(name, edges, [], done, found)
    return found


def _walk(name: str, edges: Mapping[str, list[str]], trail: list[str], done: set[str], found: list[str]) -> None:
    if name in trail:
        found.append(" -> ".join([*trail[trail.index(name) :], name]))
    elif name not in done:
        for reached in edges[name]:
            _walk(reached, edges, [*trail, name], done, found)
        done.add(name)


def by_name(*modules: Module) -> dict[str, Module]:
    return {source.name: source for source in modules}


OURS = by_name(*package_modules())


def test_every_folder_of_the_package_is_a_room_of_the_table() -> None:
    assert {source.room for source in OURS.values()} <= {"", "app", *TABLE}


def test_rooms_import_only_what_the_table_allows() -> None:
    assert forbidden_rooms(OURS.values(), OURS) == []


def test_libraries_stay_in_their_rooms_and_foreign_clients_stay_out() -> None:
    assert forbidden_libraries(OURS.values()) == []


def test_the_language_and_the_codecs_are_pure() -> None:
    assert impure(OURS.values()) == []


def test_modules_import_each_other_in_no_circle() -> None:
    assert cycles(OURS) == []


def test_imports_stand_at_the_top_but_for_the_written_list() -> None:
    unlisted = [
        f"{name}:{line}: {target}" for name, target, line in late_imports(OURS.values()) if (name, target) not in LATE
    ]
    assert unlisted == []


def test_the_written_list_of_late_imports_has_no_dead_lines() -> None:
    assert set(LATE) <= {(name, target) for name, target, _ in late_imports(OURS.values())}


# The rules themselves: each finds what it forbids.

STORE = module("midstream.store.rows", "")
FACES = module("midstream.faces.chat", "if True:\n    from ..store import rows\n    from ..store.rows import Row\n")


def test_a_conditional_relative_import_of_a_forbidden_room_is_found() -> None:
    wrong = forbidden_rooms([FACES], by_name(FACES, STORE))
    assert wrong == [f"midstream/faces/chat.py:{line}: faces may not import store" for line in (2, 3)]


def test_an_absolute_import_inside_a_function_is_found() -> None:
    guilty = module("midstream.core.ids", "def make():\n    import midstream.store.rows\n")
    assert forbidden_rooms([guilty], by_name(guilty, STORE)) == ["midstream/core/ids.py:2: core may not import store"]
    assert late_imports([guilty]) == [("midstream.core.ids", "midstream.store.rows", 2)]


def test_a_foreign_client_and_a_library_out_of_its_room_are_found() -> None:
    guilty = module("midstream.runs.x", "import httpx\nfrom asyncpg import connect\n")
    assert len(forbidden_libraries([guilty])) == 2


def test_a_clock_in_the_codecs_is_found() -> None:
    assert len(impure([module("midstream.wire.x", "from time import monotonic\n")])) == 1


def test_a_circle_is_found() -> None:
    one = module("midstream.a", "from .b import x\n")
    two = module("midstream.b", "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from . import a\n")
    assert cycles(by_name(one, two)) == ["midstream.a -> midstream.b -> midstream.a"]


def test_the_package_was_found() -> None:
    assert f"{PACKAGE}.core.errors" in OURS
