"""Every key is found on the line that it stands on."""

from __future__ import annotations

import tomllib

from hypothesis import given, settings
from hypothesis import strategies as st

from midstream.app.config_lines import KeyPath, key_lines

TRICKY = '''\
# [not.a.table]
top = 1
a.b . "c.d" = """
x = 1
[fake]
\\"""quoted\\""" ""two"""""
[table.'quoted ]']   # comment = 2
list = [ # [
  1, "two, ]", # ,
  { in = 3, "x\\u0041" = [
     4] },
]
lit = \'\'\'
y = 2\'\'\'
date = 2026-01-01T00:00:00Z
[[many]]
k = 1
[[many]]
k = { a = 1, b.c = 2 }
[many.sub]
z = "#"
'''


def test_strings_comments_lists_and_inline_tables_do_not_confuse_it() -> None:
    tomllib.loads(TRICKY)
    lines = key_lines(TRICKY)
    assert lines == {
        ("top",): 2,
        ("a",): 3, ("a", "b"): 3, ("a", "b", "c.d"): 3,
        ("table",): 7, ("table", "quoted ]"): 7,
        ("table", "quoted ]", "list"): 8,
        ("table", "quoted ]", "list", 0): 9, ("table", "quoted ]", "list", 1): 9,
        ("table", "quoted ]", "list", 2): 10,
        ("table", "quoted ]", "list", 2, "in"): 10, ("table", "quoted ]", "list", 2, "xA"): 10,
        ("table", "quoted ]", "list", 2, "xA", 0): 11,
        ("table", "quoted ]", "lit"): 13,
        ("table", "quoted ]", "date"): 15,
        ("many",): 16, ("many", 0): 16, ("many", 0, "k"): 17,
        ("many", 1): 18, ("many", 1, "k"): 19,
        ("many", 1, "k", "a"): 19, ("many", 1, "k", "b"): 19, ("many", 1, "k", "b", "c"): 19,
        ("many", 1, "sub"): 20, ("many", 1, "sub", "z"): 21,
    }  # fmt: skip


def test_windows_line_ends_count_once() -> None:
    assert key_lines("a = 1\r\nb = [\r\n1]\r\n") == {("a",): 1, ("b",): 2, ("b", 0): 3}


KEYS = st.sampled_from(["a", "b-c", '"d.e"', "'f g'", '"\\u0041"'])
VALUES = st.sampled_from(
    [
        "1",
        '"s"',
        "'# x'",
        "[]",
        "[1,\n2]",
        "{ k = [1] }",
        '"""\na\nb"""',
        "'''\n[x]\n'''",
        "true",
        "1979-05-27 07:32:00",
    ]
)


@settings(max_examples=200, deadline=None)
@given(st.lists(st.tuples(KEYS, KEYS, VALUES, st.sampled_from(["", "\n", " # c\n", "# [t]\n"])), max_size=6))
def test_every_key_that_tomllib_sees_has_a_line(entries: list[tuple[str, str, str, str]]) -> None:
    text = ""
    for table, key, value, gap in entries:
        text += f"[[{table}]]\n{gap}{key} = {value}\n"
    assert set(key_lines(text)) == set(paths(tomllib.loads(text), ()))


def paths(value: object, path: KeyPath) -> list[KeyPath]:
    found = [path] if path else []
    pairs = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in pairs:
        found += paths(item, (*path, key))
    return found
