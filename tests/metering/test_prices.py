from __future__ import annotations

import resource
from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import genai_prices.types as theirs
import msgspec
import pytest
from genai_prices import data
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from midstream import providers
from midstream.core.registry import modules_of
from midstream.core.serving import Target
from midstream.core.usage import Inner, Usage
from midstream.metering.prices import CLASSES, Prices, cost, price_table
from midstream.metering.prices import _sheet as sheet

VENDORS = {provider.id: provider for provider in data.providers}
#: Those that a provider of ours is billed by.
OURS = sorted({module.SERVICE.vendor for module in modules_of(providers).values()} & set(VENDORS))
DAYS = (datetime(2024, 1, 1, 12, 10, tzinfo=UTC), datetime(2026, 7, 15, 12, 10, tzinfo=UTC))
#: What was used, and the same in the words of the package that the prices come from.
USED: dict[str, tuple[Usage, theirs.Usage]] = {
    "plain": (Usage(uncached_in=1000, out_text=500), theirs.Usage(input_tokens=1000, output_tokens=500)),
    "cached": (
        Usage(uncached_in=1000, cache_read=3000, cache_write_5m=700, out_text=500, out_reasoning=40),
        theirs.Usage(
            input_tokens=4700, cache_read_tokens=3000, cache_write_tokens=700, output_tokens=540,
            output_reasoning_tokens=40,
        ),
    ),
    "one hour": (
        Usage(uncached_in=1000, cache_write_5m=10, cache_write_1h=700, out_text=500),
        theirs.Usage(input_tokens=1710, cache_write_tokens=710, cache_write_1h_tokens=700, output_tokens=500),
    ),
    "audio": (
        Usage(uncached_in=1000, audio_in=700, out_text=500, audio_out=300),
        theirs.Usage(input_tokens=1700, input_audio_tokens=700, output_tokens=800, output_audio_tokens=300),
    ),
    "cached audio": (
        Usage(uncached_in=1000, cache_read=30, audio_in=700, cache_audio_read=300, out_text=500),
        theirs.Usage(
            input_tokens=2030, cache_read_tokens=330, input_audio_tokens=1000, cache_audio_read_tokens=300,
            output_tokens=500,
        ),
    ),
    "image": (
        Usage(uncached_in=1000, image_in=700, out_text=500, image_out=300),
        theirs.Usage(input_tokens=1700, input_image_tokens=700, output_tokens=800, output_image_tokens=300),
    ),
    "video": (
        Usage(uncached_in=1000, video_in=700, out_text=500),
        theirs.Usage(input_tokens=1700, input_video_tokens=700, output_tokens=500),
    ),
    "at 200,000": (
        Usage(uncached_in=100_000, cache_read=100_000, out_text=500),
        theirs.Usage(input_tokens=200_000, cache_read_tokens=100_000, output_tokens=500),
    ),
    "above 200,000": (
        Usage(uncached_in=150_000, cache_read=50_001, out_text=500),
        theirs.Usage(input_tokens=200_001, cache_read_tokens=50_001, output_tokens=500),
    ),
    "searches": (
        Usage(uncached_in=1000, searches=3, out_text=500),
        theirs.Usage(input_tokens=1000, web_searches=3, output_tokens=500),
    ),
}  # fmt: skip
#: Billed by the prompt that was searched for (source: ai.google.dev/gemini-api/docs/google-search); the package has one
#: word for both prices, and leaves it to its caller to count what is billed.
BY_PROMPT = {
    "gemini-2.0-flash", "gemini-2.5-flash", "gemini-2.5-flash-lite", "gemini-2.5-flash-preview", "gemini-2.5-pro",
}  # fmt: skip


def billed(model: str, used: theirs.Usage) -> theirs.Usage:
    return theirs.Usage(**{**used.__dict__, "web_searches": 1}) if used.web_searches and model in BY_PROMPT else used


def named(vendor: str) -> Iterator[Any]:
    """The vendor's models whose id is also a name that callers use."""
    for model in VENDORS[vendor].models:
        if VENDORS[vendor].find_model(model.id) is model:
            yield model


def test_all_vendors_that_a_provider_is_billed_by_are_in_the_table():
    assert OURS == ["anthropic", "google", "groq", "mistral", "openai", "openrouter"]


@pytest.mark.parametrize("vendor", OURS)
def test_costs_are_those_of_the_package_itself_for_every_model_and_kind_of_usage(table: bytes, vendor: str):
    prices = Prices(table)
    models = list(named(vendor))
    assert len(models) > 0.9 * len(VENDORS[vendor].models)
    wrong = []
    for at in DAYS:
        for model in models:
            for case, (usage, their_usage) in USED.items():
                price = model.calc_price(billed(model.id, their_usage), VENDORS[vendor], genai_request_timestamp=at)
                mine = prices(Target("any", model.id, vendor), usage, at.timestamp()).cost
                if mine is None or abs(Decimal(mine) - price.total_price) > Decimal("1e-9"):
                    wrong.append((model.id, case, mine, price.total_price))
    assert wrong == []


