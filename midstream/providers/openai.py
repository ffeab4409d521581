"""OpenAI's Chat Completions."""

from __future__ import annotations

from collections.abc import Mapping

from msgspec.structs import replace

from ..core.agents import Range
from ..core.turn import Asked, Plan
from ..wire.openai_chat import Quirks, write_ask
from ..wire.openai_models import efforts_of, reasons, stops_at_words
from ._chat import EDITING, chat_service
from ._openai import CLAIMS, spare
from ._parameters import taken

#: What only other services put into an answer.
_FOREIGN = frozenset({"reasoning_content", "reasoning", "reasoning_details", "images", "executed_tools"})
_PLAIN = Quirks(forwards_store=True, refuses=_FOREIGN)
#: The reasoning models sample as they see fit and refuse to be told otherwise.
_SAMPLING = frozenset(
    {"temperature", "top_p", "presence_penalty", "frequency_penalty", "logprobs", "top_logprobs", "logit_bias"}
)


def _write(plan: Plan) -> Asked:
    """Only a caller of another dialect is spared what a model refuses: who speaks OpenAI's own is told by OpenAI."""
    return write_ask(plan, _PLAIN if plan.turn.dialect == SERVICE.dialect.NAME else _quirks(plan.model))


def _quirks(model: str) -> Quirks:
    efforts = efforts_of(model)
    return replace(
        _PLAIN,
        lacks=(_SAMPLING if reasons(model) else frozenset()) | (frozenset() if stops_at_words(model) else {"stop"}),
        reasoning="reasoning_effort" if efforts else None,
        efforts=efforts,
    )


_PLAIN_TAKES = taken()
_REASONING_TAKES = {
    **dict.fromkeys(_PLAIN_TAKES),
    **{name: _PLAIN_TAKES[name] for name in ("response_count", "max_tokens")},
}


def parameters(model: str) -> Mapping[str, Range | None]:
    return _REASONING_TAKES if reasons(model) else _PLAIN_TAKES


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
