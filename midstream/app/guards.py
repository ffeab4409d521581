"""What a version's guardrails name besides expressions: models, addresses, and secrets in the headers of webhooks."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec

from ..agent.guardrails import Checks, Guardrails, Webhook, guardrails_of
from ..core.agents import Loaded, Spec
from ..core.errors import BadRequest, Garbled
from ..core.http import Outgoing, Send, Timeouts
from ..core.json_words import decoded
from ..core.masking import masked
from ..tools.http import owner_of, secrets_in, write_headers

#: A webhook is waited for no longer.
CONSULTED = Timeouts(connect=5.0, first_byte=10.0, between=10.0, total=15.0)
MAX_VERDICT = 64 * 1024
#: Beside the name of a header whose value is written out.
STORE_IT = "store this value as a secret (POST /v1/admin/secrets) and write {{secret:NAME}} in its place"


def classifiers(spec: Spec) -> list[tuple[str, str, str]]:
    """Path, service and model of each model that is asked, wherever the version says so."""
    return [
        (f"{path}.classifier.model", one.classifier.service, one.classifier.model)
        for path, one in _checks(spec)
        if one.classifier is not None
    ]


def webhooks(spec: Spec) -> list[tuple[str, Webhook]]:
    """The same of webhooks."""
    return [(f"{path}.webhook", one.webhook) for path, one in _checks(spec) if one.webhook is not None]


def _checks(spec: Spec) -> Iterator[tuple[str, Checks]]:
    told = {"configuration": spec.configuration.get("guardrails"), "settings": spec.settings.guardrails}
    for place, raw in told.items():
        rails = _readable(raw) if raw else Guardrails()
        yield f"{place}.guardrails.input", rails.input
        yield f"{place}.guardrails.output", rails.output


def _readable(raw: Any) -> Guardrails:
    try:
        return guardrails_of(raw)
    except BadRequest:  # it is told with the rest of what turns would be refused with
        return Guardrails()


async def consult(send: Send, loaded: Loaded, webhook: Webhook, question: dict[str, Any]) -> Any:
    """Asks a webhook; secrets that it names are filled in where the version itself names it: what only a request says
    would be told them. Raises MidstreamError."""
    for name in secrets_in(webhook.headers):
        if webhook not in [one for _, one in webhooks(loaded.spec)]:
            raise BadRequest(f"the secret {name} can only be named by a version's own guardrails")
        if name not in loaded.secrets or owner_of(name):
            raise BadRequest(f"the secret {name}, which the webhook needs, has no value")
    headers, secrets = write_headers(webhook.headers, loaded.secrets, "")
    sent = tuple({"content-type": "application/json", **headers}.items())
    incoming = await send(Outgoing("POST", webhook.url, sent, msgspec.json.encode(question), timeouts=CONSULTED))
    try:
        answer = await incoming.read(MAX_VERDICT)
    finally:
        incoming.close()
    if incoming.status != 200:
        raise Garbled(f"the webhook answered {incoming.status}")
    try:
        return decoded(masked(answer, secrets))
    except msgspec.DecodeError:
        raise Garbled("the webhook's answer is no JSON") from None
