from __future__ import annotations

import asyncio
from typing import Any

import msgspec
import pytest

from midstream import providers as kinds
from midstream.app import models_of
from midstream.app.catalog import Catalog, Served
from midstream.app.models_of import Models, OrgModels, OwnModel, ServiceKey, lendable
from midstream.core.agents import ModelDocument, Range
from midstream.core.errors import BadRequest, Busy, CallerError, Forbidden, NotFound, Unreachable
from midstream.core.registry import modules_of
from midstream.core.secret import Secret
from midstream.providers._service import Provider
from midstream.store.nouns import NounRow

ORG, OTHER = "org_a", "org_b"
SERVICES = {name: module.SERVICE for name, module in modules_of(kinds).items()}


class Wire:
    """Where calls would go."""

    def __init__(self) -> None:
        self.sent: list[Any] = []

    async def __call__(self, outgoing: Any) -> Any:
        self.sent.append(outgoing)
        raise Unreachable("nobody is there")


class Fixture:
    """openai and a local server are the operator's; anthropic is switched off; nothing is said of the others."""

    def __init__(self, *switched_off: str) -> None:
        self.wire = Wire()
        served = {
            "openai": Served(Provider("openai", SERVICES["openai"], self.wire, keys={"0": "sk-operator", "1": "sk-2"})),
            "local": Served(
                Provider("local", SERVICES["openai_compatible"], self.wire, base_url="http://127.0.0.1:9/v1"),
                ("llama-3", "qwen-*"),
            ),
            "midstream": Served(Provider("midstream", SERVICES["midstream"], self.wire), ("rehearsal",)),
        }
        self.providers = lendable(served, SERVICES, switched_off, self.wire)
        self.models = Models(
            Catalog(served, {"fast": ["local/llama-3", "openai/gpt-4o"]}), served, SERVICES, self.providers
        )

    def targets(self, service: str, model: str, keys: Any = None, api_key: str | None = None, org: str = ORG) -> Any:
        return self.models.targets(org, service, model, keys or {}, Secret(api_key) if api_key else None)

    def refused(self, kind: type[CallerError], code: str, *asked: Any, **more: Any) -> CallerError:
        with pytest.raises(kind) as refused:
            self.targets(*asked, **more)
        assert refused.value.code == code
        return refused.value

    def sends(self, target: Any) -> Any:
        """What a call with the target's key looks like on the wire."""
        with pytest.raises(Unreachable):
            asyncio.run(self.providers[target.provider].models(target.keys[0]))
        return self.wire.sent[-1]

    def own(self, *models: OwnModel, org: str = ORG, **keys: tuple[str, str]) -> None:
        """keys: id -> (service, secret)"""
        given = {id: ServiceKey(id, service, Secret(secret)) for id, (service, secret) in keys.items()}
        self.models.learn(org, OrgModels(models, given))
        rows = [
            NounRow(f"mdl_{n}", org, "model", one.name, msgspec.json.encode(one), n, n) for n, one in enumerate(models)
        ]
        self.models.learn_owners(rows)


@pytest.mark.parametrize(
    "service, model, provider",
    [
        ("openai", "gpt-4o", "openai"),
        ("openai", "a-model-of-next-year", "openai"),
        ("local", "llama-3", "local"),
        ("openai_compatible", "qwen-2", "local"),  # by its kind
        ("midstream", "rehearsal", "midstream"),
        ("", "openai/gpt-4o", "openai"),
        ("", "llama-3", "local"),
    ],
)
def test_a_service_and_a_model_lead_to_the_operators_provider(service: str, model: str, provider: str):
    [target] = Fixture().targets(service, model)
    assert (target.provider, target.model) == (provider, model.rpartition("/")[2])
    assert target.keys == (("0", "1") if provider == "openai" else ("0",))


def test_without_a_service_an_alias_leads_to_all_its_targets():
    assert [target.provider for target in Fixture().targets("", "fast")] == ["local", "openai"]
    Fixture().refused(BadRequest, "service_missing", "", "fast", api_key="sk-whose")  # it goes to one vendor only


@pytest.mark.parametrize(
    "model, provider",
    [
        ("openai/whatever", "openai"), ("openai/claude-x", "openai"), ("gpt-4o", "openai"), ("llama-3", "local"),
        ("qwen-9", "local"), ("midstream/rehearsal", "midstream"), ("claude-x", ""), ("whatever", ""),
    ],
)  # fmt: skip
def test_a_key_goes_only_where_the_name_of_the_model_surely_leads(model: str, provider: str):
    f = Fixture()
    if provider:
        assert [target.provider for target in f.targets("", model, api_key="sk-whose")] == [provider]
    else:
        assert f.targets("", model)  # whoever takes all names is asked with a key of its own
        refused = f.refused(BadRequest, "service_missing", "", model, api_key="sk-whose")
        assert (refused.status, refused.param) == (400, "service")


