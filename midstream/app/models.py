"""Listing the models that may be used, in the shape of the face that asks."""

from __future__ import annotations

from ..core.web import Reply, Request
from .faces import Face
from .services import Services


async def listed(services: Services, face: Face, task: str, request: Request) -> Reply:
    """Raises NotFound for a model that nobody serves."""
    await services.identify(request.headers, request.query if face.KEY_IN_QUERY else None)
    if "anthropic-version" in request.headers:
        face = next((other for other in services.faces.values() if "/v1/messages" in _paths(other)), face)
    if task == "models":
        names = [*services.catalog.names(), *await services.offered.names()]
        return Reply(face.write_models(list(dict.fromkeys(names))))
    model = request.params["model"]
    services.catalog.targets(model, face.NAME)
    return Reply(face.write_model(model))


def _paths(face: Face) -> list[str]:
    return [route.path for route in face.ROUTES]
