"""An agent with a tool: it looks things up in a document, and you see it do so. What is made here is deleted again."""

import json
import os
import urllib.error
import urllib.request

URL = os.environ.get("MIDSTREAM_URL", "http://127.0.0.1:8080")
# Agents name their service apart from its model.
SERVICE, _, MODEL = os.environ.get("MIDSTREAM_MODEL", "midstream/rehearsal").partition("/")
HEADERS = {"authorization": f"Bearer {os.environ['KEY']}", "content-type": "application/json"}
MENU = """Breakfast is served from 7 to 10: bread, eggs, porridge.
Lunch is served from 12 to 14: soup of the day, salad.
Dinner is served from 18 to 21: fish on Fridays, stew on all other days."""


def ask(method, path, body=None):
    data = None if body is None else json.dumps(body).encode()
    try:
        return urllib.request.urlopen(urllib.request.Request(URL + path, data, HEADERS, method=method))
    except urllib.error.HTTPError as refusal:
        raise SystemExit(f"{method} {path}: {refusal.read().decode()}") from None


def made(path, body):
    return json.load(ask("POST", path, body))


def events(path, body):
    """(name, data) of each server-sent event."""
    name = ""
    for line in ask("POST", path, body):
        field, _, value = line.decode().rstrip("\n").partition(": ")
        if field == "event":
            name = value
        elif field == "data":
            yield name, json.loads(value)


document = made("/v1/admin/documents", {"name": "menu", "text": MENU})
tool = made(
    "/v1/admin/tools",
    {
        "name": "search_menu",
        "description": "Searches the menu of the day",
        "kind": "knowledge",
        "parameters": {
            "type": "object",
            "properties": {"query": {"type": "string", "examples": ["dinner"]}},
            "required": ["query"],
        },
        "knowledge": {"document_ids": [document["id"]]},
        "effect": "pure",
    },
)
agent = made(
    "/v1/admin/agents",
    {
        "name": "Waiter",
        "service": SERVICE,
        "configuration": {"model": MODEL, "prompt": "You are a waiter. Your guest is {{guest}}."},
        "variables_state": {"guest": {"default": "a stranger"}},
        "tool_ids": [tool["id"]],
    },
)
made(f"/v1/admin/agents/{agent['id']}/publish", {"version_id": agent["version_id"]})

conversation = None
for question in ("When is dinner? Use search_menu.", "Thank you!"):
    asked = {
        "agentId": agent["id"],
        "conversationId": conversation,
        "message": question,
        "variables": {"guest": "Ada"},
    }
    print(f"> {question}")
    for name, data in events("/api/v1/conversation", asked):
        if name == "conversation":
            conversation = data["conversationId"]
        elif name == "tool_call":
            print(f"  {data['name']}({json.dumps(data['arguments'])})")
        elif name == "tool_result":
            print(f"  {data['status']}: {data['summary']}")
        elif name == "text":
            print(data["delta"], end="", flush=True)
        elif name == "done":
            print(f"\n  {data['iterations']} model calls, {data['usage']['totalTokens']} tokens")
        elif name == "error":
            print(f"\n  it failed: {data['message']}")

for path in (f"agents/{agent['id']}", f"tools/{tool['id']}", f"documents/{document['id']}"):
    ask("DELETE", f"/v1/admin/{path}").close()

# It prints:
# > When is dinner? Use search_menu.
#   search_menu({"query": "dinner"})
#   ok: [menu (doc_...)] Breakfast is served from 7 to 10: bread, eggs, porridge. Lunch ... stew on all other days.
# This is the rehearsal model. The tools answered: search_menu said: [menu (doc_...)]
# Breakfast is served from 7 to 10: bread, eggs, porridge.
# Lunch is served from 12 to 14: soup of the day, salad.
# Dinner is served from 18 to 21: fish on Fridays, stew on all other days.
#   2 model calls, ... tokens
# > Thank you!
# This is the rehearsal model. You said (2 words): Thank you!
#   1 model calls, ... tokens
