"""The package as the architecture tests see it: modules, what they import, what they define."""

from __future__ import annotations

import ast
import subprocess
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path

from msgspec import Struct

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = "midstream"
Function = ast.FunctionDef | ast.AsyncFunctionDef


class Module(Struct, frozen=True):
    """name: dotted. path: relative to the repository, with slashes. package: is it an __init__.py?"""

    name: str
    path: str
    text: str
    tree: ast.Module
    package: bool = False

    @property
    def room(self) -> str:
        """The folder below the package that the module stands in, "" for the package itself."""
        return [*self.name.split("."), ""][1]

    @property
    def lines(self) -> int:
        return self.text.count("\n")


class Imported(Struct, frozen=True):
    """target: dotted name of what is imported, as far as it can be a module. line: where.
    function: the name of the function it stands in, "" at the top of the file."""

    target: str
    line: int
    function: str = ""


def module(name: str, text: str, *, package: bool = False) -> Module:
    path = name.replace(".", "/") + ("/__init__.py" if package else ".py")
    return Module(name, path, text, ast.parse(text, path), package)


@cache
def package_modules() -> list[Module]:
    return [_read(path) for path in sorted((ROOT / PACKAGE).rglob("*.py"))]


def _read(path: Path) -> Module:
    parts = path.relative_to(ROOT).with_suffix("").parts
    package = parts[-1] == "__init__"
    return module(".".join(parts[:-1] if package else parts), path.read_text(), package=package)


def functions(tree: ast.AST) -> Iterator[Function]:
    for node in ast.walk(tree):
        if isinstance(node, Function):
            yield node


def imports(module: Module) -> list[Imported]:
    """Every import statement, wherever it stands."""
    return list(_imports(module, module.tree, ""))


def _imports(module: Module, node: ast.AST, function: str) -> Iterator[Imported]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Import):
            for alias in child.names:
                yield Imported(alias.name, child.lineno, function)
        elif isinstance(child, ast.ImportFrom):
            origin = _origin(module, child)
            for alias in child.names:
                yield Imported(f"{origin}.{alias.name}", child.lineno, function)
        else:
            yield from _imports(module, child, child.name if isinstance(child, Function) else function)


def _origin(module: Module, node: ast.ImportFrom) -> str:
    if not node.level:
        return node.module or ""
    parts = module.name.split(".")
    above = node.level - 1 if module.package else node.level
    parts = parts[: len(parts) - above] if above else parts
    return ".".join([*parts, *([node.module] if node.module else [])])


def resolve(target: str, known: Mapping[str, Module]) -> Module | None:
    """The module of ours that an import reaches: `a.b.Name` is module a.b when there is no module a.b.Name."""
    if target in known:
        return known[target]
    return known.get(target.rpartition(".")[0])


def called(node: ast.Call) -> str:
    """The dotted name of what a call calls; "" when it is not a plain name."""
    return dotted(node.func)


def dotted(node: ast.expr) -> str:
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute):
        return f"{dotted(node.value)}.{node.attr}"
    return ""


def calls(module: Module) -> Iterator[tuple[str, ast.Call]]:
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Call):
            yield called(node), node


def repository_files(root: Path = ROOT) -> list[Path]:
    """Everything that is committed or about to be."""
    listed = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard", "-z"], cwd=root, capture_output=True, check=True, text=True
    ).stdout
    return sorted(path for name in listed.split("\0") if name and (path := root / name).is_file())
