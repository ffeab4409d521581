"""What may be done in one place only, and what may be done nowhere."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Iterator

from tests.architecture.source import Function, Module, called, calls, dotted, module, package_modules

OURS = package_modules()

#: Who answers: these words are compared in the file that bears the name, nowhere else.
PROVIDERS = frozenset(
    {"openai", "openai_response", "anthropic", "gemini", "groq", "mistral", "open_router", "midstream", "rehearsal"}
)

#: Where anything at all may be caught, once each, because somebody must be told: a request, a run, a tool.
CATCHES_ALL = frozenset({"midstream.app.edge", "midstream.runs.run", "midstream.tools._run"})

BROAD = frozenset({"", "Exception", "BaseException"})

OPENS_CONNECTIONS = frozenset(
    {"create_connection", "open_connection", "create_unix_connection", "open_unix_connection", "sock_connect",
     "HTTPConnection", "HTTPSConnection", "urlopen"}
)  # fmt: skip
OPENS_LISTENERS = frozenset({"create_server", "start_server", "start_unix_server", "create_unix_server", "listen"})

#: Code or objects made from data.
FORBIDDEN_CALLS = frozenset({"exec", "eval", "compile", "__import__", "os.system", "os.popen", "yaml.load"})
FORBIDDEN_IMPORTS = frozenset({"pickle", "marshal", "shelve", "dill", "cloudpickle", "yaml", "jinja2", "mako"})

RUNS_SQL = frozenset({"execute", "executemany", "executescript", "fetch", "fetchrow", "fetchval", "prepare", "cursor"})
SQL = re.compile(r"\s*(SELECT|INSERT|UPDATE|DELETE|REPLACE|WITH|CREATE|ALTER|DROP)\s", re.IGNORECASE)
CONSTANT = re.compile(r"_?[A-Z][A-Z0-9_]*$")


def provider_comparisons(modules: Iterable[Module]) -> list[str]:
    wrong = []
    for source in modules:
        own = source.name.rpartition(".")[2] if source.room == "providers" else ""
        for line, word in _compared_words(source.tree):
            if word in PROVIDERS and word != own:
                wrong.append(f"{source.path}:{line}: compares with {word!r}")
    return wrong


def _compared_words(tree: ast.AST) -> Iterator[tuple[int, object]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Compare):
            for side in (node.left, *node.comparators):
                yield from ((node.lineno, word) for word in _constants(side))
        elif isinstance(node, ast.MatchValue):
            yield from ((node.lineno, word) for word in _constants(node.value))
        elif isinstance(node, ast.Call) and dotted(node.func).endswith((".startswith", ".endswith")):
            yield from ((node.lineno, word) for side in node.args for word in _constants(side))


def _constants(node: ast.expr) -> Iterator[object]:
    """The constants that an expression is, or is a plain collection of: not those inside calls and subscripts."""
    if isinstance(node, ast.Constant):
        yield node.value
    elif isinstance(node, ast.Tuple | ast.List | ast.Set):
        for element in node.elts:
            yield from _constants(element)


def broad_catches(modules: Iterable[Module]) -> list[tuple[str, str, int]]:
    """(module, function, line) of each handler that takes whatever comes and does not raise it again at its end."""
    return [
        (source.name, function, handler.lineno)
        for source in modules
        for function, handler in _handlers(source.tree, "")
        if _caught(handler) & BROAD and not _raises_again(handler)
    ]


def _handlers(node: ast.AST, function: str) -> Iterator[tuple[str, ast.ExceptHandler]]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.ExceptHandler):
            yield function, child
        yield from _handlers(child, child.name if isinstance(child, Function) else function)


def _caught(handler: ast.ExceptHandler) -> set[str]:
    if handler.type is None:
        return {""}
    kinds = handler.type.elts if isinstance(handler.type, ast.Tuple) else [handler.type]
    return {dotted(kind).rpartition(".")[2] for kind in kinds if not isinstance(kind, ast.Starred)}


def _raises_again(handler: ast.ExceptHandler) -> bool:
    last = handler.body[-1]
    return isinstance(last, ast.Raise) and last.exc is None


def callers_of(modules: Iterable[Module], names: frozenset[str]) -> set[str]:
    """A bare `listen(...)` is a function of ours; the socket's is a method."""
    return {
        source.name
        for source in modules
        for name, _ in calls(source)
        if name.rpartition(".")[2] in names and name != "listen"
    }


def makes_sockets(modules: Iterable[Module]) -> set[str]:
    return {source.name for source in modules for name, _ in calls(source) if name == "socket.socket"}


def forbidden_calls(modules: Iterable[Module]) -> list[str]:
    wrong = []
    for source in modules:
        for name, node in calls(source):
            shell = any(word.arg == "shell" for word in node.keywords)
            if name in FORBIDDEN_CALLS or shell:
                wrong.append(f"{source.path}:{node.lineno}: {name}")
        wrong += [f"{source.path}:{line}: {name}" for line, name in _forbidden_imports(source.tree)]
    return wrong


