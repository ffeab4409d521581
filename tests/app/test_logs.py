"""A log line is one JSON object, whatever was logged."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator

import pytest

from midstream.app.logs import start_logging


@pytest.fixture(autouse=True)
def _logging_as_before() -> Iterator[None]:
    root = logging.getLogger()
    before = root.handlers[:], root.level
    yield
    root.handlers[:], root.level = before


def test_fields_of_a_record_are_fields_of_the_line() -> None:
    out = io.StringIO()
    start_logging("info", out)
    logging.getLogger("a.b").warning("two\nlines of %s", "text", extra={"request_id": "req_1", "thing": object})
    logging.getLogger("a.b").debug("not shown")
    [line] = out.getvalue().splitlines()
    said = json.loads(line)
    assert (said["level"], said["logger"], said["message"]) == ("warning", "a.b", "two\nlines of text")
    assert said["request_id"] == "req_1"
    assert said["time"].endswith("+00:00")


def test_a_traceback_stays_in_its_line() -> None:
    out = io.StringIO()
    start_logging("error", out)
    try:
        raise ValueError("why")
    except ValueError:
        logging.getLogger("x").exception("failed")
    [line] = out.getvalue().splitlines()
    assert "ValueError: why" in json.loads(line)["error"]


def test_a_person_at_a_terminal_gets_plain_lines() -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    out = Terminal()
    start_logging("info", out)
    logging.getLogger("x").info("hello")
    assert "INFO" in out.getvalue()
    assert "{" not in out.getvalue()


def test_the_driver_of_a_database_that_is_away_fills_no_log() -> None:
    out = io.StringIO()
    start_logging("info", out)
    logging.getLogger("asyncpg.pool").warning("Failed to restore the pool", exc_info=OSError("refused"))
    assert not out.getvalue()
