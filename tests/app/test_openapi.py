from __future__ import annotations

import json
import re
from typing import Any

from midstream.app.faces import all_faces
from midstream.app.openapi import describe
from midstream.app.operations import OPEN


def described() -> dict[str, Any]:
    refusal = {"422": {"description": "Validation Error"}}
    document: dict[str, Any] = {
        "paths": {"/v1/admin/keys": {"post": {"tags": ["keys"], "responses": {"201": {}, **refusal}}}},
        "components": {"schemas": {"NewKey": {}, "HTTPValidationError": {}, "ValidationError": {}}},
    }
    describe(document, all_faces(), OPEN)
    return document


def test_every_route_of_a_face_stands_under_its_tag():
    document = described()
    for face in all_faces().values():
        for route in face.ROUTES:
            path = route.path.replace(":rest}", "}")
            assert document["paths"][path][route.method.lower()]["tags"] == [face.NAME]
    assert document["paths"]["/v1beta/models/{model}"]["get"]["parameters"][0]["name"] == "model"


def test_every_tag_is_described():
    document = described()
    used = {tag for path in document["paths"].values() for operation in path.values() for tag in operation["tags"]}
    assert used <= {tag["name"] for tag in document["tags"]}
    assert all(tag["description"] for tag in document["tags"])


def test_what_needs_no_key_is_said_and_the_rest_needs_one():
    document = described()
    assert document["security"]
    for path in OPEN:
        assert document["paths"][path]["get"]["security"] == [{}]
    assert "security" not in document["paths"]["/metrics"]["get"]
    assert "security" not in document["paths"]["/v1/messages"]["post"]


def test_a_bad_field_is_described_as_it_is_refused():
    document = described()
    assert document["paths"]["/v1/admin/keys"]["post"]["responses"].keys() == {"201", "400", "4XX", "5XX"}
    assert {name for name in document["components"]["schemas"] if "." not in name} == {"NewKey"}


def test_operation_ids_are_unique():
    ids = [
        operation["operationId"]
        for path in described()["paths"].values()
        for operation in path.values()
        if "operationId" in operation
    ]
    assert len(ids) == len(set(ids))


def test_the_bodies_of_our_own_formats_are_described_and_every_reference_leads_somewhere():
    document = described()
    schemas = document["components"]["schemas"]

    def body(path: str) -> dict[str, Any]:
        schema = document["paths"][path]["post"]["requestBody"]["content"]["application/json"]["schema"]
        return schemas[schema["$ref"].rpartition("/")[2]] if "$ref" in schema else schema

    said = body("/api/v1/conversation")
    assert {"message", "conversationId", "agentId", "stream"} <= said["properties"].keys()
    assert said["additionalProperties"] is False
    assert {"user", "agent_id", "response_format"} <= body("/api/v2/model/chat/completion")["properties"].keys()
    assert body("/v1/messages")["type"] == "object"
    text = json.dumps(document)
    for name in re.findall(r'"#/components/schemas/([^"]+)"', text):
        assert name in schemas
        assert re.fullmatch(r"[A-Za-z0-9._-]+", name)
