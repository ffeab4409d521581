"""Names, texts and tests of the whole repository."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable
from pathlib import Path

from tests.architecture.source import ROOT, called, package_modules, repository_files

OURS = package_modules()
TEXT = frozenset(
    {".py", ".md", ".toml", ".lock", ".yaml", ".yml", ".json", ".sh", ".c", ".ts", ".tsx", ".css", ".html", ".sql", ""}
)

#: They say where a thing was put, not what it is.
NAMES_WITHOUT_MEANING = frozenset({"utils", "util", "helpers", "helper", "common", "manager", "base", "misc", "stuff"})

#: Each has a bracket in it, that this file does not hold what it looks for.
UNFINISHED = re.compile(r"TO[D]O|FIX[M]E|XX[X]:")
REGISTRIES = re.compile(r"pypi[.]org|pythonhosted[.]org|registry[.]npmjs|deb[.]debian")
MACHINE_PATHS = re.compile(r"(?<![\w.$}/-])/(?:work|root|opt/wheels|opt/pypi|home/[a-z]+)/[\w.]")

#: Folders of tests that are not about one room.
ACROSS_ROOMS = frozenset({"architecture", "whole", "bench"})

MOCKS = frozenset({"Mock", "MagicMock", "AsyncMock", "patch", "create_autospec", "monkeypatch.setattr"})


def texts(root: Path = ROOT) -> list[tuple[str, str]]:
    """(path, content) of every committed text."""
    found = []
    for path in repository_files(root):
        if path.suffix in TEXT:
            found.append((path.relative_to(root).as_posix(), path.read_text(errors="replace")))
    return found


def lines_with(pattern: re.Pattern[str], among: Iterable[tuple[str, str]]) -> list[str]:
    return [
        f"{name}:{number}: {line.strip()[:100]}"
        for name, text in among
        for number, line in enumerate(text.splitlines(), 1)
        if pattern.search(line)
    ]


def count_tests_and_mocks(sources: Iterable[str]) -> tuple[int, int]:
    tests = mocks = 0
    for text in sources:
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test"):
                tests += 1
            elif isinstance(node, ast.Call):
                name = called(node)
                mocks += name in MOCKS or name.rpartition(".")[2] in MOCKS
    return tests, mocks


def test_nothing_is_left_unfinished() -> None:
    assert lines_with(UNFINISHED, texts()) == []


def test_no_registry_and_no_path_of_one_machine_is_written_down() -> None:
    assert lines_with(REGISTRIES, texts()) == []
    assert lines_with(MACHINE_PATHS, texts()) == []


def test_modules_are_named_for_what_they_hold() -> None:
    assert [m.path for m in OURS if NAMES_WITHOUT_MEANING & set(m.name.strip("_").split("."))] == []
    assert [m.path for m in OURS if m.name.rpartition(".")[2].strip("_") in NAMES_WITHOUT_MEANING] == []


def test_every_folder_of_tests_mirrors_a_room() -> None:
    rooms = {source.room for source in OURS} | ACROSS_ROOMS
    folders = {path.relative_to(ROOT / "tests").parts[0] for path in (ROOT / "tests").rglob("test_*.py")}
    assert folders <= rooms, folders - rooms


def test_fewer_than_five_mocks_stand_in_a_hundred_tests() -> None:
    tests, mocks = count_tests_and_mocks(path.read_text() for path in (ROOT / "tests").rglob("*.py"))
    assert mocks * 20 < tests, (mocks, tests)


def test_the_rules_find_what_they_forbid() -> None:
    text = "# TO~DO later\nurl = 'https://pypi~.org/x'\nopen('/wo~rk/main/x')\nGET /v1/work/x\n".replace("~", "")
    assert len(lines_with(UNFINISHED, [("a", text)])) == 1
    assert len(lines_with(REGISTRIES, [("a", text)])) == 1
    assert len(lines_with(MACHINE_PATHS, [("a", text)])) == 1
    assert count_tests_and_mocks(["def test_a():\n    mock.patch('x')\n    m = Mock()\n"]) == (1, 2)
