"""OpenAI Chat Completions, as spoken by OpenAI and by the many services that follow it."""

from __future__ import annotations

from .answer_in import read_answer
from .answer_out import write_answer
from .drawings import pictures_of, read_drawing, write_drawing
from .embeddings import read_embed_ask, read_embedded, write_embed_ask, write_embedded
from .errors import read_error, write_error
from .models import read_models, write_model, write_models
from .prompt_in import offers_functions, read_ask
from .prompt_out import write_ask
from .quirks import NAME, OPENAI, Quirks
from .stream_in import StreamReader
from .stream_out import StreamWriter

__all__ = [
    "NAME", "OPENAI", "Quirks", "StreamReader", "StreamWriter", "answer_reader", "answer_writer", "offers_functions",
    "pictures_of", "read_answer", "read_ask", "read_drawing", "read_embed_ask", "read_embedded", "read_error",
    "read_models", "write_answer", "write_ask", "write_drawing", "write_embed_ask", "write_embedded", "write_error",
    "write_model", "write_models",
]  # fmt: skip

answer_reader, answer_writer = StreamReader, StreamWriter
