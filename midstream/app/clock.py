"""The one clock of the process, handed to whoever needs time."""

from __future__ import annotations

import time


class Clock:
    """wall: unix seconds. steady: seconds that never jump."""

    wall = staticmethod(time.time)
    steady = staticmethod(time.monotonic)
