"""Everything that FastAPI answers, made in one go: see noun_paths.Later. Only then is FastAPI loaded."""

from __future__ import annotations

from collections.abc import Mapping

from ..faces import completion_v2
from .admin import admin_app
from .batch import batch_router
from .compose_agents import Workers
from .delivery_nouns import delivery_admin_router, queue_router
from .edge import ADMIN
from .history_v1 import history_app
from .live_nouns import live_router
from .noun_paths import BATCHES, HISTORY, MCP_TOOLS, QUEUES, Application
from .nouns import noun_app
from .operations import plain_error
from .protocol import LIVE
from .services import Services
from .tool_nouns import mcp_router, tool_admin_router


def applications(services: Services, workers: Workers, key: bytes) -> Mapping[str, Application]:
    """By prefix. key: of the server; it signs tokens."""
    beside = {
        MCP_TOOLS: noun_app(services, plain_error, [mcp_router(services, workers.tools)]),
        QUEUES: noun_app(services, plain_error, [queue_router(services)]),
        LIVE: noun_app(services, plain_error, [live_router(services, workers.hub, key)]),
        BATCHES: noun_app(services, completion_v2.DIALECT.write_error, [batch_router(services, workers.batches)]),
        HISTORY: history_app(services),
    }
    own = [tool_admin_router(services, workers.tools), delivery_admin_router(services, workers.webhooks)]
    return {**beside, ADMIN[0]: admin_app(services, [*beside.values()], own)}
