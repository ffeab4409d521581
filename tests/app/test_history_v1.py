from __future__ import annotations

from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from midstream.core.ids import as_uuid, from_uuid

from .asgi import KEY, MODEL, Here, Reply, here

PATH = "/api/v1/conversation"


async def ask(app: Here, method: str, path: str, body: Any = None, key: str = KEY) -> Reply:
    return await app.ask(method, path, body, key, content_type="application/json")


class Talks:
    """An agent, and what is said to it."""

    def __init__(self, app: Here, agent: str) -> None:
        self.app = app
        self.agent = agent

    async def say(self, message: str, **more: Any) -> Any:
        body = {"message": message, "agentId": self.agent, "stream": False, **more}
        reply = await ask(self.app, "POST", PATH, body)
        assert reply.status == 200, reply.body
        return reply.json

    async def get(self, path: str, key: str = KEY) -> Any:
        reply = await ask(self.app, "GET", PATH + path, key=key)
        assert reply.status == 200, reply.body
        return reply.json

    async def texts(self, id: str, more: str = "") -> list[str]:
        return [one["text"].rpartition(": ")[2] for one in (await self.get(f"/{id}{more}"))["messages"]]


async def talks(app: Here, **more: Any) -> Talks:
    body = {"name": "a", "slug": f"a-{uuid4().hex}", "service": "midstream", "configuration": {"model": "rehearsal"}}
    made = (await ask(app, "POST", "/v1/admin/agents", {**body, **more})).json
    assert "id" in made, made
    reply = await ask(app, "POST", f"/v1/admin/agents/{made['id']}/publish", {"version_id": made["version_id"]})
    assert reply.status == 200, reply.body
    return Talks(app, made["id"])


def test_what_was_said_can_be_read_again(tmp_path: Path):
    async def test(app: Here) -> None:
        talk = await talks(app)
        first = await talk.say("Explain kubernetes pods")
        id = first["conversationId"]
        await talk.say("more", conversationId=id)
        told = await talk.get(f"/{id}")
        assert told["title"] == "Explain kubernetes pods"
        assert told["id"] == id
        assert told["createdAt"].endswith("Z")
        assert [one["role"] for one in told["messages"]] == ["user", "assistant"] * 2
        question, answer = told["messages"][:2]
        assert question["text"] == "Explain kubernetes pods"
        assert question["parentId"] is None
        assert answer["id"] == first["messageId"]
        assert answer["parentId"] == question["id"]
        assert answer["text"] == first["text"]
        assert answer["finishReason"] == "stop"
        assert answer["usage"]["inputTokens"] == first["usage"]["inputTokens"]
        assert len((await talk.get(f"/{id}?limit=1"))["messages"]) == 1

    here(tmp_path, test)


def test_a_long_conversation_is_read_page_by_page(tmp_path: Path):
    async def test(app: Here) -> None:
        talk = await talks(app)
        id = (await talk.say("number 0"))["conversationId"]
        for n in range(1, 4):
            await talk.say(f"number {n}", conversationId=id)
        whole = await talk.get(f"/{id}")
        all = [one["id"] for one in whole["messages"]]
        assert (whole["hasMore"], whole["firstId"], whole["lastId"]) == (False, all[0], all[-1])
        for more in ("", "&all=true"):
            pages = [await talk.get(f"/{id}?limit=3{more}")]
            while pages[0]["hasMore"]:
                pages.insert(0, await talk.get(f"/{id}?limit=3{more}&before={pages[0]['firstId']}"))
            assert [one["id"] for page in pages for one in page["messages"]] == all
            assert [len(page["messages"]) for page in pages] == [2, 3, 3]
            pages = [await talk.get(f"/{id}?limit=3{more}&after={all[0]}")]
            while pages[-1]["hasMore"]:
                pages.append(await talk.get(f"/{id}?limit=3{more}&after={pages[-1]['lastId']}"))
            assert [one["id"] for page in pages for one in page["messages"]] == all[1:]
        nothing = await talk.get(f"/{id}?after={all[-1]}")
        assert [nothing[name] for name in ("messages", "hasMore", "firstId", "lastId")] == [[], False, None, None]
        other = (await talk.say("elsewhere"))["messageId"]
        for query, status in ((f"before={other}", 404), ("after=x", 400), (f"before={all[0]}&after={all[1]}", 400)):
            assert (await ask(app, "GET", f"{PATH}/{id}?{query}")).status == status

    here(tmp_path, test)


