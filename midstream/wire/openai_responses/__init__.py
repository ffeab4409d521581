"""OpenAI Responses (`/v1/responses`), read and written in both roles.

Fields that need state (store, previous_response_id, conversation, background) are left to the face that keeps it."""

from .answer import read_answer
from .answer_reader import ResponsesReader as answer_reader
from .answer_writer import ResponsesWriter as answer_writer
from .answer_writer import write_answer
from .failures import read_error, write_error
from .grammar import NAME
from .read_ask import read_ask
from .response_object import Echo, echo_of
from .write_ask import write_ask

__all__ = [
    "NAME", "Echo", "answer_reader", "answer_writer", "echo_of", "read_answer", "read_ask", "read_error",
    "write_answer", "write_ask", "write_error",
]  # fmt: skip