TIERED = [
    (vendor, model, tier)
    for vendor in OURS
    for model in named(vendor)
    for tier in sorted({value for one in model.price_variants or () for value in one.when.values()})
]


def test_a_tiers_own_prices_are_those_of_the_package_for_every_model_that_has_them(table: bytes):
    prices = Prices(table)
    now = datetime(2026, 12, 15, 12, 10, tzinfo=UTC)
    seen, wrong = set(), []
    for vendor, model, tier in TIERED:
        context = {"service_tier": tier, "speed": tier}
        for case, (usage, their_usage) in USED.items():
            used = billed(model.id, their_usage)
            priced = model.calc_price(used, VENDORS[vendor], genai_request_timestamp=now, price_context=context)
            mine = prices(Target("any", model.id, vendor), usage, now.timestamp(), tier)
            if mine.cost is None or abs(Decimal(mine.cost) - priced.total_price) > Decimal("1e-9"):
                wrong.append((model.id, tier, case, mine, priced.total_price))
            if msgspec.json.decode(mine.snapshot)["priced_as"] == tier:
                seen.add(tier)
    assert wrong == []
    assert seen >= {"flex", "priority", "fast", "default"}


def test_a_tier_without_prices_of_its_own_costs_what_is_usual_and_the_snapshot_says_so(table: bytes):
    target, usage = Target("p", "gpt-4o-mini", "openai"), Usage(uncached_in=1000)
    usual, other = (Prices(table)(target, usage, 1.78e9, tier) for tier in ("", "unheard-of"))
    assert usual.cost == other.cost
    told = msgspec.json.decode(other.snapshot)
    assert (told["service_tier"], told["priced_as"]) == ("unheard-of", "standard")
    assert "service_tier" not in msgspec.json.decode(usual.snapshot)


def test_the_operators_own_price_holds_for_every_tier(table: bytes):
    priced = Prices(table, {"p": {"*": {"input": Decimal(7)}}})(
        Target("p", "gpt-5", "openai"), Usage(uncached_in=1_000_000), 1.78e9, "flex"
    )
    assert priced.cost == "7.000000000"
    assert msgspec.json.decode(priced.snapshot)["service_tier"] == "flex"


def test_prices_by_the_time_of_day_change_at_their_minute(table: bytes):
    model = VENDORS["deepseek"].find_model("deepseek-chat")
    assert model is not None
    prices = Prices(table)
    usage, their_usage = USED["plain"]
    seen = set()
    for hour, minute in ((0, 29), (0, 31), (16, 29), (16, 31)):
        at = datetime(2026, 7, 15, hour, minute, tzinfo=UTC)
        price = model.calc_price(their_usage, VENDORS["deepseek"], genai_request_timestamp=at).total_price
        mine = prices(Target("any", "deepseek-chat", "deepseek"), usage, at.timestamp()).cost
        assert mine is not None
        assert Decimal(mine) == price
        seen.add(mine)
    assert len(seen) == 2


def test_a_dated_price_holds_from_its_day_on():
    table = {
        "version": "1",
        "vendors": {"v": [{"id": "m", "match": ["equals", "m"], "prices": [
            {"rates": {"input_mtok": "2"}}, {"start": "2026-03-01", "rates": {"input_mtok": "1"}},
        ]}]},
    }  # fmt: skip
    prices = Prices(msgspec.json.encode(table))
    before = datetime(2026, 2, 28, 23, 59, tzinfo=UTC).timestamp()
    after = datetime(2026, 3, 1, 0, 0, tzinfo=UTC).timestamp()
    used = Usage(uncached_in=1_000_000)
    assert [prices(Target("p", "m", "v"), used, at).cost for at in (before, after)] == ["2.000000000", "1.000000000"]


# By hand: the operator's own prices, USD per million tokens.
OWN = {
    "input": Decimal("3"), "cached": Decimal("0.30"), "cache_write": Decimal("3.75"), "cache_write_1h": Decimal("6"),
    "output": Decimal("15"), "reasoning": Decimal("20"), "web_searches": Decimal("10"),
}  # fmt: skip


