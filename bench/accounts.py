"""Was durability on? The ledger of the gateway under load against what the fake upstream says that it served."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass, field
from typing import Any

from machine import get
from targets import ADMIN_KEY

HEADERS = {"authorization": f"Bearer {ADMIN_KEY}"}
SETTLED = ("ok", "failed", "partial", "unknown")


@dataclass
class Accounts:
    """Sums of a ledger. by_status: attempts. Tokens are those of attempts that ended ok."""

    by_status: dict[str, int] = field(default_factory=dict)
    input_tokens: int = 0
    output_tokens: int = 0
    priced: int = 0
    seconds: float = 0
    trouble: str = ""

    @property
    def settled(self) -> int:
        return sum(n for status, n in self.by_status.items() if status in SETTLED)

    def add(self, attempt: dict[str, Any]) -> None:
        status = str(attempt.get("status"))
        self.by_status[status] = self.by_status.get(status, 0) + 1
        usage = attempt.get("usage") or {}
        if status == "ok":
            self.input_tokens += usage.get("input_tokens") or 0
            self.output_tokens += usage.get("output_tokens") or 0
            self.priced += float(attempt.get("cost") or 0) > 0


def read_attempts(port: int, page: int = 1000, most_seconds: float = 240) -> Accounts:
    """Every attempt since the data directory was made, oldest first. Never raises: trouble says what went wrong."""
    accounts, after, started = Accounts(), "", time.monotonic()
    while time.monotonic() - started < most_seconds:
        try:
            status, body = get(
                port, f"/v1/admin/attempts?limit={page}" + (f"&after={after}" if after else ""), HEADERS, 60
            )
            answer = json.loads(body)
        except (OSError, ValueError) as e:
            accounts.trouble = f"/v1/admin/attempts: {e}"
            break
        if status in (400, 422) and page > 100 and not after:
            page = 100
            continue
        if status != 200:
            accounts.trouble = f"/v1/admin/attempts answered {status}: {body[:200]!r}"
            break
        for attempt in answer.get("data", []):
            accounts.add(attempt)
        if not answer.get("has_more") or not answer.get("data"):
            break
        after = answer.get("last_id") or answer["data"][-1]["id"]
    else:
        accounts.trouble = f"more than {most_seconds:.0f} s to read the attempts"
    accounts.seconds = round(time.monotonic() - started, 1)
    return accounts


def served(mock_port: int) -> dict[str, int]:
    """What mockllm counted since it was started."""
    counts: dict[str, int] = json.loads(get(mock_port, "/-/count")[1])
    return counts


def check(gateway_port: int, mock_port: int, asked: int, abandoned: int) -> dict[str, Any]:
    """asked, abandoned: requests that the load client sent, and those whose answer it did not wait for.
    Gives {agrees, lines, ...}: one line of words for each comparison."""
    upstream, ledger = served(mock_port), read_attempts(gateway_port)
    # what the upstream finished for a client that had gone is no longer an attempt that ended ok
    pairs = (
        ("settled attempts = requests that the upstream saw", ledger.settled, upstream["asked"], 0),
        ("requests that the upstream saw = requests asked", upstream["asked"], asked, 0),
        ("attempts still open = none", ledger.by_status.get("started", 0), 0, 0),
        ("input tokens = those the upstream reported", ledger.input_tokens, upstream["input_tokens"], 25 * abandoned),
        (
            "output tokens = those the upstream reported",
            ledger.output_tokens,
            upstream["output_tokens"],
            150 * abandoned,
        ),
        ("attempts with a cost = attempts that ended ok", ledger.priced, ledger.by_status.get("ok", 0), 0),
    )
    held = [0 <= b - a <= slack for _, a, b, slack in pairs]
    lines = [
        f"{'ok ' if ok else 'NOT'} {words}: {a:,} / {b:,}" for ok, (words, a, b, _) in zip(held, pairs, strict=True)
    ]
    if abandoned:
        lines.append(f"    {abandoned} answers were not waited for by the load client")
    if ledger.trouble:
        lines.append(f"NOT readable: {ledger.trouble}")
    return {
        "agrees": not ledger.trouble and all(held),
        "lines": lines,
        "by_status": ledger.by_status,
        "read_seconds": ledger.seconds,
        "upstream": upstream,
    }
