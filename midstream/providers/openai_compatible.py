"""Any server that speaks OpenAI Chat: llama.cpp, LM Studio, Azure, TGI, ..."""

from __future__ import annotations

from ._chat import DRAWING, LOCAL, chat_service

SERVICE = chat_service(quirks=LOCAL, keyless=True, drawing=DRAWING)