@pytest.mark.parametrize(
    "kind, code, service, model",
    [
        (BadRequest, "service_unknown", "opnai", "gpt-4o"),
        (BadRequest, "service_unknown", "vllm", "llama-3"),  # known, and nobody runs one here
        (BadRequest, "model_missing", "openai", ""),
        (BadRequest, "model_service_mismatch", "openai", "claude-sonnet-4-5"),
        (BadRequest, "model_service_mismatch", "openai", "llama-3"),
        (BadRequest, "model_service_mismatch", "midstream", "gpt-4o"),
        (NotFound, "model_unknown", "local", "mixtral"),
        (NotFound, "model_unknown", "midstream", "rehersal"),
        (NotFound, "model_unknown", "", "midstream/rehersal"),
        (BadRequest, "key_missing", "groq", "llama-3.3-70b"),
    ],
)
def test_what_does_not_fit_is_refused_by_name(kind: type[CallerError], code: str, service: str, model: str):
    Fixture().refused(kind, code, service, model)


def test_a_service_that_is_switched_off_is_not_to_be_had_with_a_key_either():
    Fixture("anthropic").refused(BadRequest, "service_unknown", "anthropic", "claude-x", api_key="sk-ant-mine")
    assert Fixture().targets("anthropic", "claude-x", api_key="sk-ant-mine")


def test_the_requests_key_wins_over_the_agents_over_the_orgs_over_the_operators():
    f = Fixture()
    f.own(skey_1=("openai", "sk-first"), skey_2=("openai", "sk-second"), skey_3=("groq", "gsk-1"))
    for keys, api_key, expected in (
        ({"openai": "skey_2"}, "sk-request", "sk-request"),
        ({"openai": "skey_2"}, None, "sk-second"),
        ({}, None, "sk-first"),
    ):
        [target] = f.targets("openai", "gpt-4o", keys, api_key)
        assert dict(f.sends(target).headers)["authorization"] == f"Bearer {expected}"
    [target] = f.targets("openai", "gpt-4o", org=OTHER)
    assert dict(f.sends(target).headers)["authorization"] == "Bearer sk-operator"
    f.refused(BadRequest, "key_missing", "openai", "gpt-4o", {"openai": "skey_gone"})
    f.refused(BadRequest, "key_missing", "openai", "gpt-4o", {"openai": "skey_2"}, org=OTHER)
    f.refused(BadRequest, "key_service_mismatch", "openai", "gpt-4o", {"openai": "skey_3"})


def test_a_service_that_only_an_org_has_a_key_for_works_at_its_usual_address():
    f = Fixture()
    f.own(skey_1=("groq", "gsk-1"))
    [target] = f.targets("groq", "llama-3.3-70b")
    sent = f.sends(target)
    assert sent.url == "https://api.groq.com/openai/v1/models"
    assert dict(sent.headers)["authorization"] == "Bearer gsk-1"
    f.refused(BadRequest, "key_missing", "groq", "llama-3.3-70b", org=OTHER)


def test_a_label_says_nothing_of_its_key_and_is_of_one_org():
    f, g = Fixture(), Fixture()
    labels = [one.targets("openai", "gpt-4o", api_key="sk-same", org=org)[0].keys[0]
              for one in (f, g) for org in (ORG, OTHER)]  # fmt: skip
    assert len({*labels}) == 4
    assert not [label for label in labels if "sk-same" in label]
    assert f.targets("openai", "gpt-4o", api_key="sk-same")[0].keys == (labels[0],)
    assert f.providers["openai"].keys == ("0", "1")  # nobody else is offered it


