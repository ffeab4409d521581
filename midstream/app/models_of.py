"""From a service and a model to the targets of one org: its own models and keys, the operator's for the rest."""

from __future__ import annotations

import difflib
import hashlib
import hmac
import os
from collections import OrderedDict
from collections.abc import Iterable, Mapping, Sequence
from fnmatch import fnmatchcase

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from ..agent.parameters import field_of
from ..core.agents import ModelDocument, Range
from ..core.errors import BadRequest, Forbidden, NotFound
from ..core.http import Send
from ..core.secret import Secret
from ..core.serving import Target
from ..providers._inline import Links
from ..providers._service import Provider, Service
from ..store.nouns import NounRow
from .catalog import AGENT, Catalog, Served

#: Keys lent for one org at a time; the one that was used least lately is taken back.
LENT = 1000
#: Orgs whose models and keys are remembered.
ORGS = 10_000


class OwnModel(Struct, frozen=True, omit_defaults=True):
    """The body of a noun "model". name: as callers write it. model: the upstream's name, "" = the same.
    own: a custom or fine-tuned model that only this org may use; else only what is known of a public one.
    parameters, modalities, context, output: as in core.agents.ModelDocument."""

    name: str
    service: str
    model: str = ""
    own: bool = True
    parameters: dict[str, Range | None] = {}
    modalities: tuple[str, ...] = ()
    context: int | None = None
    output: int | None = None

    @property
    def upstream(self) -> str:
        return self.model or self.name


class ServiceKey(Struct, frozen=True):
    """An org's key of a service."""

    id: str
    service: str
    secret: Secret


class OrgModels(Struct, frozen=True):
    """What is known of one org, as it was loaded. keys: by id, oldest first."""

    models: tuple[OwnModel, ...] = ()
    keys: Mapping[str, ServiceKey] = {}


def lendable(
    served: Mapping[str, Served], services: Mapping[str, Service], switched_off: Iterable[str], send: Send,
    links: Links | None = None,
) -> dict[str, Provider]:  # fmt: skip
    """Every provider that a target may name: the configured ones, and for each service that the operator did not
    configure one without a key, at its usual address, that orgs use with keys of their own.
    switched_off: services that the operator does not want. links: as the configured ones have them."""
    off = frozenset(switched_off)
    providers = {name: one.provider for name, one in served.items()}
    used = {id(one.provider.service) for one in served.values()}
    for kind, service in services.items():
        if kind not in providers and kind not in off and id(service) not in used and _is_of_a_vendor(service):
            providers[kind] = Provider(kind, service, send, links=links)
    return providers


def _is_of_a_vendor(service: Service) -> bool:
    return bool(service.base_url) and not service.builtin and not service.keyless


