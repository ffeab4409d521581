"""What a server that lets go of what is old keeps of answers that nobody fetched."""

from __future__ import annotations

from pathlib import Path

from .serving import Serving
from .waiting import until


def test_an_answer_that_waits_in_a_queue_is_gone_after_the_days_of_retention(tmp_path: Path):
    body = {
        "user": "say 2 words", "service": "midstream", "model": "rehearsal",
        "response_format": {"type": "queue", "cred": {"name": "orders"}},
    }  # fmt: skip
    with Serving(tmp_path) as serving:
        message = serving.ask("POST", "/api/v2/model/chat/completion", body).json["message_id"]
        until(lambda: serving.ask("GET", "/v1/queues/orders").json["data"])
        serving.stop()
        serving.start()
        assert len(serving.ask("GET", "/v1/queues/orders").json["data"]) == 1
        serving.stop()
        (tmp_path / "midstream.toml").write_text("[retention]\ndays = 0.00001\n")
        serving.start()
        until(lambda: not serving.ask("GET", "/v1/queues/orders").json["data"])
        assert serving.ask("GET", f"/v1/admin/jobs/{message}").status == 404
        assert serving.ask("GET", "/v1/admin/deliveries").json["data"] == []
