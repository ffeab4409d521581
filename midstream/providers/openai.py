"""OpenAI's Chat Completions."""

from __future__ import annotations

import re
from collections.abc import Mapping

from ..core.agents import Range
from ..core.turn import Asked, Plan
from ..wire.openai_chat import Quirks, write_ask
from ._chat import EDITING, chat_service
from ._parameters import taken
from ._spares import spare

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


#: What only OpenAI's own models are called; those that it tuned for somebody are `ft:...`.
CLAIMS = re.compile(r"(ft:)?(gpt-(?!oss)|chatgpt-|o\d|text-embedding-|dall-e-|whisper-|tts-|davinci|babbage)")
_PLAIN_TAKES = taken()
_REASONING_TAKES = {
    **dict.fromkeys(_PLAIN_TAKES),
    **{name: _PLAIN_TAKES[name] for name in ("response_count", "max_tokens")},
}


def parameters(model: str) -> Mapping[str, Range | None]:
    return _REASONING_TAKES if _REASONS.match(model) else _PLAIN_TAKES


SERVICE = chat_service(
    base_url="https://api.openai.com/v1",
    key_env="OPENAI_API_KEY",
    url_env="OPENAI_BASE_URL",
    vendor="openai",
    write=_write,
    drawing=EDITING,
    parameters=parameters,
    claims=CLAIMS,
    spare=spare,
)
