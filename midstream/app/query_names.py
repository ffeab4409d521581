"""What may stand in the query of an address of our own."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from ..core.errors import BadRequest


def check_names(names: Iterable[str], known: Sequence[str] = (), lists: Sequence[str] = ()) -> None:
    """What is passed over would go unheard: a list would show more, a change concern another org, than was meant.
    names: as often as they stand there. lists: those that may stand there again and again. Raises BadRequest."""
    seen: set[str] = set()
    for name in names:
        if name not in known:
            told = f"known here: {', '.join(known)}" if known else "there are none here"
            raise BadRequest(f"{name}: unknown query parameter; {told}", param=name, code="unknown_parameter")
        if name in seen and name not in lists:  # only one of them could hold
            raise BadRequest(f"{name}: given twice in the query", param=name, code="contradictory")
        seen.add(name)
