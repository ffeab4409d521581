from __future__ import annotations

import importlib
import sys
from pathlib import Path

import pytest

from midstream.core.registry import modules_of


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    package = tmp_path / "kinds_of_things"
    package.mkdir()
    (package / "__init__.py").write_text("")
    monkeypatch.syspath_prepend(str(tmp_path))
    yield package
    for name in [name for name in sys.modules if name.startswith("kinds_of_things")]:
        del sys.modules[name]


def test_a_new_file_is_found_without_telling_anybody(folder: Path):
    (folder / "apple.py").write_text("COLOUR = 'red'")
    (folder / "pear.py").write_text("COLOUR = 'green'")
    found = modules_of(importlib.import_module("kinds_of_things"))
    assert {name: module.COLOUR for name, module in found.items()} == {"apple": "red", "pear": "green"}


def test_a_file_with_an_underscore_is_the_packages_own_business(folder: Path):
    (folder / "_shared.py").write_text("raise AssertionError")
    assert modules_of(importlib.import_module("kinds_of_things")) == {}


def test_a_file_that_cannot_be_imported_is_not_passed_over(folder: Path):
    (folder / "broken.py").write_text("raise ValueError('broken')")
    with pytest.raises(ValueError, match="broken"):
        modules_of(importlib.import_module("kinds_of_things"))