@pytest.mark.parametrize(
    "usage, expected",
    [
        (Usage(uncached_in=1_000_000), "3.000000000"),
        (Usage(cache_read=1_000_000), "0.300000000"),
        (Usage(cache_write_5m=1_000_000, cache_write_1h=1_000_000), "9.750000000"),
        (Usage(out_text=1_000_000, out_reasoning=1_000_000), "35.000000000"),
        (Usage(audio_in=1_000_000, image_in=1_000_000), "6.000000000"),
        (Usage(searches=2), "0.020000000"),
        (Usage(uncached_in=7, cache_read=1024, out_text=31, out_reasoning=5), "0.000893200"),
        (Usage(), "0.000000000"),
    ],
)
def test_the_operators_own_prices_make_the_cost_of_a_hand_ledger(usage: Usage, expected: str):
    prices = Prices(b"{}", {"local": {"*": OWN}})
    assert prices(Target("local", "m", ""), usage, 1.78e9).cost == expected


def test_a_prompt_that_was_searched_for_is_billed_once_up_to_gemini_2_5_and_by_the_search_from_gemini_3_on(
    table: bytes,
):
    prices = Prices(table)
    costs = {
        model: [prices(Target("p", model, "google"), Usage(searches=count), 1.78e9).cost for count in (0, 1, 3)]
        for model in ("gemini-2.5-flash", "gemini-2.5-pro", "gemini-3-pro-preview")
    }
    assert costs == {
        "gemini-2.5-flash": ["0.000000000", "0.035000000", "0.035000000"],
        "gemini-2.5-pro": ["0.000000000", "0.035000000", "0.035000000"],
        "gemini-3-pro-preview": ["0.000000000", "0.014000000", "0.042000000"],
    }
    own = Prices(b"{}", {"p": {"*": {"grounded_prompts": Decimal(20)}}})
    assert own(Target("p", "m", "google"), Usage(searches=3), 1.78e9).cost == "0.020000000"


def test_sound_from_a_cache_has_its_own_price(table: bytes):
    # by hand: 300 tokens at 0.10, 40 of text at 0.03, 700 of sound at 1.00, 400 of text at 0.30, 50 of output at 2.50
    used = Usage(uncached_in=400, cache_read=40, audio_in=700, cache_audio_read=300, out_text=50)
    assert Prices(table)(Target("p", "gemini-2.5-flash", "google"), used, 1.78e9).cost == "0.000976200"


def test_video_has_its_own_price_where_a_model_has_one(table: bytes):
    used = Usage(video_in=100_000)
    assert Prices(table)(Target("p", "gemini-embedding-2", "google"), used, 1.78e9).cost == "1.200000000"
    assert Prices(table)(Target("p", "gemini-2.5-flash", "google"), used, 1.78e9).cost == "0.030000000"
    own = Prices(b"{}", {"p": {"*": {"input": Decimal(1), "input_video": Decimal(3)}}})
    assert own(Target("p", "m", "google"), used, 1.78e9).cost == "0.300000000"


def test_an_operators_price_wins_over_the_table_and_a_models_own_over_the_rest(table: bytes):
    own = {"up": {"*": {"input": Decimal(7)}, "gpt-4o": {"input": Decimal(9)}}}
    prices = Prices(table, own)
    used = Usage(uncached_in=1_000_000)
    assert prices(Target("up", "gpt-4o", "openai"), used, 1.78e9).cost == "9.000000000"
    assert prices(Target("up", "gpt-4o-mini", "openai"), used, 1.78e9).cost == "7.000000000"
    assert prices(Target("other", "gpt-4o-mini", "openai"), used, 1.78e9).cost == "0.150000000"


@pytest.mark.parametrize("family, model", [("openai", "nobody-knows-it"), ("", "gpt-4o"), ("nobody", "gpt-4o")])
def test_a_model_without_a_known_price_has_no_cost_rather_than_a_wrong_one(table: bytes, family: str, model: str):
    assert Prices(table)(Target("p", model, family), Usage(uncached_in=1), 1.78e9).cost is None


def test_a_server_of_ones_own_is_not_billed_by_the_vendor_whose_model_it_runs(table: bytes):
    target = Target("local", "openai/gpt-oss-120b", "")
    assert Prices(table)(target, Usage(uncached_in=1000), 1.78e9).cost is None


def test_a_vendors_model_behind_an_aggregator_is_found_by_its_own_name(table: bytes):
    priced = Prices(table)(Target("p", "openai/gpt-4o-2024-11-20", "openrouter"), Usage(uncached_in=1_000_000), 1.78e9)
    assert priced.cost == "2.500000000"


