"""Anthropic's Messages API, spoken both ways (core.dialect.Dialect).

A message that holds tool results beside other blocks becomes two: `tool`, which keeps the bytes of both, and `user`,
whose native is b"". Members of blocks and tools without a neutral word travel as State of this format."""

from __future__ import annotations

from .answer import read_answer, write_answer
from .ask_read import read_ask
from .ask_write import write_ask, write_count_ask
from .faults import read_error, write_error
from .lists import read_count, read_models, write_count, write_model, write_models
from .names import NAME
from .quirks import quirks_of
from .stream_read import MessagesReader as answer_reader
from .stream_write import MessagesWriter as answer_writer

__all__ = [
    "NAME",
    "answer_reader",
    "answer_writer",
    "quirks_of",
    "read_answer",
    "read_ask",
    "read_count",
    "read_error",
    "read_models",
    "write_answer",
    "write_ask",
    "write_count",
    "write_count_ask",
    "write_error",
    "write_model",
    "write_models",
]
