from __future__ import annotations

from html.parser import HTMLParser
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from midstream.app.docs_page import HEADERS, docs_page

#: What makes a browser fetch something.
FETCHES = {"src", "srcset", "href", "data", "action", "poster", "background"}


class Elements(HTMLParser):
    def __init__(self, page: bytes) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(page.decode())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += f" {data}"


def document(**operation: Any) -> dict[str, Any]:
    return {
        "info": {"title": "Midstream", "version": "1"},
        "tags": [{"name": "keys", "description": "API keys"}],
        "paths": {"/v1/keys/{id}": {"post": {"tags": ["keys"], **operation}}},
        "components": {"schemas": {"New": {
            "properties": {"name": {"type": "string"}, "scopes": {"type": "array", "items": {"type": "string"}}},
            "required": ["name"],
        }}},
    }  # fmt: skip


def test_a_route_is_shown_with_its_summary_parameters_and_body_fields():
    shown = Elements(docs_page(document(
        summary="Make a key",
        parameters=[
            {"name": "id", "in": "path", "required": True, "schema": {"type": "string"}},
            {"name": "limit", "in": "query", "schema": {
                "type": "integer", "minimum": 1, "maximum": 9, "default": 5,
            }},
            {"name": "to", "in": "query", "description": "unix seconds", "schema": {
                "anyOf": [{"type": "number"}, {"type": "null"}],
            }},
            {"name": "by", "in": "query", "schema": {"enum": ["a", "b"]}},
        ],
        requestBody={"content": {"application/json": {"schema": {"$ref": "#/components/schemas/New"}}}},
    ))).text  # fmt: skip
    shown = " ".join(shown.split())
    for words in (
        "POST /v1/keys/{id} Make a key", "id path string, required",
        "limit query integer, at least 1 and at most 9, default 5", "to query number, unix seconds",
        "by query a | b", "name body string, required", "scopes body array of string",
    ):  # fmt: skip
        assert words in shown


def test_the_page_loads_nothing_and_runs_nothing():
    for tag, attributes in Elements(docs_page(document())).found:
        assert tag not in ("script", "link", "img", "iframe", "object", "embed")
        for name in FETCHES & attributes.keys():
            assert (attributes[name] or "").startswith(("#", "/openapi.json"))
    assert "default-src 'none'" in HEADERS["content-security-policy"]


@given(st.text(st.sampled_from("<>&\"'`ab="), max_size=20))
def test_no_text_of_the_document_becomes_markup(text: str):
    plain = Elements(docs_page(document(summary="s", parameters=[
        {"name": "n", "in": "path", "description": "d", "schema": {"default": "x"}},
    ])))  # fmt: skip
    odd = document(summary=text or "s", parameters=[
        {"name": text, "in": "path", "description": text or "d", "schema": {"default": text or "x"}},
    ])  # fmt: skip
    odd["info"]["title"] = text
    odd["tags"][0]["description"] = text
    assert [tag for tag, _ in Elements(docs_page(odd)).found] == [tag for tag, _ in plain.found]
