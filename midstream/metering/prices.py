"""What a call costs: by the operator's own prices first, then by the compiled table, else what the service itself says.
Decimal, exact to 1e-9 USD."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from decimal import Decimal
from importlib.metadata import version
from operator import attrgetter, mul
from pathlib import Path
from subprocess import PIPE, run
from typing import Any

import msgspec
from msgspec import Raw, Struct
from msgspec.structs import astuple, replace

from ..core.serving import Priced, Target
from ..core.usage import Inner, Usage

MILLION = Decimal(1_000_000)
QUANTUM = Decimal("0.000000001")
#: Which rate each class of tokens is charged at, first of those that the model has.
CLASSES: dict[str, tuple[str, ...]] = {
    "uncached_in": ("input",),
    "cache_read": ("cache_read", "input"),
    "cache_audio_read": ("cache_audio_read", "cache_read", "input_audio", "input"),
    "cache_write_5m": ("cache_write", "input"),
    "cache_write_1h": ("cache_write_1h", "cache_write", "input"),
    "audio_in": ("input_audio", "input"),
    "image_in": ("input_image", "input"),
    "video_in": ("input_video", "input"),
    "out_text": ("output",),
    "out_reasoning": ("output_reasoning", "output"),
    "audio_out": ("output_audio", "output"),
    "image_out": ("output_image", "output"),
}
_counts = attrgetter(*CLASSES, "searches")
SEARCHES, GROUNDED = "web_searches", "grounded_prompts"
#: Of a dollar: what a charge is rounded to, and what most rates are whole numbers of (a token's share of a rate).
NANO, FEMTO = 10**9, 10**15
#: The words operators use in `prices = {...}` for these rates.
OWN_WORDS = {"cached": "cache_read", "cache_write_5m": "cache_write", "reasoning": "output_reasoning"}


class Rate(Struct, frozen=True):
    """USD per million tokens (per thousand searches, or prompts that were searched for). tiers: above so many input
    tokens another price holds."""

    base: Decimal
    tiers: tuple[tuple[int, Decimal], ...] = ()

    def at(self, input_tokens: int) -> Decimal:
        price = self.base
        for start, above in self.tiers:
            if input_tokens > start:
                price = above
        return price


class Sheet(Struct, frozen=True):
    """The rates of one model at one time, and how they are written down beside each charge.
    by_class: the rate of each of CLASSES. search: of a search; once: however many there were, one is charged.
    units: femtodollars for one of each of CLASSES and for a search, where each has one price and that is a whole number
    of them."""

    by_class: tuple[Rate | None, ...]
    snapshot: str
    search: Rate | None = None
    once: bool = False
    units: tuple[int, ...] | None = None


class _Conditional(Struct, frozen=True):
    rates: dict[str, Any]
    start: str | None = None
    between: tuple[str, str] | None = None

    def holds(self, at: datetime) -> bool:
        if self.start is not None and at.date().isoformat() < self.start:
            return False
        if self.between is not None:
            start, end = self.between
            now = at.time().isoformat()[:8]
            return start <= now < end if start <= end else now >= start or now < end
        return True


class _Tiered(_Conditional, frozen=True, kw_only=True):
    tier: str


class _Model(Struct, frozen=True):
    id: str
    match: list[Any]
    prices: list[_Conditional]
    tiers: list[_Tiered] = []

    def rates(self, at: datetime, tier: str) -> tuple[dict[str, Any], bool] | None:
        """(what holds then, and whether the tier has prices of its own); None before the first price."""
        plain = next((one.rates for one in reversed(self.prices) if one.holds(at)), None)
        if plain is None:
            return None
        own = [one.rates for one in self.tiers if one.tier == tier and one.holds(at)]
        rates = dict(plain)
        for one in reversed(own):  # the first that says a rate is right
            rates |= one
        return rates, bool(own)


class _Table(Struct, frozen=True):
    version: str = ""
    vendors: dict[str, list[_Model]] = {}


_BY_THE_SERVICE = '{"source":"the service\'s own answer"}'
#: In place of a sheet that has not been looked for: that a model has none is remembered too.
_NOT_YET = Sheet((), "")


class Prices:
    """own: by configured provider, then model pattern ("*" = any), then rate word -> USD per million tokens."""

    def __init__(
        self, table: bytes = b"{}", own: Mapping[str, Mapping[str, Mapping[str, Decimal]]] | None = None
    ) -> None:
        self._table = msgspec.json.decode(table, type=_Table)
        self._own = own or {}
        self._sheets: dict[tuple[str, str, str, int, str], Sheet | None] = {}

    def __call__(
        self,
        target: Target,
        usage: Usage,
        at: float,
        tier: str = "",
        billed: str = "",
        inner: Sequence[Inner] = (),
    ) -> Priced:
        """tier: by which the service says it bills; one without prices of its own costs what is usual.
        billed: what it says that the call costs, for a model without a price.
        inner: calls within it, parts of usage, each at its own model's price."""
        if not inner:
            return self._one(target, usage, at, tier, billed)
        rest = usage - sum([one.usage for one in inner], Usage())
        if min(astuple(rest)) < 0:  # an estimate does not hold them
            return self._one(target, usage, at, tier, billed)
        own = self._one(target, rest, at, tier, billed)
        others = [self._one(replace(target, model=one.model or target.model), one.usage, at, tier) for one in inner]
        total = Decimal(0)
        for priced in (own, *others):
            if priced.cost is None:
                return Priced(None)
            total += Decimal(priced.cost)
        told = msgspec.json.decode(own.snapshot) | {"inner": [Raw(one.snapshot.encode()) for one in others]}
        return Priced(f"{total:f}", msgspec.json.encode(told).decode())

    def _one(self, target: Target, usage: Usage, at: float, tier: str = "", billed: str = "") -> Priced:
        """Prices change at round times of the day, the quarter of an hour at the finest: sheets are remembered that
        long."""
        name = (target.provider, target.family, target.model, int(at) // 900, tier)
        sheet = self._sheets.get(name, _NOT_YET)
        if sheet is _NOT_YET:
            if len(self._sheets) > 10_000:
                self._sheets.clear()
            sheet = self._sheets[name] = self._find(target, datetime.fromtimestamp(at, UTC), tier)
        if sheet is None:
            return Priced(f"{Decimal(billed).quantize(QUANTUM):f}", _BY_THE_SERVICE) if billed else Priced(None)
        return Priced(cost(sheet, usage), sheet.snapshot)

    def _find(self, target: Target, at: datetime, tier: str) -> Sheet | None:
        own = self._own.get(target.provider, {})
        for pattern in (target.model, "*"):
            if pattern in own:
                words = {OWN_WORDS.get(word, word): str(price) for word, price in own[pattern].items()}
                return _sheet(words, "midstream.toml", target.model, tier)
        for vendor, model in _spellings(target):
            for entry in self._table.vendors.get(vendor, ()):
                if _matches(entry.match, model) and (found := entry.rates(at, tier)) is not None:
                    rates = {_word(key): value for key, value in found[0].items()}
                    return _sheet(rates, f"genai-prices {self._table.version}", entry.id, tier, found[1])
        return None


def cost(sheet: Sheet, usage: Usage) -> str:
    """USD as decimal text; every token is charged once, at the rate of its own class."""
    if sheet.once and usage.searches > 1:
        usage = replace(usage, searches=1)
    if sheet.units is not None:
        return _written(sum(map(mul, sheet.units, _counts(usage))))
    total = Decimal(0)
    for rate, count in zip(sheet.by_class, _counts(usage), strict=False):
        if count and rate is not None:
            total += (rate.at(usage.input_tokens) if rate.tiers else rate.base) * count
    total /= MILLION
    if usage.searches and sheet.search is not None:
        total += sheet.search.base * usage.searches / 1000
    return f"{total.quantize(QUANTUM):f}"


def _written(femtodollars: int) -> str:
    """Dollars, rounded to 1e-9, half to even."""
    nano, rest = divmod(femtodollars, FEMTO // NANO)
    if rest * 2 + (nano & 1) > FEMTO // NANO:
        nano += 1
    dollars, nano = divmod(nano, NANO)
    return f"{dollars}.{nano:09d}"


def _word(key: str) -> str:
    return key.removesuffix("_mtok").removesuffix("_kcount")


def _spellings(target: Target) -> list[tuple[str, str]]:
    """Under which vendor and name the table may know a model: as it is, and as `vendor/model`. A server of one's own
    has no vendor: what it runs under a vendor's name is not billed by that vendor."""
    if not target.family:
        return []
    vendor, slash, model = target.model.partition("/")
    plain = [(target.family, target.model)]
    return [*plain, (vendor, model)] if slash else plain


def _sheet(rates: Mapping[str, Any], source: str, model: str, tier: str = "", own: bool = False) -> Sheet:
    """own: the rates are those of the tier."""
    read = {word: _rate(value) for word, value in rates.items()}
    written: dict[str, Any] = {"source": source, "model": model}
    if tier:
        written |= {"service_tier": tier, "priced_as": tier if own else "standard"}
    written["usd_per_million"] = dict(rates)
    by_class = tuple(next((read[word] for word in words if word in read), None) for words in CLASSES.values())
    search, once = read.get(GROUNDED, read.get(SEARCHES)), GROUNDED in read
    return Sheet(by_class, msgspec.json.encode(written).decode(), search, once, _units(by_class, search))


def _units(by_class: tuple[Rate | None, ...], search: Rate | None) -> tuple[int, ...] | None:
    """See Sheet.units."""
    units = [rate.base * (FEMTO // 10**6) if rate is not None else Decimal(0) for rate in by_class]
    units.append(search.base * (FEMTO // 1000) if search is not None else Decimal(0))
    tiered = any(rate is not None and rate.tiers for rate in (*by_class, search))
    if tiered or any(unit != unit.to_integral_value() for unit in units):
        return None
    return tuple([int(unit) for unit in units])


def _rate(value: Any) -> Rate:
    if isinstance(value, dict):
        return Rate(Decimal(value["base"]), tuple((start, Decimal(price)) for start, price in value["tiers"]))
    return Rate(Decimal(value))


def _matches(clause: list[Any], model: str) -> bool:
    kind, *rest = clause
    match kind:
        case "or":
            return any(_matches(one, model) for one in rest)
        case "and":
            return all(_matches(one, model) for one in rest)
        case "regex":
            return re.search(rest[0], model) is not None
        case "equals":
            return bool(model.lower() == rest[0])
        case "starts":
            return model.lower().startswith(rest[0])
        case "ends":
            return model.lower().endswith(rest[0])
    return rest[0] in model.lower()


def table_name() -> str:
    """The file's: of this version of the price list, in the layout that is read here."""
    return f"prices-{version('genai-prices')}-3.json"


def price_table(folder: Path) -> bytes:
    """The compiled table, made once per version of the price list and kept in folder, where that can be."""
    path = folder / table_name()
    if path.exists():
        return path.read_bytes()
    compiler = [sys.executable, "-m", "midstream.metering.compile_prices"]
    table = run(compiler, check=True, timeout=60, stdout=PIPE).stdout  # noqa: S603 (our own module, no outside input)
    with suppress(OSError):  # a full disk, say: the next start makes it again
        _keep(path, table)
    return table


def _keep(path: Path, table: bytes) -> None:
    """Whole or not at all."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    draft = path.with_name(f"{path.name}.{os.getpid()}")
    try:
        draft.write_bytes(table)
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)
