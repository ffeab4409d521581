from __future__ import annotations

from typing import Any

import pytest

from midstream import providers
from midstream.app.catalog import Catalog, Served
from midstream.core.errors import NotFound
from midstream.core.registry import modules_of
from midstream.core.serving import Target
from midstream.providers._service import Provider


async def nowhere(outgoing: Any) -> Any:
    raise AssertionError("nothing is sent")


def served(name: str, kind: str, *models: str) -> Served:
    service = modules_of(providers)[kind].SERVICE
    return Served(
        Provider(name, service, nowhere, base_url="http://127.0.0.1:9", keys={"0": "a", "1": "b"}), models or ("*",)
    )


def catalog(*some: Served, **aliases: list[str]) -> Catalog:
    builtin = served("midstream", "midstream", "rehearsal")
    return Catalog({one.provider.name: one for one in (*some, builtin)}, aliases)


ALL = catalog(
    served("one", "openai_compatible", "llama-*", "exact"),
    served("two", "openai_compatible", "exact", "llama-3"),
    served("gpt", "openai"),
    served("claude", "anthropic"),
    served("flash", "gemini"),
    fast=["one/llama-3", "gpt/gpt-4o-mini", "claude-x"],
    exact=["two/exact"],
)


def found(model: str, dialect: str = "openai_chat", where: Catalog = ALL) -> list[str]:
    return [f"{target.provider}/{target.model}" for target in where.targets(model, dialect)]


@pytest.mark.parametrize(
    "model, dialect, targets",
    [
        ("fast", "openai_chat", ["one/llama-3", "gpt/gpt-4o-mini", "gpt/claude-x"]),
        ("fast", "anthropic_messages", ["one/llama-3", "gpt/gpt-4o-mini", "claude/claude-x"]),
        ("exact", "openai_chat", ["two/exact"]),  # an alias wins over a model's own name
        ("gpt/anything", "gemini", ["gpt/anything"]),
        ("gpt/with/slashes", "openai_chat", ["gpt/with/slashes"]),
        ("llama-3", "openai_chat", ["one/llama-3"]),  # two have it: the file's order
        ("llama-3", "anthropic_messages", ["one/llama-3"]),
        ("anything", "openai_chat", ["gpt/anything"]),  # the face's own dialect
        ("anything", "anthropic_messages", ["claude/anything"]),
        ("anything", "gemini", ["flash/anything"]),
        ("meta/unknown-vendor", "openai_chat", ["gpt/meta/unknown-vendor"]),
        *[
            (model, own, [target])  # no provider speaks it: the name says whose it is, else it is as OpenAI's
            for own in ("completions_v1", "agent")
            for model, target in (
                ("claude-x", "claude/claude-x"),
                ("gemini-2.5-flash", "flash/gemini-2.5-flash"),
                ("gpt-4o", "gpt/gpt-4o"),
                ("anything", "gpt/anything"),
                ("exact", "two/exact"),
                ("claude/anything", "claude/anything"),
                ("llama-3", "one/llama-3"),
            )
        ],
        ("fast", "agent", ["one/llama-3", "gpt/gpt-4o-mini", "claude/claude-x"]),
        ("midstream/rehearsal", "gemini", ["midstream/rehearsal"]),
        ("rehearsal", "openai_chat", ["midstream/rehearsal"]),
    ],
)
def test_a_name_leads_to_its_targets(model: str, dialect: str, targets: list[str]):
    assert found(model, dialect) == targets
    assert found(model, dialect) == targets  # remembered


@pytest.mark.parametrize("model", ["one/exakt", "one/other", "midstream/other"])
def test_a_provider_serves_only_what_its_list_says(model: str):
    with pytest.raises(NotFound):
        found(model)


