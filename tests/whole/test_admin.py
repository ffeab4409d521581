from __future__ import annotations

from .serving import Serving
from .test_chat import ask


def test_a_run_can_be_read_back_with_its_attempts_and_what_happened_in_order(serving: Serving):
    id = ask(serving, model="midstream/rehearsal").headers["x-run-id"]
    run = serving.ask("GET", f"/v1/admin/runs/{id}").json
    assert (run["status"], run["face"], run["model"]) == ("completed", "openai_chat", "midstream/rehearsal")
    assert len(run["attempts"]) == 1
    events = serving.ask("GET", f"/v1/admin/runs/{id}/events").json["data"]
    kinds = ["run.started", "message", "attempt.started", "attempt.ended", "message", "run.ended"]
    assert [event["type"] for event in events] == kinds
    assert [event["sequence"] for event in events] == list(range(6))
    assert serving.ask("GET", "/v1/admin/runs").json["data"][0]["id"] == id


def test_attempts_are_paged_oldest_first(serving: Serving):
    for _ in range(3):
        ask(serving, model="midstream/rehearsal")
    first = serving.ask("GET", "/v1/admin/attempts?limit=2").json
    assert first["has_more"]
    rest = serving.ask("GET", f"/v1/admin/attempts?limit=1000&after={first['last_id']}").json
    assert not rest["has_more"]
    times = [row["started_at"] for row in first["data"] + rest["data"]]
    assert times == sorted(times)


def test_usage_is_summed_by_group(serving: Serving):
    ask(serving, model="midstream/rehearsal")
    rows = serving.ask("GET", "/v1/admin/usage?group_by=model").json["data"]
    [row] = [row for row in rows if row["group"] == "rehearsal"]
    made = [attempt for attempt in serving.attempts() if attempt["model"] == "rehearsal"]
    assert row["attempts"] == len(made)
    assert row["input_tokens"] == sum(attempt["usage"]["input_tokens"] for attempt in made)
    assert serving.ask("GET", "/v1/admin/usage?group_by=nothing").status == 400


def test_a_key_of_another_org_sees_nothing_of_this_one(serving: Serving):
    run = ask(serving, model="midstream/rehearsal", conversation={})
    org = serving.ask("POST", "/v1/admin/orgs", {"name": "other"}).json["id"]
    made = serving.ask("POST", "/v1/admin/keys", {"name": "k", "org_id": org, "scopes": ["admin"]})
    assert made.status == 201
    key = made.json["key"]
    foreign = serving.ask("GET", f"/v1/admin/runs/{run.headers['x-run-id']}", key=key)
    unknown = serving.ask("GET", "/v1/admin/runs/run_unknown", key=key)
    assert (foreign.status, unknown.status) == (404, 404)
    assert foreign.json["error"]["code"] == unknown.json["error"]["code"]
    assert serving.ask("GET", "/v1/admin/attempts", key=key).json["data"] == []
    body = {"model": "midstream/rehearsal", "messages": [], "conversation": run.headers["x-conversation-id"]}
    assert serving.ask("POST", "/v1/chat/completions", body, key=key).status == 404
    assert serving.ask("DELETE", f"/v1/admin/keys/{made.json['id']}?org_id={org}").status == 200
    assert serving.ask("GET", "/v1/models", key=key).status == 401


def test_admin_needs_the_scope_and_refuses_unknown_fields_by_name(serving: Serving):
    key = serving.ask("POST", "/v1/admin/keys", {"name": "plain"}).json["key"]
    assert serving.ask("GET", "/v1/models", key=key).status == 200
    assert serving.ask("GET", "/v1/admin/attempts", key=key).status == 403
    assert serving.ask("GET", "/metrics", key=key).status == 403
    assert serving.ask("GET", "/metrics", key="").status == 401
    refused = serving.ask("POST", "/v1/admin/keys", {"name": "k", "extra": 1})
    assert (refused.status, refused.json["error"]["param"]) == (400, "extra")


def test_metrics_count_runs_attempts_and_tokens(serving: Serving):
    ask(serving, model="midstream/rehearsal")
    text = serving.ask("GET", "/metrics").body.decode()
    assert 'midstream_runs_total{face="openai_chat",kind="chat",status="completed"}' in text
    assert 'midstream_attempts_total{provider="midstream",model="rehearsal",status="ok"}' in text
    assert "midstream_active_runs 0" in text


def test_what_is_not_built_is_refused_by_name_and_not_asked_for_again(serving: Serving):
    reply = serving.ask("POST", "/v1/completions", {"model": "m", "prompt": "hi"})
    assert (reply.status, reply.json["error"]["code"]) == (501, "not_implemented")
    assert "legacy completions" in reply.json["error"]["message"]
    assert reply.headers["x-should-retry"] == "false"
    assert serving.ask("POST", "/v1/messages/batches", {}).json["error"]["type"] == "api_error"
    assert serving.ask("GET", "/v1/nothing").status == 404


def test_the_openapi_document_has_every_route(serving: Serving):
    paths = serving.ask("GET", "/openapi.json", key="").json["paths"]
    for path in (
        "/v1/chat/completions", "/v1/messages", "/v1/messages/count_tokens", "/v1/embeddings", "/v1/models",
        "/v1beta/models/{model}:generateContent", "/v1/admin/attempts", "/v1/admin/usage", "/v1/admin/runs",
        "/v1/admin/keys",
    ):  # fmt: skip
        assert path in paths
