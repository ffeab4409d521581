"""Small enough to read: files, functions, the spine."""

from __future__ import annotations

from collections.abc import Iterable

from tests.architecture.source import Function, Module, functions, module, package_modules

FILE_LINES = 500
FUNCTION_LINES = 60
NINE_OF_TEN = 30
SPINE_LINES = 80

OURS = package_modules()


def length(function: Function) -> int:
    """Lines from `def` to the end."""
    return (function.end_lineno or function.lineno) - function.lineno + 1


def long_files(modules: Iterable[Module], limit: int = FILE_LINES) -> list[str]:
    return [f"{source.path}: {source.lines} lines" for source in modules if source.lines > limit]


def long_functions(modules: Iterable[Module], limit: int = FUNCTION_LINES) -> list[str]:
    return [
        f"{source.path}:{function.lineno}: {function.name} has {length(function)} lines"
        for source in modules
        for function in functions(source.tree)
        if length(function) > limit
    ]


def test_no_file_is_longer_than_500_lines() -> None:
    assert long_files(OURS) == []


def test_no_function_is_longer_than_60_lines() -> None:
    assert long_functions(OURS) == []


def test_nine_functions_of_ten_fit_in_30_lines() -> None:
    total = sum(1 for source in OURS for _ in functions(source.tree))
    assert len(long_functions(OURS, NINE_OF_TEN)) <= total * 0.1


def test_the_spine_is_read_in_one_look() -> None:
    spine = [source for source in OURS if source.name == "midstream.app.serve"]
    assert long_files(spine, SPINE_LINES) == []


def test_the_rules_find_what_is_too_long() -> None:
    body = "def f():\n" + "    x = 1\n" * 59
    assert long_functions([module("m", body)]) == []
    assert long_functions([module("m", body + "    x = 1\n")]) == ["m.py:1: f has 61 lines"]
    assert long_files([module("m", "\n" * 501)]) == ["m.py: 501 lines"]
