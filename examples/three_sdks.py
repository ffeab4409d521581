"""One question through three SDKs: whatever an application is written with, it reaches the same models."""

import os

from anthropic import Anthropic
from google import genai
from openai import OpenAI

URL = os.environ.get("MIDSTREAM_URL", "http://127.0.0.1:8080")
KEY = os.environ["KEY"]
MODEL = os.environ.get("MIDSTREAM_MODEL", "midstream/rehearsal")
QUESTION = "Who are you?"
MESSAGES = [{"role": "user", "content": QUESTION}]

openai = OpenAI(base_url=f"{URL}/v1", api_key=KEY)
print("OpenAI:   ", openai.chat.completions.create(model=MODEL, messages=MESSAGES).choices[0].message.content)

anthropic = Anthropic(base_url=URL, api_key=KEY)
print("Anthropic:", anthropic.messages.create(model=MODEL, max_tokens=200, messages=MESSAGES).content[0].text)

google = genai.Client(api_key=KEY, http_options={"base_url": URL})
print("Google:   ", google.models.generate_content(model=MODEL, contents=QUESTION).text)

# It prints:
# OpenAI:    This is the rehearsal model. You said (3 words): Who are you?
# Anthropic: This is the rehearsal model. You said (3 words): Who are you?
# Google:    This is the rehearsal model. You said (3 words): Who are you?
