"""Lists of models as callers get them, in the shape and the pages of who asks."""

from __future__ import annotations

from pathlib import Path

import pytest

from .asgi import Here, here

CLAUDES, GOOGLES = {"anthropic-version": "2023-06-01"}, {"x-goog-api-client": "google-genai-sdk/2"}
#: What says in a refusal that the request is at fault.
ANTHROPIC, GOOGLE = ("type", "invalid_request_error"), ("status", "INVALID_ARGUMENT")


@pytest.mark.parametrize(
    "path, mark, param, said",
    [
        ("/v1/models?limit=0", CLAUDES, "limit", ANTHROPIC),
        ("/v1/models?after_id=gone", CLAUDES, "after_id", ANTHROPIC),
        ("/v1/models?pageSize=-1", GOOGLES, "pageSize", GOOGLE),
        ("/v1beta/models?pageSize=x", {}, "pageSize", GOOGLE),
        ("/v1beta/models?pageToken=x", {}, "pageToken", GOOGLE),
    ],
)
def test_a_page_that_cannot_be_is_refused_in_the_grammar_of_who_asks(
    tmp_path: Path, path: str, mark: dict[str, str], param: str, said: tuple[str, str]
):
    async def test(app: Here) -> None:
        reply = await app.ask("GET", path, **mark)
        assert reply.status == 400
        error = reply.json["error"]
        assert error[said[0]] == said[1]
        assert param in error["message"]

    here(tmp_path, test)


@pytest.mark.parametrize("path", ["/v1beta/models/:generateContent", "/v1beta/models:streamGenerateContent"])
def test_who_names_no_model_in_geminis_path_is_told_so(tmp_path: Path, path: str):
    async def test(app: Here) -> None:
        reply = await app.ask("POST", path, {"contents": [{"parts": [{"text": "hi"}]}]})
        assert (reply.status, reply.json["error"]["status"]) == (400, "INVALID_ARGUMENT")
        assert "missing in the path" in reply.json["error"]["message"]

    here(tmp_path, test)


def test_openais_list_has_no_pages(tmp_path: Path):
    async def test(app: Here) -> None:
        assert (await app.ask("GET", "/v1/models?limit=0&after=x")).json == (await app.ask("GET", "/v1/models")).json

    here(tmp_path, test)
