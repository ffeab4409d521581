"""The built-in model does what the text tells it to, and no rehearsed failure takes it away from others."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from openai import OpenAI

from .serving import ADMIN_KEY, Serving
from .test_chat import ask

WEATHER = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}


@pytest.fixture(scope="module")
def serving(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    with Serving(tmp_path_factory.mktemp("rehearsal")) as running:
        yield running


def say(serving: Serving, text: str, **more: Any) -> Any:
    return ask(serving, model="midstream/rehearsal", messages=[{"role": "user", "content": text}], **more)


def content(reply: Any) -> str:
    return str(reply.json["choices"][0]["message"]["content"])


def offered(*names: str) -> list[dict[str, Any]]:
    return [{"type": "function", "function": {"name": name, "parameters": WEATHER}} for name in names]


def test_it_says_what_it_is_and_repeats_what_it_was_told(serving: Serving):
    assert content(say(serving, "Hello there")) == "This is the rehearsal model. You said (2 words): Hello there"
    assert content(say(serving, "say 3 words")) == "word1 word2 word3"
    assert say(serving, "say 3 words", max_tokens=2).json["choices"][0]["finish_reason"] == "length"


def test_a_stream_is_paced(serving: Serving):
    body = say(serving, "pace 1, say 4 words", stream=True).body
    assert body.count(b'"content":"word') == 4
    assert body.endswith(b"data: [DONE]\n\n")


def test_it_calls_every_tool_that_is_named_and_reports_the_results(serving: Serving):
    asked = {"role": "user", "content": "use get_weather and get_time"}
    tools = offered("get_weather", "get_time", "get_lost")
    message = say(serving, asked["content"], tools=tools).json["choices"][0]["message"]
    calls = message["tool_calls"]
    assert [call["function"]["name"] for call in calls] == ["get_weather", "get_time"]
    assert calls[0]["function"]["arguments"] == '{"city":"city"}'
    results = [{"role": "tool", "tool_call_id": call["id"], "content": "fine"} for call in calls]
    told = ask(serving, model="midstream/rehearsal", messages=[asked, message, *results], tools=tools)
    assert "The tools answered" in content(told)


@pytest.mark.parametrize("stream", [False, True])
def test_log_probabilities_that_it_does_not_have_are_named_or_refused(serving: Serving, stream: bool):
    wanted = {"logprobs": True, "top_logprobs": 2, "stream": stream}
    reply = say(serving, "Hello", **wanted)
    assert reply.status == 200
    assert reply.headers["x-midstream-dropped-params"] == "logprobs,top_logprobs"
    body = {"model": "midstream/rehearsal", "messages": [{"role": "user", "content": "Hello"}], **wanted}
    refused = serving.ask("POST", "/v1/chat/completions", body, x_midstream_strict="true")
    assert (refused.status, refused.json["error"]["param"]) == (400, "logprobs")
    body = {"contents": [{"parts": [{"text": "Hi"}]}], "generationConfig": {"responseLogprobs": True, "logprobs": 2}}
    reply = serving.ask("POST", "/v1beta/models/midstream/rehearsal:generateContent", body)
    assert reply.headers["x-midstream-dropped-params"] == "responseLogprobs,logprobs"


@pytest.mark.parametrize("stream", [False, True])
def test_who_offers_functions_gets_one_function_call_and_sends_its_result_back(serving: Serving, stream: bool):
    client = OpenAI(base_url=f"{serving.url}/v1", api_key=ADMIN_KEY, max_retries=0)
    functions: Any = [{"name": name, "parameters": WEATHER} for name in ("get_weather", "get_time")]
    messages: Any = [{"role": "user", "content": "use get_weather and get_time"}]
    asked: dict[str, Any] = {"model": "midstream/rehearsal", "functions": functions}
    if stream:
        chunks = [one.choices[0] for one in client.chat.completions.create(**asked, messages=messages, stream=True)]
        called = [one.delta.function_call for one in chunks if one.delta.function_call is not None]
        call = {"name": called[0].name, "arguments": "".join(one.arguments or "" for one in called)}
        assert chunks[-1].finish_reason == "function_call"
    else:
        [choice] = client.chat.completions.create(**asked, messages=messages).choices
        assert (choice.finish_reason, choice.message.tool_calls) == ("function_call", None)
        call = choice.message.function_call.model_dump()
    assert call == {"name": "get_weather", "arguments": '{"city":"city"}'}
    messages += [{"role": "assistant", "content": None, "function_call": call}]
    messages += [{"role": "function", "name": "get_weather", "content": "sunny"}]
    told = client.chat.completions.create(**asked, messages=messages).choices[0].message.content
    assert "The tools answered" in told
    assert "sunny" in told


def test_a_schema_is_answered_with_an_instance(serving: Serving):
    form = {"type": "json_schema", "json_schema": {"name": "place", "schema": WEATHER}}
    assert content(say(serving, "where?", response_format=form)) == '{"city":"city"}'


def test_a_rehearsed_refusal_has_its_status_and_leaves_the_model_to_others(serving: Serving):
    refused = say(serving, "fail:401")
    assert (refused.status, refused.json["error"]["code"]) == (401, "rehearsed_401")
    assert say(serving, "Hello").status == 200


def test_rehearsed_cuts_end_in_an_error_and_open_no_circuit(serving: Serving):
    for _ in range(6):
        body = say(serving, "cut this answer short", stream=True).body
        assert b"upstream_cut" in body
        assert b"[DONE]" not in body
    assert say(serving, "Hello").status == 200


def test_a_failed_run_is_found_by_the_id_that_its_refusal_names(serving: Serving):
    refused = say(serving, "fail:401")
    run = serving.ask("GET", f"/v1/admin/runs/{refused.headers['x-run-id']}").json
    assert (run["status"], run["error_code"]) == ("failed", "rehearsed_401")
    assert refused.headers["x-midstream-attempts"] == str(len(run["attempts"])) == "1"
