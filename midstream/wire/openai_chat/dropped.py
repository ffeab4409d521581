"""What could not be carried, by the name that its caller gave it."""

from __future__ import annotations

#: Neutral parameter -> field name, where a dialect's own differs from this dialect's.
_NAMES: dict[str, dict[str, str]] = {
    "anthropic_messages": {
        "stop": "stop_sequences",
        "thinking": "thinking",
        "effort": "output_config.effort",
        "format": "output_format",
        "user": "metadata.user_id",
        "parallel_tools": "tool_choice.disable_parallel_tool_use",
        "reasoning": "thinking",
        "show": "thinking.display",
    },
    "openai_responses": {
        "max_tokens": "max_output_tokens",
        "thinking": "reasoning",
        "effort": "reasoning",
        "format": "text.format",
        "verbosity": "text.verbosity",
    },
    "gemini": {
        "max_tokens": "maxOutputTokens",
        "top_p": "topP",
        "top_k": "topK",
        "stop": "stopSequences",
        "n": "candidateCount",
        "logprobs": "responseLogprobs",
        "top_logprobs": "logprobs",
        "frequency_penalty": "frequencyPenalty",
        "presence_penalty": "presencePenalty",
        "thinking": "thinkingConfig",
        "effort": "thinkingConfig",
        "show": "thinkingConfig.includeThoughts",
        "format": "responseSchema",
        "modalities": "responseModalities",
        "audio": "speechConfig",
        "reasoning": "thought",
    },
}
_OURS = {
    "thinking": "reasoning_effort",
    "effort": "reasoning_effort",
    "format": "response_format",
    "parallel_tools": "parallel_tool_calls",
    "cache_key": "prompt_cache_key",
    "show": "reasoning.exclude",
}


class Dropped:
    """Collects names, each once, in order."""

    def __init__(self, dialect: str) -> None:
        self._names = _NAMES.get(dialect, {})
        self._dropped: dict[str, None] = {}

    def add(self, name: str) -> None:
        """name: a neutral parameter's, or a caller's own field."""
        self._dropped[self.word(name)] = None

    def add_part(self, kind: str) -> None:
        """A part of this kind, which may have the name of a parameter (audio)."""
        self._dropped[kind] = None

    def word(self, name: str) -> str:
        """The caller's word for it."""
        return self._names.get(name) or _OURS.get(name, name)

    def names(self) -> tuple[str, ...]:
        return tuple(self._dropped)
