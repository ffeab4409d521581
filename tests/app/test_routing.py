from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from midstream.app.routing import Routes
from midstream.core.errors import MethodNotAllowed, MidstreamError, NotFound
from midstream.core.web import Route

ROUTES: Routes[str] = Routes(
    (Route(method, path, "task", "Says"), path)
    for method, path in (
        ("GET", "/a"), ("POST", "/a"), ("GET", "/a/{id}"), ("DELETE", "/a/{id}"), ("GET", "/m/{model:rest}"),
        ("POST", "/m/{model:rest}:generate"), ("POST", "/m/{model:rest}:count"), ("GET", "/a/{id}/items/{item}"),
        ("GET", "/dots.in+it"),
    )
)  # fmt: skip


@pytest.mark.parametrize(
    "method, path, owner, params",
    [
        ("GET", "/a", "/a", {}),
        ("POST", "/a", "/a", {}),
        ("GET", "/a/1", "/a/{id}", {"id": "1"}),
        ("DELETE", "/a/1", "/a/{id}", {"id": "1"}),
        ("GET", "/a/1/items/2", "/a/{id}/items/{item}", {"id": "1", "item": "2"}),
        ("GET", "/m/x", "/m/{model:rest}", {"model": "x"}),
        ("GET", "/m/up/x/y", "/m/{model:rest}", {"model": "up/x/y"}),
        ("POST", "/m/up/x:generate", "/m/{model:rest}:generate", {"model": "up/x"}),
        ("POST", "/m/a:b:count", "/m/{model:rest}:count", {"model": "a:b"}),
        ("GET", "/dots.in+it", "/dots.in+it", {}),
    ],
)
def test_a_path_belongs_to_its_route(method: str, path: str, owner: str, params: dict[str, str]):
    found, route, given = ROUTES.find(method, path)
    assert (found, route.path, route.method, given) == (owner, owner, method, params)


@pytest.mark.parametrize(
    "path", ["/", "", "/b", "/a/", "/a/1/2", "/m/", "/dotsXin+it", "/A", "/a/1/items/", "a", "/a/1\0", "/m/x\0y"]
)
def test_no_other_path_is_known(path: str):
    with pytest.raises(NotFound) as refused:
        ROUTES.find("GET", path)
    assert refused.value.code == "unknown_path"


@pytest.mark.parametrize(
    "path, near",
    [("/chat", "/v1/chat"), ("/v1/v1/chat", "/v1/chat"), ("/openai/v1/chat", "/v1/chat"), ("//v1/chat", "/v1/chat"),
     ("/v1/chat/", "/v1/chat"), ("/openai/deployments/x/chat", "/v1/chat"),
     ("/models/a/b:ask", "/v1beta/models/a/b:ask"), ("/v1beta/v1beta/models/x:ask", "/v1beta/models/x:ask"),
     ("/chats", ""), ("/list", ""), ("/", ""), ("/chat/" + "x/" * 8, ""), ("/x" * 9 + "/chat", "/v1/chat")],
)  # fmt: skip
def test_a_path_of_a_wrong_base_url_is_known_by_its_end(path: str, near: str):
    known = (("POST", "/v1/chat"), ("GET", "/v1/list"), ("POST", "/v1beta/models/{model:rest}:ask"))
    routes: Routes[str] = Routes((Route(method, path, "task", "Says"), path) for method, path in known)
    assert routes.near("POST", path) == near


@pytest.mark.parametrize(
    "method, path, allowed", [("PUT", "/a", "GET, HEAD, POST"), ("POST", "/a/1", "DELETE, GET, HEAD")]
)
def test_a_known_path_says_which_methods_it_has(method: str, path: str, allowed: str):
    with pytest.raises(MethodNotAllowed) as refused:
        ROUTES.find(method, path)
    assert allowed in refused.value.message


@given(st.sampled_from(["GET", "POST", "PUT", "BREW"]), st.text(max_size=20).map(lambda text: "/" + text))
def test_any_path_is_found_or_refused(method: str, path: str):
    try:
        ROUTES.find(method, path)
    except MidstreamError as error:
        refusal = error
    else:
        return
    assert refusal.status in (404, 405)