def test_the_parent_of_a_message_is_one_that_is_there(tmp_path: Path):
    async def test(app: Here) -> None:
        talk = await talks(app)
        first = await talk.say("one")
        id = first["conversationId"]
        await talk.say("two", conversationId=id)
        question = (await talk.get(f"/{id}"))["messages"][0]["id"]
        for deleted, parent in ((first["messageId"], question), (question, None)):
            await ask(app, "DELETE", f"{PATH}/{id}/messages/{deleted}")
            told = (await talk.get(f"/{id}"))["messages"][-2]
            assert (told["text"], told["parentId"]) == ("two", parent)

    here(tmp_path, test)


def test_why_a_guardrail_refused_a_turn_stands_beside_it_at_once_and_later(tmp_path: Path):
    async def test(app: Here) -> None:
        rails = {"input": {"patterns": [{"pattern": "[0-9]{16}", "reason": "card numbers"}]}, "message": "Not that."}
        talk = await talks(app, settings={"guardrails": rails})
        reply = await talk.say("It is 1234123412341234.")
        assert (reply["text"], reply["finishReason"]) == ("Not that.", "content_filter")
        assert reply["blocked"] == "card numbers"
        assert "blocked" not in await talk.say("Hello.", conversationId=reply["conversationId"])
        told = (await talk.get(f"/{reply['conversationId']}"))["messages"]
        assert [one.get("blocked") for one in told] == [None, "card numbers", None, None]

    here(tmp_path, test)


def test_the_chat_history_is_paged_and_stays_as_it_was_begun(tmp_path: Path):
    async def test(app: Here) -> None:
        talk, other = await talks(app), await talks(app)
        ids = [(await talk.say(f"number {n}"))["conversationId"] for n in range(3)]
        await other.say("elsewhere")
        page = await talk.get(f"/chat-history?limit=2&agentId={talk.agent}")
        assert [one["id"] for one in page["data"]] == [ids[2], ids[1]]
        assert page["hasMore"]
        await talk.say("in between")
        rest = await talk.get(f"/chat-history?limit=2&agentId={talk.agent}&after={page['lastId']}")
        assert [one["id"] for one in rest["data"]] == [ids[0]]
        assert not rest["hasMore"]
        assert len((await talk.get("/chat-history"))["data"]) == 5

    here(tmp_path, test)


def test_messages_are_found_by_their_words(tmp_path: Path):
    async def test(app: Here) -> None:
        talk = await talks(app)
        said = await talk.say("Explain kubernetes pods")
        await talk.say("something else")
        found = await talk.get("/search?q=kubern%20pods")
        assert {one["conversationId"] for one in found["data"]} == {said["conversationId"]}
        assert {one["role"] for one in found["data"]} == {"user", "assistant"}
        assert all("kubernetes pods" in one["snippet"] for one in found["data"])
        one = await talk.get("/search?q=kubernetes&limit=1")
        more = await talk.get(f"/search?q=kubernetes&limit=1&after={one['lastId']}")
        assert one["hasMore"]
        assert not more["hasMore"]
        assert one["data"][0]["id"] != more["data"][0]["id"]
        assert (await ask(app, "GET", f"{PATH}/search?q=--")).json["statusCode"] == 400

    here(tmp_path, test)


def test_several_are_shown_at_once_and_those_that_are_not_there_are_left_out(tmp_path: Path):
    async def test(app: Here) -> None:
        talk = await talks(app)
        one, two = [(await talk.say(str(n)))["conversationId"] for n in range(2)]
        found = await talk.get(f"/multiple?ids={two},{uuid4()},{one}")
        assert [row["id"] for row in found["data"]] == [two, one]
        assert await talk.get(f"/multiple?ids={two}&ids={one}") == found
        many = ",".join(str(uuid4()) for _ in range(101))
        assert (await ask(app, "GET", f"{PATH}/multiple?ids={many}")).status == 400

    here(tmp_path, test)


