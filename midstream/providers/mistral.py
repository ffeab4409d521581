"""Mistral's chat completions."""

from __future__ import annotations

import re

from ..wire.openai_chat import Quirks
from ._chat import Efforts, chat_service

#: Those that think only when they are told to know two words. The others refuse every word, also those that always do.
_EFFORTS: Efforts = (
    (
        re.compile(r"(mistral-small-(latest|2603|4)|mistral-medium-(latest|2604|3[.-]5|3$)|magistral-small-latest)"),
        ("none", "high"),
    ),
    (
        re.compile(
            r"open-|mixtral-|mistral-(nemo|tiny|saba|small|medium|large-(2\d{3}|3))|ministral-|codestral-|devstral-|"
            r"magistral-|pixtral-|voxtral-"
        ),
        (),
    ),
)

SERVICE = chat_service(
    base_url="https://api.mistral.ai/v1",
    key_env="MISTRAL_API_KEY",
    vendor="mistral",
    claims=re.compile(r"(open-)?(mistral-|mixtral-8x\d+b-\d{4}|ministral-|codestral-|magistral-|devstral-|pixtral-|voxtral-)"),
    quirks=Quirks(
        # max_completion_tokens and seed are renamed, the others are left out.
        lacks=frozenset(
            {
                "max_completion_tokens", "seed", "store", "user", "logprobs", "top_logprobs", "logit_bias",
                "service_tier", "verbosity", "modalities", "audio",
            }
        ),
        max_tokens="max_tokens",
        seed="random_seed",
        dimensions="output_dimension",
        max_temperature=1.5,
        required_word="any",
        developer_role=False,
        stream_options=False,
        names=False,
        prefix=True,
        short_ids=True,
        refuses=frozenset(
            {
                "refusal", "annotations", "audio", "function_call", "images", "executed_tools",
                "reasoning_content", "reasoning", "reasoning_details",
            }
        ),
        custom_tools=False,
        allowed_tools=False,
        file_urls="document_url",
        reasoning_history="thinking",
    ),
    efforts=_EFFORTS,
)  # fmt: skip
