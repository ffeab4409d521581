from __future__ import annotations

import subprocess
import sys

#: Told by SQLite itself: the highest use of memory that it has seen, which stays 0 without statistics.
ASKED = """
import ctypes, importlib.util
{first}
import midstream.store
import sqlite3
connection = sqlite3.connect(":memory:")
connection.execute("CREATE TABLE t (x)")
library = ctypes.CDLL(importlib.util.find_spec("_sqlite3").origin)
library.sqlite3_memory_used.restype = ctypes.c_int64
print(midstream.store.unmetered.LEFT_OUT, library.sqlite3_memory_used(), sqlite3.threadsafety)
connection.execute("INSERT INTO t VALUES (1)")
assert connection.execute("SELECT x FROM t").fetchall() == [(1,)]
"""


def told(first: str) -> list[str]:
    asked = [sys.executable, "-c", ASKED.format(first=first)]
    return subprocess.run(asked, check=True, capture_output=True, text=True, timeout=60).stdout.split()


def test_sqlite_counts_no_memory_and_is_as_safe_among_threads_as_before():
    assert told("") == ["True", "0", "3"]


def test_an_sqlite_that_is_in_use_already_stays_as_it_was():
    left_out, used, _ = told("import sqlite3; sqlite3.connect(':memory:')")
    assert left_out == "False"
    assert int(used) > 0


def test_a_python_without_a_library_of_it_goes_on():
    left_out, _, _ = told(
        "import importlib.util as u, importlib.machinery as m; own = u.find_spec\n"
        "u.find_spec = lambda name: m.ModuleSpec(name, None, origin='built-in')\n"
        "import midstream.store.unmetered\nu.find_spec = own"
    )
    assert left_out == "False"