def test_titles_reactions_and_deletions(tmp_path: Path):
    async def test(app: Here) -> None:
        talk = await talks(app)
        said = await talk.say("hello")
        id, message = said["conversationId"], said["messageId"]
        renamed = await ask(app, "PATCH", f"{PATH}/{id}", {"title": "A title"})
        assert renamed.json["title"] == "A title"
        renamed = await ask(app, "PATCH", f"{PATH}/{id}", {"title": " A\n title "})
        assert renamed.json["title"] == "A title"
        for reaction, kept in (("like", "like"), ("dislike", "dislike"), ("none", None)):
            reply = await ask(app, "POST", f"{PATH}/{id}/messages/{message}/reaction", {"reaction": reaction})
            assert reply.json == {"id": message, "reaction": kept}
            assert (await talk.get(f"/{id}"))["messages"][1]["reaction"] == kept
        assert (await ask(app, "DELETE", f"{PATH}/{id}/messages/{message}")).json["deleted"] is True
        assert await talk.texts(id) == ["hello"]
        assert (await ask(app, "DELETE", f"{PATH}/{id}")).json == {"id": id, "deleted": True}
        assert (await ask(app, "GET", f"{PATH}/{id}")).status == 404
        reply = await ask(app, "POST", PATH, {"message": "x", "agentId": talk.agent, "conversationId": id})
        assert reply.status == 404

    here(tmp_path, test)


def test_after_a_reset_the_agent_knows_nothing_and_all_can_still_be_read(tmp_path: Path):
    async def test(app: Here) -> None:
        talk = await talks(app)
        first = await talk.say("hello")
        id = first["conversationId"]
        assert (await ask(app, "POST", f"{PATH}/{id}/reset")).status == 200
        assert await talk.texts(id) == []
        assert await talk.texts(id, "?all=true") == ["hello"] * 2
        again = await talk.say("hello", conversationId=id)
        assert again["usage"]["inputTokens"] == first["usage"]["inputTokens"]

    here(tmp_path, test)


def test_a_turn_that_is_under_way_at_a_reset_is_not_shown_to_the_next_whoever_speaks(tmp_path: Path):
    async def test(app: Here) -> None:
        talk = await talks(app)
        first = await talk.say("hello")
        id = first["conversationId"]
        native = from_uuid("conv_", id)
        body = {"message": "say 9 words pace 50", "agentId": talk.agent, "conversationId": id}
        words = {"model": MODEL, "messages": [{"role": "user", "content": "say 9 words pace 50"}], "stream": True}
        for path, asked in ((PATH, body), ("/v1/chat/completions", {**words, "conversation": native})):
            late = app.begin("POST", path, asked, content_type="application/json")
            await late.until(lambda reply: b"word1" in reply.body)
            assert (await ask(app, "POST", f"{PATH}/{id}/reset")).status == 200
            assert b"word9" in (await late.end()).body
            assert await talk.texts(id) == []
            again = await talk.say("hello", conversationId=id)
            assert again["usage"]["inputTokens"] == first["usage"]["inputTokens"]
            assert await talk.texts(id) == ["hello"] * 2

    here(tmp_path, test)


def test_a_branch_that_is_chosen_while_a_turn_goes_on_stays_chosen_whoever_speaks(tmp_path: Path):
    async def test(app: Here) -> None:
        talk = await talks(app)
        first = await talk.say("left")
        id, chosen = first["conversationId"], first["messageId"]
        question = (await talk.get(f"/{id}"))["messages"][0]["id"]
        right = await talk.say("right", conversationId=id, editMessageId=question)
        slow = "say 9 words pace 50"
        body = {"message": slow, "agentId": talk.agent, "conversationId": id}
        words = {"model": MODEL, "messages": [{"role": "user", "content": slow}], "stream": True}
        for path, asked in (
            (PATH, body), ("/v1/chat/completions", {**words, "conversation": from_uuid("conv_", id)})
        ):  # fmt: skip
            await ask(app, "POST", f"{PATH}/{id}/branches", {"messageId": right["messageId"]})
            under_way = app.begin("POST", path, asked, content_type="application/json")
            await under_way.until(lambda reply: b"word1" in reply.body)
            switched = await ask(app, "POST", f"{PATH}/{id}/branches", {"messageId": chosen})
            assert switched.status == 200
            assert b"word9" in (await under_way.end()).body
            assert await talk.texts(id) == ["left"] * 2
            [answer] = [one["id"] for one in (await talk.get(f"/{id}?all=true"))["messages"] if "word9" in one["text"]]
            await ask(app, "POST", f"{PATH}/{id}/branches", {"messageId": answer})
            assert (await talk.texts(id))[-2:] == [slow, "word1 word2 word3 word4 word5 word6 word7 word8 word9"]
            await ask(app, "DELETE", f"{PATH}/{id}/messages/{answer}")

    here(tmp_path, test)


