"""Compiles the prices that the genai-prices package holds to one JSON table, in a process of its own: the package
costs 40 MB and a third of a second to import, the table milliseconds.

    python -m midstream.metering.compile_prices >OUT"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable
from importlib.metadata import version
from typing import Any

import msgspec
from genai_prices import data
from genai_prices.types import (
    ClauseAnd,
    ClauseContains,
    ClauseEndsWith,
    ClauseEquals,
    ClauseOr,
    ClauseRegex,
    ClauseStartsWith,
    StartDateConstraint,
    TieredPrices,
    TimeOfDateConstraint,
)

#: What the package calls the tier: OpenAI's and Google's service_tier, Anthropic's speed.
TOLD = ("service_tier", "speed")

#: Of Google's models, those that are billed once for a prompt, however often they searched for it. The package has one
#: word for that and for a price of each search.
ONCE = re.compile(r"gemini-[12]\.")


def table() -> dict[str, Any]:
    """{version, vendors: {id: [{id, match, prices: [{start, between, rates}], tiers: [{tier, ...}]}]}}; rates by the
    package's own keys, but for ONCE. tiers: rates that take the place of those in prices when the service bills by
    that tier."""
    vendors = {
        provider.id: [
            {
                "id": model.id,
                "match": _clause(model.match),
                "prices": [_by_prompt(model.id, one) for one in _prices(model.prices)],
                "tiers": [_by_prompt(model.id, one) for one in _tiers(model.price_variants or ())],
            }
            for model in provider.models
        ]
        for provider in data.providers
    }
    return {"version": version("genai-prices"), "vendors": vendors}


def _by_prompt(model: str, price: dict[str, Any]) -> dict[str, Any]:
    if not ONCE.match(model):
        return price
    words = {"web_searches_kcount": "grounded_prompts_kcount"}
    return {**price, "rates": {words.get(key, key): rate for key, rate in price["rates"].items()}}


def _clause(clause: Any) -> list[Any]:
    match clause:
        case ClauseEquals():
            return ["equals", clause.equals.lower()]
        case ClauseStartsWith():
            return ["starts", clause.starts_with.lower()]
        case ClauseEndsWith():
            return ["ends", clause.ends_with.lower()]
        case ClauseContains():
            return ["contains", clause.contains.lower()]
        case ClauseRegex():
            return ["regex", clause.regex]
        case ClauseOr():
            return ["or", *map(_clause, clause.or_)]
        case ClauseAnd():
            return ["and", *map(_clause, clause.and_)]
    raise TypeError(f"a match clause that this version does not know: {clause!r}")


def _prices(prices: Any) -> list[dict[str, Any]]:
    if not isinstance(prices, list):
        return [{"rates": _rates(prices)}]
    return [{**_constraint(one.constraint), "rates": _rates(one.prices)} for one in prices]


def _tiers(variants: Iterable[Any]) -> list[dict[str, Any]]:
    """The variants that an answer tells itself: other conditions (batches, routes) are nothing that we ask for."""
    return [
        {"tier": tier, **_constraint(one.constraint), "rates": _rates(one.prices)}
        for one in variants
        for name, tier in one.when.items()
        if len(one.when) == 1 and name in TOLD
    ]


def _constraint(constraint: Any) -> dict[str, Any]:
    if isinstance(constraint, StartDateConstraint):
        return {"start": constraint.start_date.isoformat()}
    if isinstance(constraint, TimeOfDateConstraint):
        return {"between": [constraint.start_time.isoformat()[:8], constraint.end_time.isoformat()[:8]]}
    return {}


def _rates(price: Any) -> dict[str, Any]:
    return {key: _rate(value) for key, value in price.__dict__.items() if value is not None and key[0] != "_"}


def _rate(value: Any) -> Any:
    if isinstance(value, TieredPrices):
        return {"base": str(value.base), "tiers": [[tier.start, str(tier.price)] for tier in value.tiers]}
    return str(value)


if __name__ == "__main__":
    sys.stdout.buffer.write(msgspec.json.encode(table()))
