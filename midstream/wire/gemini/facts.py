"""What Google says about a candidate beside its content: grounding, citations and token probabilities, both ways."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from ...core.events import Choice
from ...core.parts import Citation, Foreign, Part, State, Text
from .part_out import BESIDE
from .shape import NAME


def beside_parts(candidate: dict[str, Any]) -> list[Foreign]:
    """groundingMetadata and urlContextMetadata whole, for their issuer."""
    return [Foreign(name, State(NAME, {name: candidate[name]})) for name in BESIDE if candidate.get(name)]


def searches_in(candidates: Iterable[dict[str, Any]]) -> int:
    """How many web searches they say they made: Google bills none that is empty, and each other one once."""
    groundings = [candidate.get("groundingMetadata") for candidate in candidates]
    asked = [one.get("webSearchQueries") for one in groundings if isinstance(one, dict)]
    return len({query for queries in asked if isinstance(queries, list) for query in queries if _word(query)})


def read_citations(candidate: dict[str, Any], texts: dict[int, str]) -> dict[int, list[Citation]]:
    """Citations by the index of the text part they speak of. texts: the candidate's text parts by index.

    Google counts segments in bytes of UTF-8, ours are characters. A segment that names no text part speaks of the
    last one."""
    if not texts:
        return {}
    found: dict[int, list[Citation]] = {}
    grounding = candidate.get("groundingMetadata")
    if isinstance(grounding, dict):
        chunks = _objects(grounding.get("groundingChunks"))
        for support in _objects(grounding.get("groundingSupports")):
            segment = support.get("segment")
            segment = segment if isinstance(segment, dict) else {}
            index = _whole(segment.get("partIndex"))
            index = index if index in texts else max(texts)
            span = _span(segment, texts[index])
            numbers = support.get("groundingChunkIndices")
            for number in numbers if isinstance(numbers, list) else ():
                if isinstance(number, int) and 0 <= number < len(chunks):
                    found.setdefault(index, []).append(_grounded(chunks[number], *span))
    metadata = candidate.get("citationMetadata")
    if isinstance(metadata, dict):
        last = max(texts)
        for source in _objects(metadata.get("citations") or metadata.get("citationSources")):
            start, end = _span(source, texts[last])
            state = State(NAME, source)
            found.setdefault(last, []).append(
                Citation(_word(source.get("uri")), _word(source.get("title")), None, start, end, state)
            )
    return found


def _grounded(chunk: dict[str, Any], start: int | None, end: int | None) -> Citation:
    for source in chunk.values():
        if isinstance(source, dict):
            return Citation(_word(source.get("uri")), _word(source.get("title")), _word(source.get("text")), start, end)
    return Citation(start=start, end=end)


def _span(segment: dict[str, Any], text: str) -> tuple[int | None, int | None]:
    end = _whole(segment.get("endIndex"))
    if end is None:
        return None, None
    start = _whole(segment.get("startIndex")) or 0
    if text.isascii():
        return min(start, len(text)), min(end, len(text))
    raw = text.encode("utf-8", "surrogatepass")
    return len(raw[:start].decode("utf-8", "ignore")), len(raw[:end].decode("utf-8", "ignore"))


def _objects(value: Any) -> list[dict[str, Any]]:
    return [item if isinstance(item, dict) else {} for item in value] if isinstance(value, list) else []


def _word(value: Any) -> str | None:
    return value if isinstance(value, str) and value else None


def _whole(value: Any) -> int | None:
    return value if isinstance(value, int) and value >= 0 else None


def read_logprobs(result: Any) -> tuple[dict[str, Any], ...]:
    """logprobsResult as OpenAI Chat's token objects."""
    if not isinstance(result, dict):
        return ()
    tops = _objects(result.get("topCandidates"))
    tokens = []
    for number, chosen in enumerate(_objects(result.get("chosenCandidates"))):
        others = _objects(tops[number].get("candidates")) if number < len(tops) else []
        tokens.append({**_token(chosen), "top_logprobs": [_token(other) for other in others]})
    return tuple(tokens)


def _token(candidate: dict[str, Any]) -> dict[str, Any]:
    text = candidate.get("token")
    text = text if isinstance(text, str) else ""
    probability: Any = candidate.get("logProbability")
    small = isinstance(probability, int) and abs(probability) < 2**53
    number = float(probability) if small or isinstance(probability, float) else 0.0
    return {"token": text, "logprob": number, "bytes": list(text.encode("utf-8", "surrogatepass"))}


def write_facts(choice: Choice) -> dict[str, Any]:
    """The members beside a candidate's content; citations of other issuers become grounding."""
    out: dict[str, Any] = {}
    for part in choice.parts:
        if isinstance(part, Foreign) and part.kind in BESIDE and part.state.issuer == NAME:
            out.update(part.state.payload)
    own = [cited.state.payload for _, _, cited in _cited(choice.parts) if cited.state and cited.state.issuer == NAME]
    if own:
        out["citationMetadata"] = {"citations": own}
    if "groundingMetadata" not in out and (grounding := _write_grounding(choice.parts)):
        out["groundingMetadata"] = grounding
    if choice.logprobs:
        out["logprobsResult"] = _write_logprobs(choice.logprobs)
    return out


def _cited(parts: tuple[Part, ...]) -> list[tuple[int, str, Citation]]:
    return [
        (index, part.text, citation)
        for index, part in enumerate(parts)
        if isinstance(part, Text)
        for citation in part.citations
    ]


def _write_grounding(parts: tuple[Part, ...]) -> dict[str, Any]:
    chunks: dict[tuple[str | None, str | None], int] = {}
    supports: list[dict[str, Any]] = []
    for index, text, citation in _cited(parts):
        if citation.state is not None and citation.state.issuer == NAME:
            continue
        chunk = chunks.setdefault((citation.url or None, citation.title or None), len(chunks))
        segment: dict[str, Any] = {"partIndex": index} if index else {}
        if citation.end is not None:
            start = citation.start or 0
            segment["startIndex"] = len(text[:start].encode("utf-8", "surrogatepass"))
            segment["endIndex"] = len(text[: citation.end].encode("utf-8", "surrogatepass"))
            segment["text"] = text[start : citation.end]
        supports.append({"segment": segment, "groundingChunkIndices": [chunk]})
    return {"groundingChunks": [_web(*source) for source in chunks], "groundingSupports": supports} if supports else {}


def _web(url: str | None, title: str | None) -> dict[str, Any]:
    return {"web": {name: value for name, value in (("uri", url), ("title", title)) if value is not None}}


def _write_logprobs(tokens: tuple[Any, ...]) -> dict[str, Any]:
    objects = _objects(list(tokens))
    tops = [{"candidates": [_candidate(top) for top in _objects(one.get("top_logprobs"))]} for one in objects]
    out: dict[str, Any] = {"chosenCandidates": [_candidate(one) for one in objects]}
    if any(top["candidates"] for top in tops):
        out["topCandidates"] = tops
    return out


def _candidate(token: dict[str, Any]) -> dict[str, Any]:
    return {"token": token.get("token"), "logProbability": token.get("logprob")}