def test_keys_that_callers_make_up_do_not_fill_the_memory_and_drive_out_no_other_orgs(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(models_of, "LENT", 10)
    f = Fixture()
    [theirs] = f.targets("openai", "gpt-4o", api_key="sk-theirs", org=OTHER)
    [first] = f.targets("openai", "gpt-4o", api_key="sk-first")
    for number in range(50):
        [last] = f.targets("openai", "gpt-4o", api_key=f"sk-{number}")
    assert len(f.providers["openai"]._headers) == 2 + 1 + 10
    assert f.sends(theirs)
    assert f.sends(last)
    with pytest.raises(Busy):
        asyncio.run(f.providers["openai"].models(first.keys[0]))


def test_the_built_in_model_takes_no_key():
    [target] = Fixture().targets("midstream", "rehearsal", api_key="sk-mine")
    assert target.keys == ("0",)


def test_an_orgs_own_model_is_the_one_on_the_wire_and_nobody_elses():
    f = Fixture()
    f.own(OwnModel("support", "openai", "ft:gpt-4o:acme"), OwnModel("house", "local", "house-7b"))
    assert [target.model for target in f.targets("openai", "support")] == ["ft:gpt-4o:acme"]
    assert [target.model for target in f.targets("", "support")] == ["ft:gpt-4o:acme"]
    assert [target.model for target in f.targets("openai", "ft:gpt-4o:acme")] == ["ft:gpt-4o:acme"]
    assert [target.model for target in f.targets("openai_compatible", "house")] == ["house-7b"]
    for service, model in (("openai", "ft:gpt-4o:acme"), ("", "openai/ft:gpt-4o:acme"), ("", "ft:gpt-4o:acme")):
        f.refused(Forbidden, "organization_not_permitted", service, model, org=OTHER)
    f.refused(NotFound, "model_unknown", "local", "house", org=OTHER)
    [target] = f.targets("openai", "support")
    assert f.models.permitted(ORG, target)
    assert not f.models.permitted(OTHER, target)
    f.models.learn(OTHER, OrgModels((OwnModel("x", "openai", "ft:gpt-4o:acme"),)))
    f.refused(Forbidden, "organization_not_permitted", "openai", "x", org=OTHER)  # saying so does not make it theirs


def test_what_everybody_may_use_is_nobodys_own():
    f = Fixture()
    f.own(OwnModel("mine", "openai", "gpt-4o"), OwnModel("also", "local", "llama-3"))
    assert f.targets("openai", "gpt-4o", org=OTHER)
    assert f.targets("local", "llama-3", org=OTHER)


def test_a_document_is_the_orgs_own_words_over_the_services():
    f = Fixture()
    usual = f.models.document(ORG, "anthropic", "claude-x").parameters
    assert usual["creativity_level"] == Range(0, 1, 1)
    assert usual["repetition_penalty"] is None
    newer = f.models.document(ORG, "anthropic", "claude-opus-4-7").parameters
    assert newer["creativity_level"] is newer["probability_cutoff"] is newer["token_selection_limit"] is None
    assert f.models.document(ORG, "openai", "o3").parameters["creativity_level"] is None
    assert f.models.document(ORG, "openai", "gpt-4o").parameters["creativity_level"] == Range(0, 2, 1)
    f.own(OwnModel("gpt-4o", "openai", own=False, parameters={"response_count": None}, context=128_000))
    mine = f.models.document(ORG, "openai", "gpt-4o")
    assert (mine.parameters["response_count"], mine.context) == (None, 128_000)
    assert mine.parameters["creativity_level"] == Range(0, 2, 1)
    assert f.models.document(OTHER, "openai", "gpt-4o").context is None
    assert f.models.document(ORG, "", "openai/o3").parameters["creativity_level"] is None
    assert f.models.document(ORG, "nobody", "x").parameters == f.models.document(ORG, "", "fast").parameters == {}


def test_a_document_is_found_by_each_of_its_models_names():
    f = Fixture()
    f.own(
        OwnModel("support", "openai", "ft:gpt-4o:acme", context=1000),
        OwnModel("llama-3", "local", own=False, context=2000),
    )
    for service, model in (("openai", "support"), ("", "support"), ("openai", "ft:gpt-4o:acme")):
        assert f.models.document(ORG, service, model).context == 1000
    for service, model in (("local", "llama-3"), ("openai_compatible", "llama-3"), ("", "llama-3"), ("", "fast")):
        assert f.models.document(ORG, service, model).context == 2000
    assert f.models.document(ORG, "", "qwen-2") == f.models.document(ORG, "", "nothing") == ModelDocument()


def test_what_an_org_says_of_a_parameter_holds_by_whichever_of_its_names():
    f = Fixture()
    f.own(OwnModel("gpt-4o", "openai", own=False, parameters={"temperature": Range(0, 1)}))
    parameters = f.models.document(ORG, "openai", "gpt-4o").parameters
    assert parameters["temperature"] == Range(0, 1)
    assert "creativity_level" not in parameters