def _forbidden_imports(tree: ast.AST) -> Iterator[tuple[int, str]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [node.module or ""]
        else:
            continue
        yield from ((node.lineno, name) for name in names if name.split(".")[0] in FORBIDDEN_IMPORTS)


def built_sql(modules: Iterable[Module]) -> list[str]:
    """SQL text with something put into it that is not a constant of a module."""
    wrong = set()
    for source in modules:
        for node in ast.walk(source.tree):
            given = node.args[:1] if isinstance(node, ast.Call) and called(node).rpartition(".")[2] in RUNS_SQL else []
            if any(_is_built(text) for text in given) or (isinstance(node, ast.expr) and _is_built(node, sql=True)):
                wrong.add(f"{source.path}:{node.lineno}: SQL is put together from values")
    return sorted(wrong)


def _is_built(node: ast.expr, *, sql: bool = False) -> bool:
    """Is it text with holes? sql: only when its first words are those of a statement."""
    if isinstance(node, ast.JoinedStr):
        holes = [piece.value for piece in node.values if isinstance(piece, ast.FormattedValue)]
        first: ast.expr = node.values[0] if node.values else node
    elif isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add | ast.Mod):
        first, holes = node.left, [node.right]
    elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "format":
        first, holes = node.func.value, [*node.args, *(word.value for word in node.keywords)]
    else:
        return False
    starts = isinstance(first, ast.Constant) and isinstance(first.value, str) and SQL.match(first.value)
    return (bool(starts) or not sql) and not all(_is_constant(hole) for hole in holes)


def _is_constant(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) or bool(CONSTANT.match(dotted(node).rpartition(".")[2]))


def in_room(room: str) -> list[Module]:
    return [source for source in OURS if source.room == room]


def test_no_providers_name_is_compared_outside_its_file() -> None:
    assert provider_comparisons(OURS) == []


def test_only_the_named_boundaries_catch_everything_once_each() -> None:
    broad = broad_catches(OURS)
    unlisted = [f"{name}:{line} in {function}" for name, function, line in broad if name not in CATCHES_ALL]
    assert unlisted == []
    assert sorted(name for name, _, _ in broad) == sorted(CATCHES_ALL)
    assert len(CATCHES_ALL) <= 3


def test_one_module_dials() -> None:
    dialling = callers_of(OURS, OPENS_CONNECTIONS)
    assert len(dialling) <= 1, dialling
    assert all(name.startswith("midstream.egress.") for name in dialling), dialling


def test_one_module_listens() -> None:
    listening = callers_of(OURS, OPENS_LISTENERS)
    assert len(listening) <= 1, listening
    assert makes_sockets(OURS) <= listening | callers_of(OURS, OPENS_CONNECTIONS)


def test_nothing_makes_code_or_objects_from_data() -> None:
    assert forbidden_calls(OURS) == []


def test_sql_is_never_put_together_from_values() -> None:
    assert built_sql(in_room("store")) == []


# The rules themselves: each finds what it forbids.


def test_every_kind_of_comparison_with_a_name_is_found() -> None:
    text = (
        "a == 'openai'\n"
        "b in ('groq', 'x')\n"
        "match c:\n    case 'gemini':\n        pass\n"
        "d.startswith('mistral')\n"
    )  # fmt: skip
    assert len(provider_comparisons([module("midstream.faces.x", text)])) == 4


def test_a_provider_may_compare_its_own_name() -> None:
    assert provider_comparisons([module("midstream.providers.openai", "a == 'openai'")]) == []
    assert len(provider_comparisons([module("midstream.providers.groq", "a == 'openai'")])) == 1


def test_broad_handlers_are_found_and_clean_up_that_raises_again_is_not() -> None:
    text = "def f():\n    try:\n        g()\n    except {}:\n        {}\n"
    for kind in ("Exception", "BaseException", "(ValueError, Exception)", "builtins.Exception"):
        assert broad_catches([module("m", text.format(kind, "pass"))]) == [("m", "f", 4)]
    assert broad_catches([module("m", text.format("Exception", "raise"))]) == []
    assert broad_catches([module("m", text.format("ValueError", "pass"))]) == []
    assert len(broad_catches([module("m", "try:\n    g()\nexcept:\n    pass\n")])) == 1


def test_sockets_and_servers_are_found() -> None:
    guilty = module("midstream.tools.x", "await loop.create_connection(p)\nasyncio.start_server(h)\nsocket.socket()\n")
    assert callers_of([guilty], OPENS_CONNECTIONS) == callers_of([guilty], OPENS_LISTENERS) == makes_sockets([guilty])


def test_dangerous_calls_and_imports_are_found() -> None:
    text = "import pickle\nfrom jinja2 import Template\neval('1')\nos.system('ls')\nsubprocess.run('ls', shell=True)\n"
    assert len(forbidden_calls([module("midstream.x", text)])) == 5


def test_sql_with_values_in_it_is_found_and_with_constants_is_not() -> None:
    for text in (
        "db.execute(f'SELECT {org}')",
        "db.execute('SELECT ' + org)",
        "db.execute('%s' % org)",
        "db.execute('{}'.format(org))",
        "q = f'DELETE FROM t WHERE org = {org}'",
    ):
        assert len(built_sql([module("midstream.store.x", text)])) == 1, text
    for text in ("db.execute(f'SELECT {COLUMNS}')", "db.execute('SELECT 1', org)", "x = f'selected {org}'"):
        assert built_sql([module("midstream.store.x", text)]) == [], text
