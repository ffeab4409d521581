"""Which provider answered, and after how many attempts: from the reply's headers and the ledger.

As it is, the built-in model answers at once. With an alias such as this one in midstream.toml, and its name in
MIDSTREAM_MODEL, you see who was asked before:

    [models.fast]
    targets = ["groq/llama-3.3-70b-versatile", "openai/gpt-4o-mini", "midstream/rehearsal"]
"""

import json
import os
import urllib.request

URL = os.environ.get("MIDSTREAM_URL", "http://127.0.0.1:8080")
KEY = os.environ["KEY"]
MODEL = os.environ.get("MIDSTREAM_MODEL", "midstream/rehearsal")


def ask(path, body=None):
    request = urllib.request.Request(
        URL + path,
        None if body is None else json.dumps(body).encode(),
        {"authorization": f"Bearer {KEY}", "content-type": "application/json"},
    )
    with urllib.request.urlopen(request) as reply:
        return reply.headers, json.load(reply)


headers, answer = ask(
    "/v1/chat/completions", {"model": MODEL, "messages": [{"role": "user", "content": "Hello there"}]}
)
print(answer["choices"][0]["message"]["content"])
print("attempts:", headers["x-midstream-attempts"])
_, attempts = ask(f"/v1/admin/attempts?run_id={headers['x-run-id']}")
for attempt in attempts["data"]:
    print(attempt["number"], attempt["provider"], attempt["model"], attempt["status"], attempt["error"])

# It prints:
# This is the rehearsal model. You said (2 words): Hello there
# attempts: 1
# 1 midstream rehearsal ok None
