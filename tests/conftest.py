"""What holds for the whole suite: its thousands of tests are collected without the garbage collector, and are then
nothing that it looks at. A full collection would otherwise cost a second, in the middle of whatever is tested."""

from __future__ import annotations

import gc


def pytest_configure() -> None:
    gc.disable()


def pytest_collection_finish() -> None:
    gc.freeze()
    gc.enable()
    gc.set_threshold(100_000, 20, 100)