def test_a_near_miss_is_named():
    few = catalog(served("one", "openai_compatible", "llama-3-70b"), swift=["one/llama-3-70b"])
    with pytest.raises(NotFound) as refused:
        found("one/llama-3-70", where=few)
    assert "one/llama-3-70b" in refused.value.message
    assert (refused.value.param, refused.value.code) == ("model", "model_not_found")
    with pytest.raises(NotFound) as refused:
        found("swifft", where=few)
    assert "swift" in refused.value.message
    with pytest.raises(NotFound) as refused:
        found("zzzz", where=few)
    assert "one/llama-3-70b" in refused.value.message


def test_a_target_that_nobody_serves_is_left_out_where_another_can_be_asked():
    where = catalog(
        served("one", "openai_compatible", "llama-*"),
        fast=["openai/gpt-4o-mini", "one/llama-3", "one/gone", "lama"],
        gone=["openai/gpt-4o-mini", "one/gone"],
    )
    assert found("fast", where=where) == ["one/llama-3"]
    with pytest.raises(NotFound) as refused:
        found("gone", where=where)
    assert refused.value.message.startswith(
        "the model 'gone' stands for openai/gpt-4o-mini and one/gone, and no provider here serves any of these"
    )
    assert (refused.value.param, refused.value.code) == ("model", "model_not_found")
    assert where.names() == ["fast", "midstream/rehearsal"]
    with pytest.raises(NotFound, match="OPENAI_API_KEY"):
        found("gone", where=catalog(gone=["openai/gpt-4o-mini"]))


def test_what_may_not_be_used_is_unknown_and_never_named():
    where = catalog(served("one", "openai_compatible"), team=["one/acme-7b"], teal=["one/llama-3"])
    assert found("team", where=where) == ["one/acme-7b"]  # remembered, for those who may

    def usable(target: Target) -> bool:
        return target.model != "acme-7b"

    for hidden in ("one/acme-7b", "team", "acme-7b"):
        with pytest.raises(NotFound) as refused:
            where.targets(hidden, "openai_chat", usable)
        assert f"the model '{hidden}' does not exist here" in refused.value.message
        assert refused.value.code == "model_not_found"
    for near in ("team", "tean"):
        with pytest.raises(NotFound) as refused:
            where.targets(near, "gemini", usable)
        assert "did you mean teal?" in refused.value.message
    assert where.shown(["team", "teal", "one/acme-7b", "one/x"], "openai_chat", usable) == ["teal", "one/x"]
    assert [target.model for target in where.targets("teal", "openai_chat", usable)] == ["llama-3"]


def test_without_any_provider_the_refusal_says_how_to_get_one():
    with pytest.raises(NotFound) as refused:
        found("gpt-4o", where=catalog())
    for hint in ("OPENAI_API_KEY", "midstream.toml", "midstream/rehearsal"):
        assert hint in refused.value.message


def test_a_target_is_what_its_provider_was_configured_to_be():
    [target] = ALL.targets("gpt/x", "openai_chat")
    assert (target.family, target.keys, target.max_tokens) == ("openai", ("0", "1"), 4096)


def test_names_that_can_be_listed_are_aliases_and_models_without_a_pattern():
    assert ALL.names() == ["fast", "exact", "one/exact", "two/exact", "two/llama-3", "midstream/rehearsal"]


def test_names_that_callers_make_up_do_not_fill_the_memory():
    where = catalog(served("gpt", "openai"))
    for number in range(10_050):
        where.targets(f"gpt/{number}", "openai_chat")
    assert len(where._cache) <= 10_002


@pytest.mark.parametrize(("asked", "near"), [("fats", "fast"), ("midstream/rehersal", "midstream/rehearsal")])
def test_without_a_provider_a_wrong_name_is_told_the_near_ones_and_how_to_add_one(asked: str, near: str) -> None:
    with pytest.raises(NotFound) as refused:
        found(asked, where=catalog(fast=["midstream/rehearsal"]))
    assert f"did you mean {near}? no provider is configured" in refused.value.message
