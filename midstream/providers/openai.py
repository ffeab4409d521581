"""OpenAI's Chat Completions."""

from __future__ import annotations

import re

from ..core.turn import Asked, Plan
from ..wire.openai_chat import Quirks, write_ask
from ._chat import chat_service

#: What only other services put into an answer.
_FOREIGN = frozenset({"reasoning_content", "reasoning", "reasoning_details", "images", "executed_tools"})
_PLAIN = Quirks(forwards_store=True, refuses=_FOREIGN)
#: The reasoning models sample as they see fit and refuse to be told otherwise. Only a caller of another dialect is
#: spared that: who speaks OpenAI's own is told by OpenAI.
_REASONING = Quirks(
    forwards_store=True,
    refuses=_FOREIGN,
    lacks=frozenset(
        {
            "temperature", "top_p", "presence_penalty", "frequency_penalty", "logprobs", "top_logprobs", "logit_bias",
        }
    ),
)  # fmt: skip
_REASONS = re.compile(r"^(o\d|gpt-5(?!.*chat))")


def _write(plan: Plan) -> Asked:
    reasons = plan.turn.dialect != SERVICE.dialect.NAME and _REASONS.match(plan.model)
    return write_ask(plan, _REASONING if reasons else _PLAIN)


SERVICE = chat_service(
    base_url="https://api.openai.com/v1",
    key_env="OPENAI_API_KEY",
    url_env="OPENAI_BASE_URL",
    vendor="openai",
    write=_write,
)
