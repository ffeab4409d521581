"""Google's Gemini generateContent, spoken both ways. The model's name stands in the URL, never in a body."""

from __future__ import annotations

from .answer_in import read_answer
from .answer_out import Writer as answer_writer
from .answer_out import write_answer
from .ask_in import read_ask
from .ask_out import write_ask
from .contents_out import PLACEHOLDER
from .counting import read_count, read_count_ask, read_models, write_count, write_count_ask, write_model, write_models
from .embeddings import embeds_several, read_embed_ask, read_embedded, write_embed_ask, write_embedded
from .refusals import read_error, write_error
from .shape import NAME
from .stream_in import Reader as answer_reader

__all__ = [
    "NAME",
    "PLACEHOLDER",
    "answer_reader",
    "answer_writer",
    "embeds_several",
    "read_answer",
    "read_ask",
    "read_count",
    "read_count_ask",
    "read_embed_ask",
    "read_embedded",
    "read_error",
    "read_models",
    "write_answer",
    "write_ask",
    "write_count",
    "write_count_ask",
    "write_embed_ask",
    "write_embedded",
    "write_error",
    "write_model",
    "write_models",
]
