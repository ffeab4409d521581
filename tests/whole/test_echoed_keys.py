"""A key that its provider repeats in an error: no caller, no account and no log is told of it."""

from __future__ import annotations

from pathlib import Path

from .serving import Serving
from .upstream import Asked, Said, Upstream, stream, whole

KEY = "sk-operators/key+0123"
TOML = """
[providers.chat]
kind = "openai_compatible"
base_url = "{url}/v1"
api_key = "{key}"
[providers.claude]
kind = "anthropic"
base_url = "{url}"
api_key = "{key}"
[providers.responses]
kind = "openai_response"
base_url = "{url}/v1"
api_key = "{key}"
"""


def repeating(asked: Asked) -> Said:
    """Within a stream, or in the place of a good answer."""
    said = "key " + (asked.headers.get("x-api-key") or asked.headers["authorization"]).replace("/", "\\/") + " is bad"
    error = f'{{"type":"invalid_request_error","code":"invalid_prompt","message":"{said}"}}'
    data = f'{{"type":"error","error":{error}}}'
    streamed = asked.json.get("stream")
    if asked.path.endswith("/responses"):
        data = f'{{"id":"r","object":"response","status":"failed","output":[],"error":{error}}}'
        data = f'{{"type":"response.failed","response":{data}}}' if streamed else data
    if not streamed:
        return whole(data.encode())
    name = "event: error\n" if asked.path.endswith("/messages") else ""
    return stream(f"{name}data: {data}\n\n".encode())


def test_no_caller_no_account_and_no_log_has_it(tmp_path: Path):
    asked = {"messages": [{"role": "user", "content": "hi"}], "max_tokens": 9}
    with Upstream(repeating) as upstream, Serving(tmp_path, TOML.format(url=upstream.url, key=KEY)) as serving:
        told = []
        for provider in ("chat", "claude", "responses"):
            for path in ("/v1/chat/completions", "/v1/messages"):
                for streamed in (False, True):
                    reply = serving.ask("POST", path, {**asked, "model": f"{provider}/m", "stream": streamed})
                    told.append(reply.body.decode())
        accounts = serving.ask("GET", "/v1/admin/attempts").body.decode()
        runs = serving.ask("GET", "/v1/admin/runs").body.decode()
    assert [one for one in told if "***" not in one] == []
    assert accounts.count("***") >= len(told) == 12
    for text in (*told, accounts, runs, serving.log()):
        assert "sk-operators" not in text
        assert "key+0123" not in text
