"""docs/translation-rules.md has every rule, and the tests that it names are there."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "translation-rules.md").read_text()
RULES = 29
_NAMED = re.compile(r"^- `(tests/[\w/]+\.py)::(test_\w+)`$", re.MULTILINE)


@cache
def named_in(path: str) -> frozenset[str]:
    """Empty when there is no such file."""
    file = ROOT / path
    tree = ast.parse(file.read_text()) if file.is_file() else ast.Module([], [])
    return frozenset(node.name for node in tree.body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))


def unproven(page: str) -> list[str]:
    """Rules that name no test, tests that are not there, and lines of a list that name none."""
    found = []
    for rule in page.split("\n## ")[1:]:
        title = rule.partition("\n")[0]
        named = _NAMED.findall(rule)
        if not named:
            found.append(f"{title}: names no test")
        if len(named) != len(re.findall(r"^- ", rule, re.MULTILINE)):
            found.append(f"{title}: a line names no test")
        found += [f"{title}: no {name} in {path}" for path, name in named if name not in named_in(path)]
    return found


def test_every_rule_names_tests_that_are_there() -> None:
    assert unproven(PAGE) == []


def test_no_rule_is_missing() -> None:
    assert [int(number) for number in re.findall(r"^## (\d+)\. ", PAGE, re.MULTILINE)] == list(range(1, RULES + 1))


def test_what_is_not_there_is_found() -> None:
    here = "tests/architecture/test_rules_page.py"
    assert unproven(f"# P\n\n## 1. A\nx\n- `{here}::test_no_rule_is_missing`\n") == []
    assert unproven("# P\n\n## 1. A\nx\n") == ["1. A: names no test"]
    assert unproven(f"# P\n\n## 1. A\n- `{here}::test_gone`\n- what\n") == [
        "1. A: a line names no test",
        f"1. A: no test_gone in {here}",
    ]
    assert unproven("# P\n\n## 1. A\n- `tests/gone.py::test_gone`\n") == ["1. A: no test_gone in tests/gone.py"]
