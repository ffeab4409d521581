"""A loop of tool calls with OpenAI's SDK, streamed: ask, call what the model wants, ask again, until it answers."""

import json
import os

from openai import OpenAI

client = OpenAI(base_url=os.environ.get("MIDSTREAM_URL", "http://127.0.0.1:8080") + "/v1", api_key=os.environ["KEY"])
MODEL = os.environ.get("MIDSTREAM_MODEL", "midstream/rehearsal")


def get_weather(city: str) -> str:
    return f"sunny in {city}"


CALLABLE = {"get_weather": get_weather}
TOOLS = [
    {
        "type": "function",
        "function": {
            "name": "get_weather",
            "description": "The weather in a city",
            "parameters": {
                "type": "object",
                "properties": {"city": {"type": "string", "examples": ["Oslo"]}},
                "required": ["city"],
            },
        },
    }
]

messages = [{"role": "user", "content": "What is the weather in Oslo? Use get_weather."}]
while True:
    with client.chat.completions.stream(model=MODEL, messages=messages, tools=TOOLS) as stream:
        for event in stream:
            if event.type == "content.delta":
                print(event.delta, end="", flush=True)
        message = stream.get_final_completion().choices[0].message
    if not message.tool_calls:
        break
    calls = [
        {"id": call.id, "type": "function", "function": {"name": one.name, "arguments": one.arguments}}
        for call in message.tool_calls
        for one in [call.function]
    ]
    messages.append({"role": "assistant", "content": message.content, "tool_calls": calls})
    for call in message.tool_calls:
        result = CALLABLE[call.function.name](**json.loads(call.function.arguments))
        print(f"{call.function.name}({call.function.arguments}) -> {result}")
        messages.append({"role": "tool", "tool_call_id": call.id, "content": result})
print()

# It prints:
# get_weather({"city":"Oslo"}) -> sunny in Oslo
# This is the rehearsal model. The tools answered: ... said: sunny in Oslo
