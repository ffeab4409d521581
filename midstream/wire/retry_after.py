"""How long a service asks to be left alone, in the headers of any of them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from email.utils import parsedate_to_datetime

_NUMBER = re.compile(r"[0-9]{1,12}(?:\.[0-9]{1,12})?")


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds to wait, by `retry-after-ms` or `retry-after`; a date counts only beside the answer's own `date`, for
    clocks differ. headers: names in lower case."""
    for name, scale in (("retry-after-ms", 1000.0), ("retry-after", 1.0)):
        told = headers.get(name, "").strip()
        if _NUMBER.fullmatch(told):
            return float(told) / scale
    try:
        then, now = (parsedate_to_datetime(headers[name]) for name in ("retry-after", "date"))
        return max((then - now).total_seconds(), 0.0)
    except (KeyError, ValueError, TypeError):
        return None
