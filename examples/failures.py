"""What each SDK raises when a provider fails: before the answer, and in the middle of a stream.

The built-in model fails on demand: `fail:STATUS` refuses, `cut` breaks off."""

import os

import anthropic
import openai

URL = os.environ.get("MIDSTREAM_URL", "http://127.0.0.1:8080")
KEY = os.environ["KEY"]
MODEL = "midstream/rehearsal"


def messages(text):
    return [{"role": "user", "content": text}]


client = openai.OpenAI(base_url=f"{URL}/v1", api_key=KEY)
try:
    client.chat.completions.create(model=MODEL, messages=messages("fail:403"))
except openai.PermissionDeniedError as error:
    print("OpenAI, refused:", error.status_code, error.code, "run:", error.response.headers["x-run-id"][:4])
try:
    for chunk in client.chat.completions.create(model=MODEL, messages=messages("cut this short"), stream=True):
        print(chunk.choices[0].delta.content or "", end="")
except openai.APIError as error:
    print("\nOpenAI, cut:", error.code)

claude = anthropic.Anthropic(base_url=URL, api_key=KEY)
try:
    with claude.messages.stream(model=MODEL, max_tokens=99, messages=messages("cut this short")) as stream:
        for text in stream.text_stream:
            print(text, end="")
except anthropic.APIStatusError as error:
    print("\nAnthropic, cut:", error.body["error"]["message"])

# It prints:
# OpenAI, refused: 403 rehearsed_403 run: run_
# This is the rehearsal model. You
# OpenAI, cut: upstream_cut
# This is the rehearsal model. You
# Anthropic, cut: rehearsed: the answer was cut off
