"""SQLite without its statistics of memory, which nobody here reads: for them it takes a lock of the whole process with
every piece of memory it asks for or gives back, a hundred and fifty times a request.

It can only be said before SQLite is first used, and Python's own module has no word for it. So it is said to the
library that this module will use, whichever that is: what does not understand it, or hears it too late, answers so and
stays as it was. Imported before anything that imports sqlite3."""

from __future__ import annotations

import ctypes
from importlib.util import find_spec

#: Its number of old (SQLITE_CONFIG_MEMSTATUS), and the answer of one that has done as told.
_STATISTICS, _DONE = 9, 0


def left_out() -> bool:
    """Are they? False too for a Python that brings its SQLite in one piece with itself."""
    spec = find_spec("_sqlite3")
    if spec is None or not spec.has_location or spec.origin is None:
        return False
    try:
        configure = ctypes.CDLL(spec.origin).sqlite3_config
    except (OSError, AttributeError):
        return False
    configure.argtypes = [ctypes.c_int]  # the others differ from option to option, which some machines want to know
    return bool(configure(_STATISTICS, ctypes.c_int(0)) == _DONE)


LEFT_OUT = left_out()
