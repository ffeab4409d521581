"""Turns that were accepted, on a real server whose store goes away, or which stops, in the middle of them."""

from __future__ import annotations

import sqlite3
import time
from collections import Counter
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from ..postgres import private_postgres
from .agents_at import Agents
from .serving import Serving
from .upstream import Asked, Said, Upstream, whole
from .waiting import until

ASK = "/api/v2/model/chat/completion"
QUEUE = {"type": "queue", "cred": {"name": "q"}}
TOML = """
[server]
lame_duck_seconds = 0
drain_seconds = 0.5
[providers.up]
kind = "openai_compatible"
base_url = "{upstream}/v1"
"""


def thinking(seconds: Callable[[], float]) -> Callable[[Asked], Said]:
    def answer(asked: Asked) -> Said:
        message = {"role": "assistant", "content": "here it is"}
        usage = {"prompt_tokens": 60, "completion_tokens": 40, "total_tokens": 100}
        choice = {"index": 0, "message": message, "finish_reason": "stop"}
        said = whole({"id": "c", "object": "chat.completion", "created": 1, "model": "m", "choices": [choice],
                      "usage": usage})  # fmt: skip
        return Said((seconds(), *said.pieces))

    return answer


@pytest.mark.parametrize("into", [0.7, 1.0])
def test_accepted_turns_are_made_though_postgres_goes_away_in_the_middle_of_them(tmp_path: Path, into: float):
    with (
        private_postgres() as postgres,
        postgres.database() as url,
        Upstream(thinking(lambda: 1.0)) as upstream,
        Serving(tmp_path, TOML.format(upstream=upstream.url), MIDSTREAM_DATABASE_URL=url) as serving,
    ):
        agent = Agents(serving).agent(service="up", configuration={"model": "m"})
        asked = {"agent_id": agent, "user": "what is it?", "response_format": QUEUE}
        ids = [serving.ask("POST", ASK, {**asked, "thread_id": f"t{n}"}).json["message_id"] for n in range(60)]
        until(lambda: len(upstream.asked) >= 10)
        time.sleep(into)
        postgres.stop()
        time.sleep(2.0)
        postgres.start()

        def jobs() -> list[Any]:
            found = [serving.ask("GET", f"/v1/admin/jobs/{id}").json for id in ids]
            return found if all(one.get("ended_at") for one in found) else []

        assert Counter(one["status"] for one in until(jobs, 60)) == {"done": 60}


def test_items_of_a_batch_that_a_server_lets_go_of_when_it_stops_spend_no_second_point(tmp_path: Path):
    seconds = 30.0
    with (
        Upstream(thinking(lambda: seconds)) as upstream,
        Serving(tmp_path, TOML.format(upstream=upstream.url)) as serving,
    ):
        agent = Agents(serving).agent(service="up", configuration={"model": "m"}, limits={"agent": 100})
        body = {"agent_id": agent, "batch": ["a", "b", "c"]}
        batch = serving.ask("POST", "/api/v2/model/batch/chat/completion", body).json["batch_id"]
        for times in (1, 2):
            until(lambda times=times: len(upstream.asked) == 3 * times)
            serving.stop()
            serving.start()
        seconds = 0.0
        until(lambda: serving.ask("GET", f"/api/v2/model/batch/{batch}").json["status"] == "completed", 30)
        serving.stop()
        with closing(sqlite3.connect(tmp_path / "data" / "midstream.db")) as db:
            assert db.execute("SELECT used FROM points WHERE kind = 'agent'").fetchall() == [(3,)]
        serving.start()
