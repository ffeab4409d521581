"""What is wrong with what an org says of a model, before it is stored: the first of it, with the path of its field."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from ..agent.parameters import field_of
from ..core.agents import Range
from ..core.errors import BadRequest, Conflict, Forbidden
from .models_of import Models, OwnModel


def check(model: OwnModel, others: Iterable[OwnModel], org: str, models: Models) -> None:
    """others: what the org says of models besides. Its models are known to `models` already.
    Raises BadRequest, Conflict, Forbidden."""
    for path, why in (*_ranges(model.parameters), *_limits(model)):
        raise BadRequest(f"{path}: {why}", param=path)
    if any(models.collide(model, other) for other in others):
        raise Conflict(
            f"name: another model of the service {model.service} is described as {model.name!r}",
            code="already_exists",
            param="name",
        )
    _check_owner(model, org, models)


def _check_owner(model: OwnModel, org: str, models: Models) -> None:
    if not model.own:
        if model.upstream != model.name:
            raise BadRequest(
                "model: what only describes a model (own = false) has that model's own name: leave this out",
                param="model",
            )
        return
    if not models.ownable(model.service, model.upstream):
        raise BadRequest(f"model: {model.upstream!r} is for everybody: describe it with own = false", param="model")
    if models.owner(model) not in (None, org):
        raise Forbidden(
            f"this organization may not use the model {model.upstream!r}",
            code="organization_not_permitted",
            param="model",
        )


def _ranges(parameters: Mapping[str, Range | None]) -> Iterator[tuple[str, str]]:
    """(path, what is wrong)."""
    seen: dict[str, str] = {}
    for name, limits in parameters.items():
        path, field = f"parameters.{name}", field_of(name)
        if field is None:
            yield path, "is no parameter that is known here"
            continue
        if field in seen:
            yield path, f"is the same parameter as {seen[field]}"
        seen[field] = name
        least, most, usual = (limits.min, limits.max, limits.default) if limits is not None else (None, None, None)
        if least is not None and most is not None and least > most:
            yield f"{path}.min", "is above max"
        if usual is not None and ((least is not None and usual < least) or (most is not None and usual > most)):
            yield f"{path}.default", "is not between min and max"


def _limits(model: OwnModel) -> Iterator[tuple[str, str]]:
    output = model.output
    if output is None:
        return
    if model.context is not None and output > model.context:
        yield "output", "is more than the context, which holds the prompt and the answer"
    for name, limits in model.parameters.items():
        if field_of(name) == "max_tokens" and limits is not None and limits.min is not None and limits.min > output:
            yield f"parameters.{name}.min", "is above output"
