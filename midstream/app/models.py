"""Listing the models that may be used, in the shape of the face that asks."""

from __future__ import annotations

from ..access.scopes import UNSAID, require
from ..core.web import Reply, Request
from .faces import Face
from .services import Services


async def listed(services: Services, face: Face, task: str, request: Request) -> Reply:
    """Raises Forbidden; BadRequest for a page that cannot be; NotFound for a model that nobody serves, or that is
    another org's own."""
    caller = await services.identify(request.headers, request.query if face.KEY_IN_QUERY else None)
    require(caller, *UNSAID)
    usable = await services.usable(caller)
    if task == "models":
        names = list(dict.fromkeys([*services.catalog.names(), *await services.offered.names()]))
        return Reply(face.write_models(services.catalog.shown(names, face.NAME, usable), request.query))
    model = request.params["model"]
    services.catalog.targets(model, face.NAME, usable)
    return Reply(face.write_model(model))
