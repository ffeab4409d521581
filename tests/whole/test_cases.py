"""Test cases of agents on a real server: versions are tried with them and compared."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from .agents_at import Agents
from .serving import Serving


@pytest.fixture(scope="module")
def agents(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Agents]:
    with Serving(tmp_path_factory.mktemp("cases")) as serving:
        yield Agents(serving)


def test_versions_are_tried_with_every_case_and_stand_side_by_side(agents: Agents):
    agent = agents.agent()
    path = f"/v1/admin/agents/{agent}"
    first = agents.serving.ask("GET", path).json["published_version_id"]
    draft = {"service": "midstream", "configuration": {"model": "rehearsal", "response_type": "json"}}
    second = agents.post(f"{path}/versions", draft)["version_id"]

    def case(**body: Any) -> str:
        return str(agents.post(f"{path}/test_cases", body)["id"])

    exact = case(input="say 2 words", expected="word1 word2")
    within = case(input="hello", expected="YOU SAID", match="contains")
    same = case(input="hello", expected="{}", match="json")
    broken = case(input="fail:400", expected="x")
    run = agents.post(f"{path}/test_runs", {"version_id": first})
    assert {one["case_id"]: one["score"] for one in run["data"]} == {exact: 1, within: 1, same: 0, broken: 0}
    assert run["mean"] == 0.5
    assert {one["case_id"]: one["error"] and one["error"]["code"] for one in run["data"]}[broken] == "rehearsed_400"
    agents.post(f"{path}/test_runs", {"version_id": second})
    both = agents.serving.ask("GET", f"{path}/test_runs?versions={first},{second}").json
    assert both["mean"] == {first: 0.5, second: 0.25}
    [row] = [one for one in both["data"] if one["id"] == same]
    assert row["versions"][first]["answer"] != row["versions"][second]["answer"] == "{}"
    threads = agents.serving.ask("GET", f"/v1/admin/metrics?agent_id={agent}").json["data"]
    assert threads == []  # trying counts nowhere but in the attempts


def test_cases_are_listed_deleted_and_checked_and_another_orgs_are_unknown(agents: Agents):
    agent = agents.agent()
    path = f"/v1/admin/agents/{agent}/test_cases"
    made = agents.post(path, {"input": "hi", "expected": "hello"})
    assert agents.serving.ask("GET", path).json["data"] == [made]
    refused = agents.serving.ask("POST", path, {"input": "hi", "expected": "{", "match": "json"})
    assert (refused.status, refused.json["error"]["param"]) == (400, "expected")
    other = agents.agent()
    assert agents.serving.ask("DELETE", f"/v1/admin/agents/{other}/test_cases/{made['id']}").status == 404
    org = agents.post("/v1/admin/orgs", {"name": "other"})["id"]
    key = agents.post("/v1/admin/keys", {"name": "k", "org_id": org, "scopes": ["admin"]})["key"]
    assert agents.serving.ask("GET", path, key=key).status == 404
    unknown = {"version_id": "ver_0"}
    assert agents.serving.ask("POST", f"/v1/admin/agents/{agent}/test_runs", unknown).status == 404
    assert agents.serving.ask("DELETE", f"{path}/{made['id']}").status == 200
    assert agents.serving.ask("GET", path).json["data"] == []