def test_calls_within_a_call_are_charged_each_by_itself_at_its_own_models_price(table: bytes):
    """A compaction beside a long prompt does not lift either into the price of long prompts."""
    prices, target = Prices(table), Target("p", "claude-sonnet-4-5", "anthropic")
    own = Usage(uncached_in=150_000, out_text=1000)
    compaction = Inner("", Usage(uncached_in=160_000, out_text=3500))
    advice = Inner("claude-opus-4-5", Usage(uncached_in=5000, cache_read=100, out_text=800))
    priced = prices(target, own + compaction.usage + advice.usage, 1.78e9, inner=(compaction, advice))
    parts = [
        prices(target, own, 1.78e9),
        prices(target, compaction.usage, 1.78e9),
        prices(replace(target, model=advice.model), advice.usage, 1.78e9),
    ]
    assert Decimal(priced.cost or 0) == sum(Decimal(one.cost or 0) for one in parts)
    told = msgspec.json.decode(priced.snapshot)
    assert [told["model"], *(one["model"] for one in told["inner"])] == [
        "claude-sonnet-4-5", "claude-sonnet-4-5", "claude-opus-4-5",
    ]  # fmt: skip
    unknown = Inner("claude-of-tomorrow", Usage(out_text=1))
    assert prices(target, own + unknown.usage, 1.78e9, inner=(unknown,)).cost is None
    # An estimate in their place does not hold them.
    assert prices(target, Usage(out_text=5), 1.78e9, inner=(compaction,)) == prices(target, Usage(out_text=5), 1.78e9)


def test_the_snapshot_says_which_prices_were_used(table: bytes):
    priced = Prices(table)(Target("p", "gpt-4o-mini", "openai"), Usage(uncached_in=1), 1.78e9)
    snapshot = msgspec.json.decode(priced.snapshot)
    assert snapshot["source"].startswith("genai-prices ")
    assert snapshot["model"] == "gpt-4o-mini"
    assert snapshot["usd_per_million"]["input"] == "0.15"
    own = Prices(table, {"p": {"*": {"input": Decimal("0.1")}}})(Target("p", "m", ""), Usage(), 1.78e9)
    assert msgspec.json.decode(own.snapshot)["source"] == "midstream.toml"


counts = st.integers(0, 10**9)
usages = st.builds(Usage, **dict.fromkeys(CLASSES, counts), searches=st.integers(0, 1000))


@given(usages, usages)
def test_the_cost_of_two_calls_is_the_sum_of_their_costs(one: Usage, two: Usage):
    flat = sheet({word: "1.25" for words in CLASSES.values() for word in words}, "test", "m")
    total = Decimal(cost(flat, one)) + Decimal(cost(flat, two))
    assert abs(Decimal(cost(flat, one + two)) - total) <= Decimal("1e-9")


rates = st.dictionaries(
    st.sampled_from(
        [
            "input",
            "cache_read",
            "cache_write",
            "output",
            "output_reasoning",
            "input_audio",
            "web_searches",
            "grounded_prompts",
            "cache_audio_read",
            "input_video",
        ]
    ),
    st.decimals(0, 1000, places=9).map(str) | st.decimals(0, 1, places=12).map(str),
)
counts = st.integers(0, 10**9)


@given(rates, st.builds(Usage, *[counts] * 13))
def test_a_cost_in_whole_numbers_is_the_decimal_one(words: dict[str, str], usage: Usage):
    priced = sheet(words, "here", "m")
    assert cost(priced, usage) == cost(msgspec.structs.replace(priced, units=None), usage)


def test_half_a_nanodollar_is_rounded_to_the_even_one():
    priced = sheet({"input": "0.0005"}, "here", "m")
    assert priced.units is not None
    assert [cost(priced, Usage(uncached_in=count)) for count in (1, 2, 3)] == [
        "0.000000000",
        "0.000000001",
        "0.000000002",
    ]


@given(st.sampled_from(sorted(CLASSES)), st.integers(1, 10**7))
def test_every_class_of_tokens_is_charged_once(name: str, count: int):
    flat = sheet({"input": "1", "output": "1"}, "test", "m")
    assert Decimal(cost(flat, Usage(**{name: count}))) == Decimal(count) / 10**6


def test_the_table_is_compiled_once_per_version_of_the_price_list(tmp_path: Path):
    first = price_table(tmp_path)
    [file] = tmp_path.iterdir()
    file.write_bytes(b"{}")
    assert first != b"{}"
    assert price_table(tmp_path) == b"{}"


def test_a_table_that_cannot_be_kept_is_used_all_the_same_and_leaves_nothing(tmp_path: Path):
    kept = price_table(tmp_path / "kept")
    (tmp_path / "no-directory").touch()
    assert price_table(tmp_path / "no-directory") == kept
    full = tmp_path / "full"
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, before[1]))
    try:
        assert price_table(full) == kept
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert not [*full.iterdir()]


def test_a_data_directory_that_the_table_is_the_first_in_is_its_owners_alone(tmp_path: Path) -> None:
    price_table(tmp_path / "data")
    assert (tmp_path / "data").stat().st_mode & 0o777 == 0o700