def test_messages_are_edited_answered_anew_and_branches_switched(tmp_path: Path):
    async def test(app: Here) -> None:
        talk = await talks(app)
        first = await talk.say("one")
        id = first["conversationId"]
        question = (await talk.get(f"/{id}"))["messages"][0]["id"]
        again = await talk.say("", conversationId=id, regenerateMessageId=first["messageId"])
        assert again["text"] == first["text"]
        await talk.say("two", conversationId=id, editMessageId=question)
        assert await talk.texts(id) == ["two"] * 2
        branches = (await talk.get(f"/{id}/branches"))["data"]
        assert [(one["messages"], one["current"]) for one in branches] == [(2, False), (2, False), (2, True)]
        switched = await ask(app, "POST", f"{PATH}/{id}/branches", {"messageId": first["messageId"]})
        assert [one["current"] for one in switched.json["data"]] == [True, False, False]
        assert await talk.texts(id) == ["one"] * 2
        assert len(await talk.texts(id, "?all=true")) == 5

    here(tmp_path, test)


def test_documents_stay_in_sight_and_come_again_when_their_message_is_answered_anew(tmp_path: Path):
    async def test(app: Here) -> None:
        talk = await talks(app)
        made = await ask(app, "POST", "/v1/admin/documents", {"name": "Codes", "text": "one two three four five six"})
        document = made.json["id"]
        asked = await talk.say("code?", documentIds=[document])
        id, tokens = asked["conversationId"], asked["usage"]["inputTokens"]
        assert (await talk.get(f"/{id}"))["messages"][0]["documentIds"] == [document]
        again = await talk.say("", conversationId=id, regenerateMessageId=asked["messageId"])
        assert again["usage"]["inputTokens"] == tokens
        none = await talk.say("", conversationId=id, regenerateMessageId=asked["messageId"], documentIds=[])
        assert none["usage"]["inputTokens"] < tokens
        after = await talk.say("code?", conversationId=id)
        assert after["usage"]["inputTokens"] > tokens
        assert (await ask(app, "DELETE", f"/v1/admin/documents/{document}")).status == 200
        without = await talk.say("code?", conversationId=id)  # what is gone is no longer in sight
        assert without["usage"]["inputTokens"] < after["usage"]["inputTokens"] + tokens
        body = {"message": "x", "agentId": talk.agent, "conversationId": id, "documentIds": [document], "stream": False}
        assert (await ask(app, "POST", PATH, body)).status == 404

    here(tmp_path, test)


def test_the_conversation_of_an_agent_that_another_one_called_is_not_the_users(tmp_path: Path):
    async def test(app: Here) -> None:
        child = await talks(app)
        tool = {"name": "ask_child", "kind": "agent", "agent": {"agent_id": child.agent}}
        made = await ask(app, "POST", "/v1/admin/tools", tool)
        parent = await talks(app, tool_ids=[made.json["id"]])
        said = await parent.say("ask_child about zebras")
        assert [call["status"] for call in said["toolCalls"]] == ["ok"]
        assert len(await app.services.store.db.read("SELECT id FROM conversations")) == 2
        assert [row["id"] for row in (await parent.get("/chat-history"))["data"]] == [said["conversationId"]]
        assert (await parent.get(f"/chat-history?agentId={child.agent}"))["data"] == []
        for word in ("message", "zebras"):
            found = (await parent.get(f"/search?q={word}"))["data"]
            assert {row["conversationId"] for row in found} <= {said["conversationId"]}

    here(tmp_path, test)


def test_attachments_are_shown_by_the_names_that_they_are_sent_with(tmp_path: Path):
    async def test(app: Here) -> None:
        talk = await talks(app)
        sent = {"type": "file", "name": "a.txt", "mimeType": "text/plain", "data": "aGk="}
        said = await talk.say("", attachments=[sent])
        told = await talk.get(f"/{said['conversationId']}")
        assert told["messages"][0]["attachments"] == [{name: sent[name] for name in ("type", "name", "mimeType")}]
        assert told["title"] == "a.txt"

    here(tmp_path, test)


