"""`/docs`: the OpenAPI document as one page that needs nothing from anywhere else, so that it works offline."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from html import escape
from typing import Any

#: Nothing may be loaded and nothing may run.
HEADERS = {
    "content-security-policy": "default-src 'none'; style-src 'unsafe-inline'",
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
}
_STYLE = """
:root { color-scheme: light dark; --line: #8884; --dim: #888; }
body { font: 15px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; }
h1 small { color: var(--dim); font-weight: normal; font-size: 50%; }
h2 { margin: 2.5rem 0 .25rem; }
p { margin: .25rem 0 .75rem; }
nav a { margin-right: 1rem; }
article { border-top: 1px solid var(--line); padding: .6rem 0; }
code { font: 13px/1.5 ui-monospace, monospace; overflow-wrap: anywhere; }
.method { display: inline-block; min-width: 4.5rem; font: bold 12px ui-monospace, monospace; }
.post { color: #2a7; } .get { color: #48d; } .delete { color: #d55; }
.summary { color: var(--dim); margin-left: .75rem; }
table { border-collapse: collapse; margin: .4rem 0 .2rem 4.5rem; font-size: 13px; }
td { padding: .1rem 1.2rem .1rem 0; vertical-align: top; }
td:not(:first-child) { color: var(--dim); }
"""


def docs_page(document: Mapping[str, Any]) -> bytes:
    """document: OpenAPI 3.1; its tags are the page's sections, in their order."""
    title, version = escape(document["info"]["title"]), escape(document["info"]["version"])
    tags = document.get("tags", [])
    links = "".join(f'<a href="#{escape(tag["name"])}">{escape(_words(tag["name"]))}</a>' for tag in tags)
    sections = "".join(_section(tag, document) for tag in tags)
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{title}</title>'
        f'<meta name="viewport" content="width=device-width"><style>{_STYLE}</style></head><body>'
        f"<h1>{title} <small>{version}</small></h1>"
        f"<p>Send a key as <code>Authorization: Bearer</code>, <code>x-api-key</code> or <code>x-goog-api-key</code>. "
        f'The same for programs: <a href="/openapi.json">/openapi.json</a>.</p>'
        f"<nav>{links}</nav>{sections}</body></html>"
    ).encode()


def _words(name: str) -> str:
    return name.replace("_", " ")


def _section(tag: Mapping[str, Any], document: Mapping[str, Any]) -> str:
    operations = "".join(
        _operation(method, path, operation, document)
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
        if tag["name"] in operation.get("tags", ())
    )
    name, said = escape(tag["name"]), escape(tag.get("description", ""))
    return f'<section id="{name}"><h2>{escape(_words(tag["name"]))}</h2><p>{said}</p>{operations}</section>'


def _operation(method: str, path: str, operation: Mapping[str, Any], document: Mapping[str, Any]) -> str:
    rows = "".join(
        f"<tr><td><code>{escape(name)}</code></td><td>{escape(place)}</td><td>{escape(said)}</td></tr>"
        for name, place, said in _fields(operation, document)
    )
    method, table = escape(method), f"<table>{rows}</table>" if rows else ""
    summary = escape(operation.get("summary", ""))
    return (
        f'<article><span class="method {method}">{method.upper()}</span> <code>{escape(path)}</code>'
        f'<span class="summary">{summary}</span>{table}</article>'
    )


def _fields(operation: Mapping[str, Any], document: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
    """(name, where it stands, what it may be) of every parameter and every named field of the body."""
    for parameter in operation.get("parameters", ()):
        schema = parameter.get("schema", {})
        said = _said(schema, parameter.get("required", False), parameter.get("description", ""))
        yield parameter["name"], parameter["in"], said
    content = operation.get("requestBody", {}).get("content", {})
    schema = _resolved(content.get("application/json", {}).get("schema", {}), document)
    for name, field in schema.get("properties", {}).items():
        yield name, "body", _said(field, name in schema.get("required", ()), "")


def _said(schema: Mapping[str, Any], required: bool, description: str) -> str:
    pieces = [_type(schema)]
    bounds = [
        f"{word} {schema[key]}" for word, key in (("at least", "minimum"), ("at most", "maximum")) if key in schema
    ]
    pieces += [" and ".join(bounds), "required" if required else "", description or schema.get("description", "")]
    if schema.get("default") not in (None, "", []):
        pieces.append(f"default {schema['default']}")
    return ", ".join(piece for piece in pieces if piece)


def _type(schema: Mapping[str, Any]) -> str:
    if "enum" in schema:
        return " | ".join(map(str, schema["enum"]))
    if "anyOf" in schema:
        return " | ".join(_type(one) for one in schema["anyOf"] if one.get("type") != "null")
    kind = "object" if "$ref" in schema else str(schema.get("type", "any"))
    return f"{kind} of {_type(schema['items'])}" if kind == "array" and "items" in schema else kind


def _resolved(schema: Mapping[str, Any], document: Mapping[str, Any]) -> Mapping[str, Any]:
    """A schema, or what it refers to among the document's own."""
    name = schema.get("$ref", "").removeprefix("#/components/schemas/")
    found: Mapping[str, Any] = document["components"]["schemas"][name] if name else schema
    return found
