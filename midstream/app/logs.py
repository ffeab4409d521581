"""Logs on stdout: one JSON object a line, or plain lines on a terminal."""

from __future__ import annotations

import logging
import sys
from datetime import UTC, datetime
from typing import TextIO

import msgspec

#: What every log record has; what a caller adds beside these becomes a field of the line.
_USUAL = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


class JsonLines(logging.Formatter):
    """time (RFC 3339, UTC), level, logger, message, then the record's own fields; error holds a traceback."""

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, object] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        line.update((name, value) for name, value in vars(record).items() if name not in _USUAL)
        if record.exc_info:
            line["error"] = self.formatException(record.exc_info)
        return msgspec.json.encode(line, enc_hook=str).decode()


def start_logging(level: str, stream: TextIO | None = None) -> None:
    """level: debug | info | warning | error. stream: None = standard output."""
    stream = stream or sys.stdout
    handler = logging.StreamHandler(stream)
    plain = logging.Formatter("%(asctime)s %(levelname)-7s %(name)s: %(message)s", "%H:%M:%S")
    handler.setFormatter(plain if stream.isatty() else JsonLines())
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    # Libraries say at INFO what our own lines say already; asyncpg warns of a server that is away, with a traceback
    # each second.
    for name, least in (("uvicorn", logging.WARNING), ("asyncio", logging.WARNING), ("asyncpg", logging.ERROR)):
        logging.getLogger(name).setLevel(max(least, logging.getLogger().level))
