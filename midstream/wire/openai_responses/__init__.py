"""OpenAI Responses (`/v1/responses`), read and written in both roles."""

from .answer import read_answer
from .answer_reader import answer_reader
from .failures import read_error, write_error
from .grammar import NAME
from .write_ask import Quirks, write_ask

__all__ = ["NAME", "Quirks", "answer_reader", "read_answer", "read_error", "write_ask", "write_error"]
