"""What every API key has used: calls, tokens, cost. Needs the admin key, or a key with the scope `admin`."""

import json
import os
import urllib.request

URL = os.environ.get("MIDSTREAM_URL", "http://127.0.0.1:8080")
HEADERS = {"authorization": f"Bearer {os.environ['KEY']}", "content-type": "application/json"}


def get(path):
    with urllib.request.urlopen(urllib.request.Request(URL + path, headers=HEADERS)) as reply:
        return json.load(reply)["data"]


names = {key["id"]: key["name"] for key in get("/v1/admin/keys")}
print(f"{'key':20} {'calls':>8} {'input':>10} {'output':>10} {'USD':>12}")
for row in get("/v1/admin/usage?group_by=key"):
    name = names.get(row["group"], row["group"])
    print(f"{name:20} {row['attempts']:8} {row['input_tokens']:10} {row['output_tokens']:10} {row['cost']:>12}")
    if row["unpriced_attempts"]:
        print(f"{'':20} {row['unpriced_attempts']:8} of them have no price")

# It prints:
# key calls input output USD
# ...
