"""Where the last statement of a Python program begins, found without a parser: programs are models' words, and parsers
in this process can be made to stand still or to end it. Whether it is an expression, the sandbox is asked."""

from __future__ import annotations

import re

#: What follows a `;` in a line that begins so is not a statement of its own.
_COMPOUND = frozenset({
    "if", "elif", "else", "for", "while", "with", "try", "except", "finally", "def", "class", "async", "match", "case",
})  # fmt: skip
_TOKEN = re.compile(
    r"(?P<space>[ \t\f\r]+|\\\r?\n|\#[^\n]*)|(?P<line>\n)|(?P<end>;)|(?P<open>[(\[{])|(?P<close>[)\]}])"
    r"|(?P<text>[A-Za-z]{0,2}(?:'''|\"\"\"|'|\"))|(?P<word>\w+)|(?P<other>.)"
)
_ENDS = {quote: re.compile(rf"(?:\\.|[^\\])*?{quote}", re.DOTALL) for quote in ("'''", '"""')} | {
    quote: re.compile(rf"(?:\\.|[^\\{quote}\n])*(?:{quote}|(?=\n))", re.DOTALL) for quote in ("'", '"')
}


def last_statement(code: str) -> tuple[int, int]:
    """Its begin and its end, twice len(code) when there is none."""
    at, depth = 0, 0
    start = stop = len(code)
    simple = begins = True
    while at < len(code):
        token = _TOKEN.match(code, at)
        assert token is not None
        kind = token.lastgroup
        first = begins and kind not in ("space", "line", "end")
        if first and (at == 0 or code[at - 1] == "\n" or (simple and start < len(code) and not depth)):
            if at == 0 or code[at - 1] == "\n":
                simple = token[0] not in _COMPOUND
            start, stop = at, len(code)
        begins = begins and not first
        if kind == "end" and simple and not depth:
            stop = max(start, min(stop, at))  # after it only blanks and comments, or the next one
        at = token.end()
        if kind == "text":
            end = _ENDS[token[0].lstrip("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ")].match(code, at)
            at = len(code) if end is None else end.end()
        elif kind in ("open", "close"):
            depth = max(0, depth + (1 if kind == "open" else -1))
        elif not depth and (kind == "line" or (kind == "end" and simple)):
            begins = True
    return start, stop
