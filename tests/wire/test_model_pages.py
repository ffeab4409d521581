"""Lists of models, page by page, as Anthropic's and Google's clients ask for them."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from midstream.core.errors import BadRequest
from midstream.wire import anthropic_messages, gemini

IDS = [f"p/m-{number}" for number in range(1100)]


def claudes(count: int = 1100, **query: str) -> Any:
    return msgspec.json.decode(anthropic_messages.write_models(IDS[:count], query))


def ids(page: Any) -> list[str]:
    return [model["id"] for model in page["data"]]


def googles(count: int = 1100, **query: str) -> tuple[list[str], str | None]:
    page = msgspec.json.decode(gemini.write_models(IDS[:count], query))
    return [model["name"].removeprefix("models/") for model in page["models"]], page.get("nextPageToken")


def test_anthropics_list_has_twenty_models_unless_more_are_asked_for():
    page = claudes()
    assert ids(page) == IDS[:20]
    assert (page["has_more"], page["first_id"], page["last_id"]) == (True, IDS[0], IDS[19])
    assert claudes(20)["has_more"] is False
    assert ids(claudes(limit="1000")) == IDS[:1000]


def test_anthropics_list_goes_on_after_a_model_and_back_before_one():
    page = claudes(10, limit="3", after_id=IDS[5])
    assert (ids(page), page["has_more"]) == (IDS[6:9], True)
    page = claudes(10, limit="3", after_id=IDS[6])
    assert (ids(page), page["has_more"], page["last_id"]) == (IDS[7:10], False, IDS[9])
    page = claudes(10, limit="3", after_id=IDS[9])
    assert (ids(page), page["has_more"], page["first_id"], page["last_id"]) == ([], False, None, None)
    page = claudes(10, limit="3", before_id=IDS[5])
    assert (ids(page), page["has_more"], page["first_id"]) == (IDS[2:5], True, IDS[2])
    page = claudes(10, limit="3", before_id=IDS[3])
    assert (ids(page), page["has_more"]) == (IDS[:3], False)
    page = claudes(10, limit="3", before_id=IDS[0])
    assert (ids(page), page["has_more"]) == ([], False)


@pytest.mark.parametrize(
    "query, param",
    [
        *(({"limit": limit}, "limit") for limit in ("0", "1001", "-1", "1.5", "ten", "", "9" * 5000, "²", " 5")),
        ({"after_id": "p/gone"}, "after_id"),
        ({"before_id": "p/gone"}, "before_id"),
        ({"after_id": IDS[0], "before_id": IDS[5]}, "before_id"),
    ],
)
def test_a_page_that_anthropics_list_cannot_have_is_refused_by_the_parameters_name(query: dict[str, str], param: str):
    with pytest.raises(BadRequest) as refused:
        claudes(10, **query)
    assert refused.value.param == param
    assert param in refused.value.message


def test_googles_list_has_fifty_models_unless_another_size_is_asked_for():
    assert googles()[0] == googles(pageSize="0")[0] == IDS[:50]
    assert googles(50) == (IDS[:50], None)
    assert googles(51)[1] is not None
    assert googles(pageSize="3")[0] == googles(page_size="3")[0] == IDS[:3]
    assert googles(pageSize="5000")[0] == IDS[:1000], "Google gives at most 1000, whatever is asked for"


@pytest.mark.parametrize("size", ["1", "7", "300", "1000", "2000"])
def test_googles_list_is_read_to_its_end_by_its_tokens(size: str):
    read, token = googles(pageSize=size, pageToken="")
    pages = 1
    while token is not None:
        more, token = googles(pageSize=size, pageToken=token)
        read, pages = [*read, *more], pages + 1
    assert read == IDS
    assert pages == -(-len(IDS) // min(int(size), 1000))


@pytest.mark.parametrize(
    "query, param",
    [
        *(({"pageSize": size}, "pageSize") for size in ("-1", "1.5", "many", "", "9" * 5000)),
        *(({"pageToken": token}, "pageToken") for token in ("none", "é", "cC9nb25l", "p/m-1", "A")),
        ({"page_token": "none"}, "pageToken"),
    ],
)
def test_a_page_that_googles_list_cannot_have_is_refused_by_the_parameters_name(query: dict[str, str], param: str):
    with pytest.raises(BadRequest) as refused:
        googles(10, **query)
    assert refused.value.param == param
    assert param in refused.value.message
