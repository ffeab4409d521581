"""docs/replay.md says what the replay tests do: its figures are those of the recordings, its exceptions theirs."""

from __future__ import annotations

import re
from pathlib import Path

from . import test_replay_across as across
from . import test_replay_asks as asks
from . import test_replay_own as own
from .corpus import needed, recordings

PAGE = (Path(__file__).parents[2] / "docs" / "replay.md").read_text()
ROWS = [[cell.strip() for cell in line.strip("|").split("|")] for line in PAGE.splitlines() if line[:3] == "| `"]
LISTS = (
    own.LOST_ASKS | own.LOST_ANSWERS,
    across.OTHER_ANSWERS,
    across.OTHER_STREAMS,
    asks.OTHER_ASKS,
    asks.REFUSED_ASKS,
)
EXCEPTIONS = {id: reason for known in LISTS for id, reason in known.items()}


def figures(service: str) -> list[int]:
    """Exchanges of the four questions, their exceptions, and refused requests, in the table's order."""
    every = recordings(service)
    chats = [one for one in every if one.task == "chat"]
    answered = [one for one in chats if one.status == 200]
    theirs = {kind for name, kind in asks.PAIRS if name == service}
    faces = across.FACES if service in across.SERVICES else ()
    ids = (
        [one.id for one in every if service in own.KINDS and one.dialect != "openai_responses"],
        [f"{face}:{one.id}" for face in faces for one in answered if one.dialect != face],
        [f"{face}:{one.id}" for face in faces for one in answered if not one.streams],
        [f"{kind}:{one.id}" for kind in theirs for one in chats if one.dialect != "openai_responses"],
    )
    exceptions = [len(known.keys() & set(found)) for found, known in zip((*ids, ids[3]), LISTS, strict=True)]
    return [*(len(found) for found in ids), *exceptions]


@needed
def test_the_pages_figures_are_those_of_the_recordings():
    services = dict.fromkeys((*own.KINDS, *across.SERVICES))
    assert {row[0].strip("`"): [int(cell) for cell in row[1:]] for row in ROWS} == {
        service: figures(service) for service in services
    }


def test_every_exception_is_on_the_page_with_its_reason():
    lines = [line for line in PAGE.splitlines() if line.startswith("- ")]
    for id, reason in EXCEPTIONS.items():
        kind, _, recording = id.rpartition(":")
        told = [line for line in lines if line.startswith(f"- {reason}") and f"`{recording}`" in line]
        assert any(re.search(rf"to {kind}: [^;]*`{recording}`", line) for line in told) if kind else told, id


@needed
def test_ninety_nine_of_a_hundred_hold_in_every_direction():
    totals = [sum(column) for column in zip(*(map(int, row[1:]) for row in ROWS), strict=True)]
    for exchanges, exceptions in zip(totals[:4], totals[4:8], strict=True):
        assert exceptions <= 0.01 * exchanges