def test_a_thread_of_the_other_version_is_the_same_conversation(tmp_path: Path):
    async def test(app: Here) -> None:
        talk = await talks(app)
        body = {"user": "hello", "agent_id": talk.agent, "thread_id": "t"}
        await ask(app, "POST", "/api/v2/model/chat/completion", body)
        [row] = (await talk.get("/chat-history"))["data"]
        assert (row["threadId"], row["subThreadId"]) == ("t", "t")
        await talk.say("more", conversationId=row["id"])
        assert await talk.texts(row["id"]) == ["hello", "hello", "more", "more"]

    here(tmp_path, test)


def test_what_is_not_there_not_yours_or_not_known_is_refused_in_the_faces_words(tmp_path: Path):
    async def test(app: Here) -> None:
        talk = await talks(app)
        said = await talk.say("hello")
        id, message = said["conversationId"], said["messageId"]
        org = await app.services.store.all_orgs().create_org("other")
        _, key = await app.services.store.keys.create(org.id, "other")
        routes = [
            ("GET", "", None), ("PATCH", "", {"title": "x"}), ("DELETE", "", None), ("POST", "/reset", None),
            ("GET", "/branches", None), ("POST", "/branches", {"messageId": message}),
            ("POST", f"/messages/{message}/reaction", {"reaction": "like"}), ("DELETE", f"/messages/{message}", None),
        ]  # fmt: skip
        for method, path, body in routes:
            for whose, who in ((id, key), (str(uuid4()), KEY), ("nothing", KEY)):
                reply = await ask(app, method, f"{PATH}/{whose}{path}", body, key=who)
                assert reply.status == 404, (method, path, whose)
                assert set(reply.json) == {"statusCode", "message", "error"}
        for path in ("/chat-history", "/search?q=hello", f"/multiple?ids={id}"):
            assert (await talk.get(path, key=key))["data"] == []
        for path in ("/chat-history", "/search?q=hello"):
            mark = f"{path}{'&' if '?' in path else '?'}after={id if 'chat' in path else message}"
            assert (await ask(app, "GET", PATH + mark, key=key)).status == 404
        assert (await talk.get(f"/{id}"))["title"] == "hello"
        assert (await ask(app, "GET", f"{PATH}/{id}", key="nobody")).status == 401

    here(tmp_path, test)


@pytest.mark.parametrize(
    "method, path, body, field",
    [
        ("PATCH", "/{id}", {"title": ""}, "title"),
        ("PATCH", "/{id}", {"title": " \n "}, "title"),
        ("PATCH", "/{id}", {"title": "x", "name": "y"}, "name"),
        ("POST", "/{id}/messages/{id}/reaction", {"reaction": "love"}, "reaction"),
        ("POST", "/{id}/branches", {"messageId": "x"}, "messageId"),
        ("GET", "/chat-history?limit=0", None, "limit"),
        ("GET", "/chat-history?after=x", None, "after"),
        ("GET", "/search", None, "q"),
        ("GET", "/multiple?ids=x", None, "ids"),
    ],
)
def test_what_does_not_fit_is_refused_by_its_field(tmp_path: Path, method: str, path: str, body: Any, field: str):
    async def test(app: Here) -> None:
        id = (await (await talks(app)).say("hello"))["conversationId"]
        reply = await ask(app, method, PATH + path.replace("{id}", id), body)
        assert reply.status == 400
        assert reply.json["statusCode"] == 400
        assert reply.json["message"].startswith(field)

    here(tmp_path, test)


TOOL = {"type": "function", "function": {"name": "weather", "parameters": {"type": "object"}}}


async def chat(app: Here, conversation: Any, *messages: dict[str, Any], **more: Any) -> str:
    body = {"model": MODEL, "messages": messages, "conversation": conversation, "tools": [TOOL], **more}
    reply = await ask(app, "POST", "/v1/chat/completions", body)
    assert reply.status == 200, reply.body
    return as_uuid(reply.json["conversation"]["id"])


