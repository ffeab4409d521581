from __future__ import annotations

import pytest

from midstream.app.faces import all_faces
from midstream.app.not_built import _NAMES, not_built


@pytest.mark.parametrize(
    "path",
    [
        "/v1/completions", "/v1/batches/batch_1/cancel", "/v1/fine_tuning/jobs", "/v1/conversations/conv_1/items",
        "/v1beta/models/gemini-3:batchGenerateContent", "/v1/cachedContents", "/v1beta/cachedContents/1",
        "/upload/v1beta/files", "/v1beta/fileSearchStores", "/v1beta/interactions",
    ],
)  # fmt: skip
def test_a_known_operation_is_refused_by_its_name(path: str):
    refusal = not_built(path)
    assert refusal is not None
    assert (refusal.status, refusal.code) == (501, "not_implemented")


@pytest.mark.parametrize(
    "path", ["/v1/nothing", "/v1/completionsx", "/v1", "/", "/v1/chat/completions", "/v1beta/models/x:y"]
)
def test_other_paths_are_unknown(path: str):
    assert not_built(path) is None


def test_nothing_is_named_that_is_offered():
    offered = {route.path for face in all_faces().values() for route in face.ROUTES}
    assert not offered & _NAMES.keys()