class Models:
    """providers: as `lendable` gives them. services: by kind."""

    def __init__(
        self,
        catalog: Catalog,
        served: Mapping[str, Served],
        services: Mapping[str, Service],
        providers: Mapping[str, Provider],
    ) -> None:
        self._catalog = catalog
        self._served = served
        self._services = services
        self._providers = providers
        self._kinds = {id(service): kind for kind, service in services.items()}
        self._orgs: OrderedDict[str, OrgModels] = OrderedDict()
        #: (vendor, upstream name) -> the org whose own model it is.
        self._owners: dict[tuple[str, str], str] = {}
        self._lent: dict[str, OrderedDict[tuple[str, str], None]] = {}
        self._pepper = os.urandom(32)

    # what is known

    def learn(self, org: str, known: OrgModels) -> None:
        """What `targets` and `document` know of an org from now on."""
        self._orgs[org] = known
        self._orgs.move_to_end(org)
        if len(self._orgs) > ORGS:
            self._orgs.popitem(last=False)

    def learn_owners(self, rows: Iterable[NounRow]) -> None:
        """rows: the models of every org, oldest first: the first to name one has it."""
        owners: dict[tuple[str, str], str] = {}
        for row in rows:
            model = own_model(row)
            if model.own and self.is_service(model.service) and self.ownable(model.service, model.upstream):
                owners.setdefault(self._property(model), row.org_id)
        self._owners = owners

    def is_service(self, name: str) -> bool:
        """May it be asked for: a configured provider, a kind of one, or a service for which orgs have keys?"""
        kind = self._services.get(name)
        of_kind = (one.provider.service is kind for one in self._served.values())
        return name in self._providers or (kind is not None and any(of_kind))

    def ownable(self, service: str, model: str) -> bool:
        """Is it no model that everybody may use anyway? A vendor's public ones and those that the operator lists by
        name are nobody's own."""
        provider = self._provider(service, model)
        served = self._served.get(provider.name)
        listed = served is not None and model in served.models
        claims = provider.service.claims
        tuned = model.startswith("ft:")
        return not listed and (tuned or claims is None or claims.match(model) is None)

    def owner(self, model: OwnModel) -> str | None:
        return self._owners.get(self._property(model))

    def collide(self, one: OwnModel, other: OwnModel) -> bool:
        """Do both say what a model of one name is, so that only the first of them would ever be read?"""
        if one.name != other.name or not (self.is_service(one.service) and self.is_service(other.service)):
            return False
        return self._provider(one.service, one.upstream) is self._provider(other.service, other.upstream)

    def _property(self, model: OwnModel) -> tuple[str, str]:
        return self._vendor(self._provider(model.service, model.upstream)), model.upstream

    def _vendor(self, provider: Provider) -> str:
        return provider.service.vendor or self._kinds[id(provider.service)]

    # what is asked

    def targets(
        self, org: str, service: str, model: str, keys: Mapping[str, str], api_key: Secret | None
    ) -> tuple[Target, ...]:
        """service: a configured provider's name or a kind of service; "" = told by the model's name.
        keys: ids of the org's keys by service. api_key: the request's own.

        The key is the request's, else the one that `keys` names, else the org's oldest of that service, else the
        operator's. Raises BadRequest (service_unknown, model_missing, model_service_mismatch, key_missing,
        key_service_mismatch), NotFound (model_unknown), Forbidden (organization_not_permitted)."""
        if not model:
            raise BadRequest("a model is needed", code="model_missing", param="model")
        if not service:
            return self._by_name(org, model, keys, api_key)
        provider = self._provider(service, model)
        own = self._own(org, provider, model)
        if own is None:
            self._check(org, provider, model)
        else:  # that an org says so does not make it theirs
            self._refuse_foreign(org, provider, own.upstream)
        upstream = own.upstream if own is not None else model
        return (self._target(org, provider, upstream, self._label(org, provider, keys, api_key)),)

    def key_of(self, org: str, service: str, model: str, keys: Mapping[str, str]) -> str | None:
        """The id of the org's key that goes with a request which brings none, None = none of its keys. Raises as
        `targets` does."""
        provider = self._providers[self.targets(org, service, model, keys, None)[0].provider]
        key = None if provider.service.builtin else self._key(org, provider, keys)
        return None if key is None else key.id

    def takes(self, service: str, key_service: str) -> bool:
        """May a version name a key of the one for the other: is there a provider to which both fit?"""
        named = {service, key_service}
        return len(named) == 1 or any(named == {*self._fits(one)} for one in self._providers.values())

    @property
    def any_owned(self) -> bool:
        """Has any org a model of its own, as far as is known?"""
        return bool(self._owners)

    def permitted(self, org: str, target: Target) -> bool:
        """Is it no other org's own model?"""
        return self._is_free(org, self._providers[target.provider], target.model)

    def usual_fallback(self, target: Target) -> str:
        """The model of the same service that usually answers when this one cannot, "" = none."""
        return self._providers[target.provider].service.spare(target.model)

    def document(self, org: str, service: str, model: str) -> ModelDocument:
        """What the model takes: the org's own words over the service's. model: by its name here, or the upstream's.
        Empty for a service that is not known."""
        if not service:
            return self._document_by_name(org, model)
        if not self.is_service(service):
            return ModelDocument()
        provider = self._provider(service, model)
        usual = ModelDocument(dict(provider.service.parameters(model)))
        own = self._described(org, provider, model) or self._tuned(org, provider, model)
        if own is None:
            return usual
        said = {field_of(name) for name in own.parameters}  # whichever of a parameter's names the org has used
        usually = provider.service.parameters(own.upstream)
        parameters = {name: one for name, one in usually.items() if field_of(name) not in said} | own.parameters
        return ModelDocument(parameters, own.modalities, own.context, own.output)

    def _document_by_name(self, org: str, model: str) -> ModelDocument:
        """The model's whose name alone says who has it. Of an alias, what the org says of its first target."""
        known = self._orgs.get(org, OrgModels()).models
        own = next((one for one in known if one.name == model and self.is_service(one.service)), None)
        if own is not None:
            return self.document(org, own.service, model)
        provider_name, _, upstream = model.partition("/")
        if self.is_service(provider_name):
            return self.document(org, provider_name, upstream)
        if not known:
            return ModelDocument()
        try:
            first = self._catalog.targets(model, AGENT)[0]
        except NotFound:
            return ModelDocument()
        is_described = self._described(org, self._providers[first.provider], first.model) is not None
        return self.document(org, first.provider, first.model) if is_described else ModelDocument()

    # how it is found

    def _by_name(self, org: str, model: str, keys: Mapping[str, str], api_key: Secret | None) -> tuple[Target, ...]:
        for own in self._orgs.get(org, OrgModels()).models:
            if own.own and own.name == model:
                return self.targets(org, own.service, model, keys, api_key)
        try:
            found = self._catalog.targets(model, AGENT)
        except NotFound as error:
            raise NotFound(error.message, code="model_unknown", param="model") from None
        if api_key is not None and not self._says_whose(model, found):
            raise BadRequest("apikey: say which service it is for", code="service_missing", param="service")
        for target in found:
            self._refuse_foreign(org, self._providers[target.provider], target.model)
        return tuple(
            self._target(org, provider, target.model, self._label(org, provider, keys, api_key))
            for target in found
            if (provider := self._providers[target.provider])
        )

    def _says_whose(self, model: str, found: Sequence[Target]) -> bool:
        """Does the name alone tell who gets a key that is sent with it? Not when it is one that anybody could have and
        went to the provider that takes all of those."""
        if len({target.provider for target in found}) > 1:
            return False
        service, slash, _ = model.partition("/")
        claimed = (self._claimed(self._providers[target.provider], target.model) for target in found)
        return bool(slash and service in self._served) or all(claimed)

    def _provider(self, service: str, model: str) -> Provider:
        """A configured provider of this name, else the first of this kind that serves the model, else the first."""
        if service in self._served:
            return self._served[service].provider
        kind = self._services.get(service)
        if kind is not None:
            of_kind = [one for one in self._served.values() if one.provider.service is kind]
            serving = [one for one in of_kind if any(fnmatchcase(model, pattern) for pattern in one.models)]
            for one in [*serving, *of_kind]:
                return one.provider
            if service in self._providers:
                return self._providers[service]
        names = sorted({*self._providers, *self._services})
        near = difflib.get_close_matches(service, names, n=1)
        hint = f"did you mean {near[0]}?" if near else f"known: {', '.join(sorted(self._providers))}"
        if kind is not None:
            hint = "this server has no provider of it"
        raise BadRequest(f"the service {service!r} is unknown here; {hint}", code="service_unknown", param="service")

    def _own(self, org: str, provider: Provider, model: str) -> OwnModel | None:
        found = self._described(org, provider, model)
        return found if found is not None and found.own else None

    def _described(self, org: str, provider: Provider, model: str) -> OwnModel | None:
        """By its name here. What is said of the very provider, else of another one of its kind."""
        named = [one for one in self._orgs.get(org, OrgModels()).models if one.name == model]
        return self._nearest(named, provider)

    def _tuned(self, org: str, provider: Provider, model: str) -> OwnModel | None:
        """One of the org's own by the name that the upstream knows it by, as a configuration may name what it tuned."""
        models = self._orgs.get(org, OrgModels()).models
        return self._nearest([one for one in models if one.own and one.upstream == model], provider)

    def _nearest(self, models: Sequence[OwnModel], provider: Provider) -> OwnModel | None:
        at = [(one, self._provider(one.service, one.upstream)) for one in models if self.is_service(one.service)]
        of_kind = [one for one, its in at if its.service is provider.service]
        return next((one for one, its in at if its is provider), of_kind[0] if of_kind else None)

    def _check(self, org: str, provider: Provider, model: str) -> None:
        """Raises unless the provider has the model and everybody may use it."""
        served = self._served.get(provider.name, Served(provider))
        is_open = "*" in served.models and provider.service.claims is None
        if not self._claimed(provider, model) and self._vendor_of(model, provider) and not is_open:
            raise BadRequest(
                f"the model {model!r} is none of the service {provider.name}'s",
                code="model_service_mismatch",
                param="model",
            )
        if not self._listed(provider, model) and "*" not in served.models:
            raise NotFound(
                f"the model {model!r} is unknown at the service {provider.name}", code="model_unknown", param="model"
            )
        self._refuse_foreign(org, provider, model)

    def _claimed(self, provider: Provider, model: str) -> bool:
        """Is it surely this provider's, by the operator's words or by the names that its vendor gives?"""
        claims = provider.service.claims
        return self._listed(provider, model) or (claims is not None and claims.match(model) is not None)

    def _listed(self, provider: Provider, model: str) -> bool:
        served = self._served.get(provider.name, Served(provider))
        return any(pattern != "*" and fnmatchcase(model, pattern) for pattern in served.models)

    def _vendor_of(self, model: str, provider: Provider) -> bool:
        """Is it surely another vendor's, or listed by another provider?"""
        for service in self._services.values():
            if service.vendor != provider.service.vendor and service.claims is not None and service.claims.match(model):
                return True
        return any(model in one.models for one in self._served.values() if one.provider is not provider)

    def _refuse_foreign(self, org: str, provider: Provider, model: str) -> None:
        if not self._is_free(org, provider, model):
            raise Forbidden(
                f"this organization may not use the model {model!r}",
                code="organization_not_permitted",
                param="model",
            )

    def _is_free(self, org: str, provider: Provider, model: str) -> bool:
        return self._owners.get((self._vendor(provider), model), org) == org

    # keys

    def _label(self, org: str, provider: Provider, keys: Mapping[str, str], api_key: Secret | None) -> str | None:
        """The label of the key that is used, None = the operator's own."""
        if provider.service.builtin:
            return None
        if api_key is not None:
            return self._lend(org, provider, api_key)
        key = self._key(org, provider, keys)
        if key is not None:
            return self._lend(org, provider, key.secret)
        if not provider.has_key and not provider.service.keyless:
            raise BadRequest(
                f"no key for the service {provider.name}: give apikey, or store one for this organization",
                code="key_missing",
                param="apikey",
            )
        return None

    def _key(self, org: str, provider: Provider, keys: Mapping[str, str]) -> ServiceKey | None:
        """The org's own, None = it has none."""
        known = self._orgs.get(org, OrgModels()).keys
        fits = self._fits(provider)
        named = next((keys[name] for name in fits if name in keys), None)
        if named is not None:
            key = known.get(named)
            if key is None:
                raise BadRequest(
                    f"the key {named} of the service {provider.name} does not exist", code="key_missing", param="apikey"
                )
            if key.service not in fits:
                raise BadRequest(
                    f"the key {named} is one of {key.service}, not of {provider.name}",
                    code="key_service_mismatch",
                    param="apikey",
                )
            return key
        return next((key for key in known.values() if key.service in fits), None)

    def _fits(self, provider: Provider) -> tuple[str, str]:
        """Services whose keys it takes, and under which a version may name one."""
        return provider.name, self._kinds[id(provider.service)]

    def _lend(self, org: str, provider: Provider, secret: Secret) -> str:
        label = self.label_of(org, provider.name, secret)
        lent = self._lent.setdefault(org, OrderedDict())
        lent[(provider.name, label)] = None
        lent.move_to_end((provider.name, label))
        if len(lent) > LENT:
            (name, old), _ = lent.popitem(last=False)
            self._providers[name].take_back(old)
        provider.lend(label, secret.reveal())
        return label

    def label_of(self, org: str, provider: str, secret: Secret) -> str:
        """Of a key that is lent to a provider. It says nothing about the key and is the same for this org only."""
        said = f"{provider}\0{org}\0{secret.reveal()}".encode("utf-8", "surrogatepass")
        return "lent-" + hmac.new(self._pepper, said, hashlib.sha256).hexdigest()

    def _target(self, org: str, provider: Provider, model: str, label: str | None) -> Target:
        target = Target(
            provider.name, model, provider.service.vendor, provider.keys, provider.timeouts, provider.max_tokens
        )
        return target if label is None else replace(target, keys=(label,))


def own_model(row: NounRow) -> OwnModel:
    return msgspec.json.decode(row.body, type=OwnModel)