async def asked_the_weather(app: Here) -> str:
    """A conversation on /v1 whose caller has run a tool."""
    id = await chat(app, {}, {"role": "system", "content": "Be kind"}, {"role": "user", "content": "weather in Ulm?"})
    [call] = (await Talks(app, "").get(f"/{id}"))["messages"][-1]["toolCalls"]
    told = {"role": "tool", "tool_call_id": call["id"], "content": "drizzle"}
    return await chat(app, from_uuid("conv_", id), told)


def test_a_chat_on_v1_is_shown_with_its_calls_and_results_one_behind_the_other(tmp_path: Path):
    async def test(app: Here) -> None:
        id = await asked_the_weather(app)
        told = (await Talks(app, "").get(f"/{id}"))["messages"]
        assert [one["role"] for one in told] == ["system", "user", "assistant", "tool", "assistant"]
        assert [one["parentId"] for one in told] == [None, *(one["id"] for one in told[:-1])]
        [call] = told[2]["toolCalls"]
        assert (call["name"], call["arguments"]) == ("weather", {})
        assert (told[3]["text"], told[3]["toolCallId"]) == ("drizzle", call["id"])
        assert not any("toolCalls" in one or "toolCallId" in one for one in (told[0], told[1], told[4]))

    here(tmp_path, test)


def test_a_search_finds_what_was_said_in_a_chat_on_v1_and_only_what_is_kept(tmp_path: Path):
    async def test(app: Here) -> None:
        id = await asked_the_weather(app)
        talk = Talks(app, "")
        [found] = (await talk.get("/search?q=ulm"))["data"]
        assert (found["conversationId"], found["role"], found["snippet"]) == (id, "user", "weather in Ulm?")
        answers = (await talk.get("/search?q=rehearsal"))["data"]
        assert {(one["conversationId"], one["role"]) for one in answers} == {(id, "assistant")}
        parts = [{"type": "text", "text": "a zebra"}, {"type": "text", "text": "crosses"}]
        await chat(app, from_uuid("conv_", id), {"role": "user", "content": parts})
        assert [one["role"] for one in (await talk.get("/search?q=zebra+crosses"))["data"]][-1] == "user"
        await chat(app, from_uuid("conv_", id), {"role": "user", "content": "unicorn"}, store=False)
        await app.chat("unicorn").end()
        assert (await talk.get("/search?q=unicorn"))["data"] == []

    here(tmp_path, test)


def test_an_answer_behind_a_tools_result_is_given_anew_unless_its_question_is_deleted(tmp_path: Path):
    async def test(app: Here) -> None:
        talk, id = await talks(app), await asked_the_weather(app)
        _, question, _, result, answer = [one["id"] for one in (await talk.get(f"/{id}"))["messages"]]
        for named in (answer, result):
            again = await talk.say("", conversationId=id, regenerateMessageId=named)
            assert again["text"].endswith("weather in Ulm?")
        assert (await ask(app, "DELETE", f"{PATH}/{id}/messages/{question}")).status == 200
        body = {"agentId": talk.agent, "conversationId": id, "regenerateMessageId": answer, "stream": False}
        reply = await ask(app, "POST", PATH, body)
        assert (reply.status, reply.json["error"]) == (400, "not_a_user_message")
        assert "deleted" in reply.json["message"]
        said = await talk.say("one")
        first = said["conversationId"]
        second = await talk.say("two", conversationId=first)
        asked = (await talk.get(f"/{first}"))["messages"][2]["id"]
        assert (await ask(app, "DELETE", f"{PATH}/{first}/messages/{asked}")).status == 200
        body |= {"conversationId": first, "regenerateMessageId": second["messageId"]}
        assert (await ask(app, "POST", PATH, body)).status == 400  # the question before it is another one

    here(tmp_path, test)


def test_turns_of_agents_are_kept_whatever_the_server_keeps_of_chats_but_for_the_playgrounds(tmp_path: Path):
    async def test(app: Here) -> None:
        talk = await talks(app)
        assert len(await talk.texts((await talk.say("hi"))["conversationId"])) == 2
        for name in ("is_playground", "thread_id"):
            body = {"agent_id": talk.agent, "user": "hi", name: True if name == "is_playground" else "t1"}
            assert (await ask(app, "POST", "/api/v2/model/chat/completion", body)).status == 200
        assert [one["threadId"] for one in (await talk.get("/chat-history"))["data"]][:1] == ["t1"]
        assert len((await talk.get("/chat-history"))["data"]) == 2

    here(tmp_path, test, store="none")
