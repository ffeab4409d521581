"""Test cases of agents on a real server: versions are tried with them and compared."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from .agents_at import Agents
from .serving import Serving
from .upstream import Asked, Said, Upstream, whole

#: What texts mean, as the service on loopback has it.
MEANING = {
    "two words": [3.0, 4.0],
    "word1 word2": [30.0, 40.0],
    "nothing like it": [-4.0, 3.0],
    "half of it": [3.0, 0.0],
}


def judged(asked: Asked) -> Said:
    usage = {"prompt_tokens": 5, "completion_tokens": 5, "total_tokens": 10}
    if asked.path.endswith("/embeddings"):
        vectors = [MEANING[text] for text in asked.json["input"]]
        data = [{"object": "embedding", "index": at, "embedding": one} for at, one in enumerate(vectors)]
        return whole({"object": "list", "model": asked.json["model"], "data": data, "usage": usage})
    rubric, shown = (message["content"] for message in asked.json["messages"][:2])
    again = len(asked.json["messages"]) > 2
    if "be polite" in rubric:
        said = '{"score": 0.7, "reason": "No thanks are given."}' if again else "Seven out of ten."
    else:
        said = '{"score": 0.0, "reason": "Other words."}' if "nothing" in shown else '{"score": 1, "reason": "Same."}'
    message = {"role": "assistant", "content": said}
    choices = [{"index": 0, "message": message, "finish_reason": "stop"}]
    return whole({"id": "c", "object": "chat.completion", "model": "judge", "choices": choices, "usage": usage})


@pytest.fixture(scope="module")
def upstream() -> Iterator[Upstream]:
    with Upstream(judged) as one:
        yield one


@pytest.fixture(scope="module")
def agents(upstream: Upstream, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Agents]:
    toml = f'[providers.up]\nkind = "openai_compatible"\nbase_url = "{upstream.url}/v1"\nmodels = ["e", "judge"]\n'
    with Serving(tmp_path_factory.mktemp("cases"), toml) as serving:
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


def test_answers_are_compared_by_their_meaning(agents: Agents):
    agent = agents.agent()
    path = f"/v1/admin/agents/{agent}"
    first = agents.serving.ask("GET", path).json["published_version_id"]
    case = {"input": "say 2 words", "match": "cosine"}
    refused = agents.serving.ask("POST", f"{path}/test_cases", {**case, "expected": "two words"})
    assert (refused.status, refused.json["error"]["param"]) == (400, "by")
    wrong = {"embedding": {"service": "up", "model": "nobody"}}
    assert agents.serving.ask("PATCH", "/v1/admin/settings", wrong).json["error"]["param"] == "embedding"
    assert agents.serving.ask("PATCH", "/v1/admin/settings", {"embedding": {"model": "e"}}).status == 200
    by = {"service": "up", "model": "e"}
    wanted = {"two words": 1.0, "nothing like it": 0.0, "half of it": 0.6}
    ids = {agents.post(f"{path}/test_cases", {**case, "expected": one})["id"]: score for one, score in wanted.items()}
    ids[agents.post(f"{path}/test_cases", {**case, "expected": "two words", "by": by})["id"]] = 1.0
    run = agents.post(f"{path}/test_runs", {"version_id": first})
    assert {one["case_id"]: one["score"] for one in run["data"]} == ids, run
    attempts = agents.serving.ask("GET", "/v1/admin/attempts?limit=1000").json["data"]
    assert sum(one["usage"]["input_tokens"] for one in attempts if one["model"] == "e") == 4 * 5


def test_a_model_judges_answers_by_a_rubric_and_says_why(agents: Agents, upstream: Upstream):
    agent = agents.agent()
    path = f"/v1/admin/agents/{agent}"
    first = agents.serving.ask("GET", path).json["published_version_id"]

    def case(**body: Any) -> str:
        more = {"input": "say 2 words", "match": "judge", "by": {"service": "up", "model": "judge"}, **body}
        return str(agents.post(f"{path}/test_cases", more)["id"])

    same, other = case(expected="two words"), case(expected="nothing like it")
    polite = case(expected="", rubric="The answer must be polite.")
    broken = case(expected="x", input="fail:400")
    run = agents.post(f"{path}/test_runs", {"version_id": first})
    told = {one["case_id"]: (one["score"], one.get("reason")) for one in run["data"]}
    assert told == {
        same: (1.0, "Same."), other: (0.0, "Other words."), polite: (0.7, "No thanks are given."), broken: (0.0, None),
    }  # fmt: skip
    asked = [one.json for one in upstream.asked if one.path.endswith("/chat/completions")]
    assert all(one["response_format"]["type"] == "json_schema" for one in asked)
    [first_asked, *_] = [one for one in asked if "be polite" in one["messages"][0]["content"]]
    assert "<answer>\nword1 word2\n</answer>" in first_asked["messages"][1]["content"]
    both = agents.serving.ask("GET", f"{path}/test_runs?versions={first}").json
    assert {row["id"]: row["versions"][first].get("reason") for row in both["data"]}[same] == "Same."


def test_without_another_the_agents_own_model_judges_and_what_cannot_be_scored_is_refused(agents: Agents):
    agent = agents.agent()
    path = f"/v1/admin/agents/{agent}"
    first = agents.serving.ask("GET", path).json["published_version_id"]
    judge = {"input": "hello", "expected": "hi", "match": "judge"}
    agents.post(f"{path}/test_cases", judge)
    [one] = agents.post(f"{path}/test_runs", {"version_id": first})["data"]
    assert (one["error"], 0 <= one["score"] <= 1) == (None, True)  # the rehearsal model answers in any form
    for body, param in (
        ({**judge, "expected": ""}, "rubric"),
        ({**judge, "by": {"service": "up", "model": "nobody"}}, "by"),
        ({**judge, "by": {"model": ""}}, "by.model"),
        ({**judge, "match": "cosine", "rubric": "x"}, "rubric"),
        ({**judge, "match": "exact", "by": {"model": "e"}}, "by"),
    ):
        refused = agents.serving.ask("POST", f"{path}/test_cases", body)
        assert (refused.status, refused.json["error"]["param"]) == (400, param), body
