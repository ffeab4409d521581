"""Requests that are odd but plausible, by face: new members, unknown kinds, null where nothing was meant, orders and
forms that a service takes or refuses as it sees fit. The model's name is put in by who asks."""

from __future__ import annotations

from typing import Any

HI = {"role": "user", "content": "hi"}
CALL = {"id": "c1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
F = {"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}
USE = {"type": "tool_use", "id": "c1", "name": "f", "input": {}}
RESULT = {"type": "tool_result", "tool_use_id": "c1", "content": "7"}
TOOL = {"name": "f", "input_schema": {"type": "object"}}
GOOGLE_HI = {"role": "user", "parts": [{"text": "hi"}]}
PNG = "iVBORw0KGgo="


def _said(*messages: Any) -> dict[str, Any]:
    return {"messages": list(messages)}


def _asked(*content: Any) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": list(content)}]}


def _hi(**members: Any) -> dict[str, Any]:
    return {"messages": [HI], **members}


def _with_id(body: dict[str, Any]) -> dict[str, Any]:
    return {"max_tokens": 64, **body}


def _parts(*parts: Any, **members: Any) -> dict[str, Any]:
    return {"contents": [{"role": "user", "parts": list(parts)}], **members}


def _google(**members: Any) -> dict[str, Any]:
    return {"contents": [GOOGLE_HI], **members}


CLAUDE: dict[str, dict[str, Any]] = {
    name: _with_id(body)
    for name, body in {
        "an unknown block": _asked({"type": "hologram", "depth": 3}, {"type": "text", "text": "hi"}),
        "an unknown answer block": _said(HI, {"role": "assistant", "content": [{"type": "dream", "x": [1]}]}, HI),
        "a block without a type": _asked({"text": "hi"}),
        "a block that is a string": _asked("hi"),
        "a block that is null": _asked(None),
        "text without text": _asked({"type": "text"}),
        "text that is a number": _asked({"type": "text", "text": 5}),
        "an unknown source": _asked({"type": "image", "source": {"type": "cloud", "uri": "gs://a"}}),
        "an image without a source": _asked({"type": "image"}),
        "a search result": _asked({"type": "search_result", "source": "s", "title": "t",
                                   "content": [{"type": "text", "text": "x"}], "citations": {"enabled": True}}),
        "a container upload": _asked({"type": "container_upload", "file_id": "file_1"}),
        "a document of blocks": _asked({"type": "document", "source": {"type": "content", "content": [5]}}),
        "a mark of another kind": _asked({"type": "text", "text": "hi", "cache_control": {"type": "eternal"}}),
        "a mark of another time": _asked({"type": "text", "text": "a",
                                          "cache_control": {"type": "ephemeral", "ttl": "24h"}}),
        "a mark that is a word": _asked({"type": "text", "text": "hi", "cache_control": "ephemeral"}),
        "citations on text": _asked({"type": "text", "text": "hi", "citations": {"enabled": True}}),
        "empty text": _said({"role": "user", "content": ""}),
        "no blocks": _said({"role": "user", "content": []}),
        "no content": _said({"role": "user"}),
        "null content": _said({"role": "user", "content": None}),
        "content that is an object": _said({"role": "user", "content": {"type": "text", "text": "hi"}}),
        "a message with more members": _said({"role": "user", "content": "hi", "id": "m1", "name": "ann"}),
        "the answer first": _said({"role": "assistant", "content": "hello"}, HI),
        "an answer to go on with": _said(HI, {"role": "assistant", "content": "I say"}),
        "two users": _said(HI, HI),
        "a system message": _said(HI, {"role": "system", "content": "be kind"}, HI),
        "a developer": _said({"role": "developer", "content": "be kind"}, HI),
        "an unknown role": _said({"role": "critic", "content": "hm"}, HI),
        "a role that is null": _said({"role": None, "content": "hi"}),
        "a message without a role": _said({"content": "hi"}),
        "a message that is a string": _said("hi"),
        "a call by the user": _said({"role": "user", "content": [USE]}),
        "a result by the assistant": _said(HI, {"role": "assistant", "content": [USE, RESULT]}, HI),
        "a result of no call": _asked(RESULT),
        "a result without an id": _asked({"type": "tool_result", "content": "7"}),
        "a result with an unknown block": _said(
            HI, {"role": "assistant", "content": [USE]},
            {"role": "user", "content": [{**RESULT, "content": [{"type": "tool_reference", "tool_name": "f"}]}]}),
        "a call without input": _said(
            HI, {"role": "assistant", "content": [{"type": "tool_use", "id": "a", "name": "f"}]}),
        "a call with a caller": _said(
            HI, {"role": "assistant", "content": [{**USE, "caller": {"type": "direct"}}]},
            {"role": "user", "content": [RESULT]}),
        "input that is text": _said(HI, {"role": "assistant", "content": [{**USE, "input": "{}"}]}, HI),
        "a server's call": _said(
            HI, {"role": "assistant", "content": [
                {"type": "server_tool_use", "id": "srvtoolu_1", "name": "web_search", "input": {"query": "x"}},
                {"type": "web_search_tool_result", "tool_use_id": "srvtoolu_1", "content": []}]}, HI),
        "a thought without a signature": _said(
            HI, {"role": "assistant", "content": [{"type": "thinking", "thinking": "hm"}]}, HI),
        "a thought that is no text": _said(
            HI, {"role": "assistant", "content": [{"type": "thinking", "thinking": 5, "signature": "s"}]}, HI),
        "a redacted thought without data": _said(
            HI, {"role": "assistant", "content": [{"type": "redacted_thinking"}]}, HI),
        "system blocks": _hi(system=[{"type": "text", "text": "be kind"}, {"type": "rule", "x": 1}]),
        "no system": _hi(system=None),
        "an empty system": _hi(system=""),
        "a system that is an object": _hi(system={"type": "text", "text": "be kind"}),
        "server tools": _hi(tools=[{"type": "web_search_20250305", "name": "web_search", "max_uses": 2},
                                   {"type": "mcp_toolset", "mcp_server_name": "wiki"}, {"type": "memory_20350101"}],
                            mcp_servers=[{"type": "url", "url": "https://x.example", "name": "wiki"}]),
        "a tool of OpenAI's form": _hi(tools=[F]),
        "a tool without a schema": _hi(tools=[{"name": "f"}]),
        "a tool without a name": _hi(tools=[{"input_schema": {"type": "object"}}]),
        "a tool that is a string": _hi(tools=["f"]),
        "a tool with more members": _hi(tools=[{**TOOL, "defer_loading": True, "input_examples": [{}],
                                                "allowed_callers": ["code"], "zz": 1}]),
        "a schema that is a list": _hi(tools=[{"name": "f", "input_schema": []}]),
        "no tools": _hi(tools=None),
        "tools that are an object": _hi(tools={"f": TOOL}),
        "an unknown choice": _hi(tools=[TOOL], tool_choice={"type": "best"}),
        "a choice without a name": _hi(tools=[TOOL], tool_choice={"type": "tool"}),
        "a choice that is a word": _hi(tools=[TOOL], tool_choice="auto"),
        "a choice that is null": _hi(tools=[TOOL], tool_choice=None),
        "parallel as a word": _hi(tools=[TOOL], tool_choice={"type": "auto", "disable_parallel_tool_use": "yes"}),
        "an unknown thinking": _hi(thinking={"type": "turbo", "watts": 3}),
        "thinking without a budget": _hi(thinking={"type": "enabled"}),
        "thinking that is a word": _hi(thinking="enabled"),
        "an empty thinking": _hi(thinking={}),
        "a budget that is a fraction": _hi(thinking={"type": "enabled", "budget_tokens": 1024.5}),
        "an unknown form": _hi(output_config={"format": {"type": "regex", "pattern": "x"}}),
        "a form without a schema": _hi(output_format={"type": "json_schema"}),
        "an effort that is a number": _hi(output_config={"effort": 5}),
        "new members": _hi(container="c", context_management={"edits": []}, inference_geo="eu", speed="fast", zz=None),
        "ours elsewhere": _hi(store=True, conversation="conv_1"),
        "a tier that nobody knows": _hi(service_tier="batch", metadata={"user_id": None, "team": "a"}),
        "metadata that is a word": _hi(metadata="ann"),
        "a hot temperature": _hi(temperature=7),
        "a temperature that is a word": _hi(temperature="warm"),
        "a stop that is a word": _hi(stop_sequences="x"),
        "a stop that is null": _hi(stop_sequences=None, top_k=None, top_p=None),
        "a limit that is a word": {**_hi(), "max_tokens": "many"},
        "a limit of zero": {**_hi(), "max_tokens": 0},
        "a limit beyond all": {**_hi(), "max_tokens": 9007199254740991},
        "a limit that is null": {**_hi(), "max_tokens": None},
        "an empty list": {"messages": []},
        "a stream that is null": _hi(stream=None),
    }.items()
}  # fmt: skip

CHAT: dict[str, dict[str, Any]] = {
    "an unknown part": _asked({"type": "hologram", "hologram": {"depth": 3}}, {"type": "text", "text": "hi"}),
    "a part without a type": _asked({"zz": 1}),
    "a part that is a string": _asked("hi"),
    "a part that is null": _asked(None),
    "text without text": _asked({"type": "text"}),
    "an image without an address": _asked({"type": "image_url", "image_url": {"detail": "low"}}),
    "an image by its id": _asked({"type": "image_url", "image_url": {"file_id": "file_1"}}),
    "a broken data address": _asked({"type": "image_url", "image_url": {"url": "data:image/png,%89"}}),
    "a sound of an unknown kind": _asked({"type": "input_audio", "input_audio": {"data": PNG, "format": "ogg"}}),
    "a sound without data": _asked({"type": "input_audio", "input_audio": {}}),
    "a file of nothing": _asked({"type": "file", "file": {}}),
    "a mark of another time": _asked({"type": "text", "text": "a",
                                      "cache_control": {"type": "ephemeral", "ttl": "9h"}}),
    "a mark of another kind": _asked({"type": "text", "text": "a", "cache_control": {"type": "eternal"}}),
    "a breakpoint": _asked({"type": "text", "text": "a", "prompt_cache_breakpoint": {"mode": "explicit"}}),
    "empty text": _said({"role": "user", "content": ""}),
    "no parts": _said({"role": "user", "content": []}),
    "no content": _said({"role": "user"}),
    "null content": _said({"role": "user", "content": None}),
    "content that is an object": _said({"role": "user", "content": {"type": "text", "text": "hi"}}),
    "an answer of nothing": _said(HI, {"role": "assistant"}, HI),
    "the answer first": _said({"role": "assistant", "content": "hello"}),
    "two answers": _said(HI, {"role": "assistant", "content": "a"}, {"role": "assistant", "content": "b"}),
    "a system late": _said(HI, {"role": "system", "content": "be kind"}, {"role": "developer", "content": [
        {"type": "text", "text": "x"}]}),
    "only a system": _said({"role": "system", "content": "be kind"}),
    "an unknown role": _said({"role": "critic", "content": "hm"}, HI),
    "a role that is null": _said({"role": None, "content": "hi"}),
    "a message without a role": _said({"content": "hi"}),
    "a name that is a number": _said({"role": "user", "content": "hi", "name": 5}),
    "a result of no call": _said({"role": "tool", "tool_call_id": "c9", "content": "7"}),
    "a result without an id": _said(HI, {"role": "assistant", "tool_calls": [CALL]}, {"role": "tool", "content": "7"}),
    "a result of null": _said(HI, {"role": "assistant", "tool_calls": [CALL]},
                              {"role": "tool", "tool_call_id": "c1", "content": None}),
    "a call without a result": _said(HI, {"role": "assistant", "tool_calls": [CALL]}, HI),
    "a call of an unknown kind": _said(HI, {"role": "assistant", "tool_calls": [
        {"id": "c1", "type": "spell", "spell": {"words": "x"}}]}, HI),
    "a call without an id": _said(HI, {"role": "assistant", "tool_calls": [
        {"type": "function", "function": {"name": "f", "arguments": "{}"}}]}, HI),
    "broken arguments": _said(HI, {"role": "assistant", "tool_calls": [
        {**CALL, "function": {"name": "f", "arguments": "{\"a\":"}}]},
        {"role": "tool", "tool_call_id": "c1", "content": "7"}),
    "arguments that are a list": _said(HI, {"role": "assistant", "tool_calls": [
        {**CALL, "function": {"name": "f", "arguments": "[1]"}}]},
        {"role": "tool", "tool_call_id": "c1", "content": "7"}),
    "arguments that are a number": _said(HI, {"role": "assistant", "tool_calls": [
        {**CALL, "function": {"name": "f", "arguments": 5}}]}, HI),
    "calls that are an object": _said(HI, {"role": "assistant", "tool_calls": {"0": CALL}}, HI),
    "an old call": _said(HI, {"role": "assistant", "content": None, "function_call": {"name": "f", "arguments": "{}"}},
                         {"role": "function", "name": "f", "content": "7"}),
    "a sound of before": _said(HI, {"role": "assistant", "audio": {"id": "audio_1"}}, HI),
    "reasoning of before": _said(HI, {"role": "assistant", "content": "a", "reasoning_details": [{"type": "new"}, 5],
                                      "zz": {"a": 1}}, HI),
    "reasoning that is an object": _said(HI, {"role": "assistant", "content": "a", "reasoning": {"x": 1}}, HI),
    "server tools": _hi(tools=[{"type": "web_search"}, {"type": "mcp", "server_label": "wiki"}]),
    "a tool of Anthropic's form": _hi(tools=[TOOL]),
    "a tool without a name": _hi(tools=[{"type": "function", "function": {}}]),
    "a tool that is a string": _hi(tools=["f"]),
    "tools that are an object": _hi(tools={"f": F}),
    "no tools": _hi(tools=None, tool_choice=None),
    "an empty list of tools": _hi(tools=[], tool_choice="auto"),
    "an unknown choice": _hi(tools=[F], tool_choice="best"),
    "a choice that is a list": _hi(tools=[F], tool_choice=["f"]),
    "a choice of no tool": _hi(tools=[F], tool_choice={"type": "function", "function": {"name": "g"}}),
    "a choice of another kind": _hi(tools=[F], tool_choice={"type": "web_search"}),
    "a free tool": _hi(tools=[{"type": "custom", "custom": {"name": "p", "format": {"type": "grammar"}}}]),
    "an unknown form": _hi(response_format={"type": "grammar", "grammar": "x"}),
    "a form without a schema": _hi(response_format={"type": "json_schema"}),
    "a form that is a word": _hi(response_format="json"),
    "a stop that is a number": _hi(stop=5),
    "a stop of null": _hi(stop=None),
    "a stop of numbers": _hi(stop=[1, 2]),
    "a hot temperature": _hi(temperature=7, top_p=-1),
    "a temperature that is a word": _hi(temperature="warm"),
    "a limit that is a fraction": _hi(max_tokens=10.0),
    "a limit that is a word": _hi(max_completion_tokens="many"),
    "no answers": _hi(n=0),
    "answers as a word": _hi(n="two"),
    "an unknown effort": _hi(reasoning_effort="heroic"),
    "an effort that is a number": _hi(reasoning_effort=3),
    "a bias of words": _hi(logit_bias={"5": "much"}),
    "new members": _hi(moderation="low", prompt_cache_options={"mode": "x"}, prompt_cache_retention="24h", zz=None),
    "modalities that nobody knows": _hi(modalities=["text", "smell"]),
    "a voice that is a word": _hi(modalities=["text", "audio"], audio="alloy"),
    "metadata that is a list": _hi(metadata=[1]),
    "a user that is a number": _hi(user=5),
    "options of a stream that is none": _hi(stream_options={"include_obfuscation": True}),
    "null everywhere": _hi(temperature=None, top_p=None, stop=None, n=None, seed=None, logprobs=None, audio=None),
    "an empty list": {"messages": []},
    "a stream that is null": _hi(stream=None),
}  # fmt: skip

GOOGLE: dict[str, dict[str, Any]] = {
    "an unknown part": _parts({"hologram": {"depth": 3}}, {"text": "hi"}),
    "a part of two": _parts({"text": "a", "inlineData": {"mimeType": "image/png", "data": PNG}}),
    "a part of nothing": _parts({}),
    "a part that is a string": _parts("hi"),
    "a part that is null": _parts(None),
    "text that is a number": _parts({"text": 5}),
    "a blob without a type": _parts({"inlineData": {"data": PNG}}),
    "a blob without data": _parts({"inlineData": {"mimeType": "image/png"}}),
    "a file without an address": _parts({"fileData": {"mimeType": "image/png"}}),
    "a file of its own": _parts({"fileData": {"fileUri": "gs://bucket/a.png", "mimeType": "image/png"}}),
    "a video's piece": _parts({"fileData": {"fileUri": "https://youtu.be/x"}, "videoMetadata": {"fps": 1}}),
    "no parts": {"contents": [{"role": "user", "parts": []}]},
    "a content without parts": {"contents": [{"role": "user"}]},
    "parts that are null": {"contents": [{"role": "user", "parts": None}]},
    "one bare part": {"contents": [{"role": "user", "parts": {"text": "hi"}}]},
    "one bare content": {"contents": {"parts": {"text": "hi"}}},
    "a content without a role": {"contents": [{"parts": [{"text": "hi"}]}]},
    "a role that is null": {"contents": [{"role": None, "parts": [{"text": "hi"}]}]},
    "a role that is a number": {"contents": [{"role": 1, "parts": [{"text": "hi"}]}]},
    "an unknown role": {"contents": [{"role": "critic", "parts": [{"text": "hi"}]}]},
    "a system among contents": {"contents": [{"role": "system", "parts": [{"text": "be kind"}]}, GOOGLE_HI]},
    "the answer first": {"contents": [{"role": "model", "parts": [{"text": "hi"}]}]},
    "two users": {"contents": [GOOGLE_HI, GOOGLE_HI]},
    "a content that is a string": {"contents": ["hi"]},
    "contents that are a word": {"contents": "hi"},
    "null contents": {"contents": None},
    "no contents": {},
    "an empty list": {"contents": []},
    "a call by the user": _parts({"functionCall": {"name": "f", "args": {}}}),
    "a call without a name": {"contents": [GOOGLE_HI, {"role": "model", "parts": [{"functionCall": {}}]}, GOOGLE_HI]},
    "a call that goes on": {"contents": [GOOGLE_HI, {"role": "model", "parts": [
        {"functionCall": {"name": "f", "partialArgs": [{"jsonPath": "$.a"}], "willContinue": True}}]}, GOOGLE_HI]},
    "arguments that are a list": {"contents": [GOOGLE_HI, {"role": "model", "parts": [
        {"functionCall": {"name": "f", "args": [1]}}]}, GOOGLE_HI]},
    "a response of no call": _parts({"functionResponse": {"name": "g", "response": {"output": 7}}}),
    "a response that is text": _parts({"functionResponse": {"name": "g", "response": "7"}}),
    "a response in parts": _parts({"functionResponse": {
        "name": "g", "response": {}, "scheduling": "SILENT",
        "parts": [{"inlineData": {"mimeType": "image/png", "data": PNG}}, {"functionCall": {"name": "f"}}]}}),
    "code": {"contents": [GOOGLE_HI, {"role": "model", "parts": [
        {"executableCode": {"language": "PYTHON", "code": "1"}},
        {"codeExecutionResult": {"outcome": "OUTCOME_OK", "output": "1"}}]}, GOOGLE_HI]},
    "a tool's own step": {"contents": [GOOGLE_HI, {"role": "model", "parts": [
        {"toolCall": {"toolType": "GOOGLE_SEARCH_WEB", "id": "1"}}]}, GOOGLE_HI]},
    "a system that is a string": _google(systemInstruction="be kind"),
    "a system of null": _google(systemInstruction=None),
    "a system with a role": _google(system_instruction={"role": "user", "parts": {"text": "be kind"}}),
    "a system with a picture": _google(systemInstruction={"parts": [{"inlineData": {"mimeType": "image/png",
                                                                                     "data": PNG}}]}),
    "server tools": _google(tools=[{"googleSearch": {}, "urlContext": {}}, {"codeExecution": {}}, {"spell": {}}]),
    "one bare tool": _google(tools={"functionDeclarations": {"name": "f"}}),
    "a tool without a name": _google(tools=[{"functionDeclarations": [{"description": "d"}]}]),
    "a tool that is a string": _google(tools=["googleSearch"]),
    "a tool of both schemas": _google(tools=[{"functionDeclarations": [
        {"name": "f", "parameters": {"type": "OBJECT"}, "parametersJsonSchema": {"type": "object"},
         "behavior": "NON_BLOCKING", "responseJsonSchema": {"type": "object"}}]}]),
    "an unknown mode": _google(toolConfig={"functionCallingConfig": {"mode": "BEST"}}),
    "a mode of validation": _google(toolConfig={"functionCallingConfig": {"mode": "VALIDATED"}}),
    "a mode that is a number": _google(toolConfig={"functionCallingConfig": {"mode": 2}}),
    "a place": _google(toolConfig={"retrievalConfig": {"latLng": {"latitude": 1}}, "zz": True}),
    "a config that is a list": _google(generationConfig=[]),
    "a config of null": _google(generationConfig=None),
    "snake case": _google(generation_config={"max_output_tokens": "12", "stop_sequences": ["x"]}),
    "a config of words": _google(generationConfig={"temperature": "warm", "topK": "x"}),
    "numbers as words": _google(generationConfig={"temperature": "0.5", "maxOutputTokens": "12"}),
    "new members of a config": _google(generationConfig={"enableAffectiveDialog": True, "zz": {"a": None}}),
    "thinking by both": _google(generationConfig={"thinkingConfig": {"thinkingBudget": 5, "thinkingLevel": "HIGH"}}),
    "an unknown level": _google(generationConfig={"thinkingConfig": {"thinkingLevel": "HEROIC"}}),
    "thinking that is a word": _google(generationConfig={"thinkingConfig": "much"}),
    "a schema that is a word": _google(generationConfig={"responseMimeType": "application/json",
                                                         "responseSchema": "x"}),
    "an unknown form": _google(generationConfig={"responseMimeType": "text/x.enum",
                                                 "responseSchema": {"type": "STRING", "enum": ["a"]}}),
    "a modality that nobody knows": _google(generationConfig={"responseModalities": ["SMELL"]}),
    "a stop that is a word": _google(generationConfig={"stopSequences": "x"}),
    "safety that nobody knows": _google(safetySettings=[{"category": "HARM_CATEGORY_BOREDOM", "threshold": 3}]),
    "its own members": _google(store=True, cachedContent="cachedContents/1", labels={"a": "b"}, serviceTier="flex"),
    "new members": _google(conversation="c", stream=True, zz=None, safety_identifier="x"),
}  # fmt: skip

BODIES: dict[str, dict[str, dict[str, Any]]] = {"chat": CHAT, "claude": CLAUDE, "google": GOOGLE}
