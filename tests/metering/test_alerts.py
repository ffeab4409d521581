from __future__ import annotations

from msgspec.structs import replace

from midstream.core.account import TurnAccount
from midstream.core.outcome import Step
from midstream.metering.alerts import Alert, Target, alarms_in, alarms_of, fingerprint, raised

TURN = TurnAccount("msg_1", "org_a", "agt_1", "run_1", 1.0, thread="t1")
FAILED = replace(TURN, success=False, failure="upstream_error", failure_message="it broke")


def test_a_turn_that_went_well_raises_nothing():
    assert alarms_of(TURN, [Step("c1", "docs", {}, "ok")]) == []
    assert raised("run_1", "org_a", [], 1.0) == ()


def test_each_thing_that_went_wrong_is_an_alarm_of_its_own():
    turn = replace(TURN, missing=("b", "a"), fallback=True, first_error="refused", service="up", model="m")
    alarms = alarms_of(turn, [Step("c1", "docs", {}, "failed", error="no index")])
    assert [alarm.type for alarm in alarms] == ["Variable", "retry_mechanism", "knowledge_base"]
    assert [alarm.text for alarm in alarms] == ["missing: a, b", "refused", "no index"]
    assert [alarm.type for alarm in alarms_of(FAILED)] == ["Error"]
    assert {(one.agent, one.thread, one.message, one.run) for one in alarms} == {("agt_1", "t1", "msg_1", "run_1")}


def test_a_caller_who_left_is_no_error_and_a_server_that_is_busy_or_ends_is_one():
    assert alarms_of(replace(FAILED, failure="cancelled")) == []
    assert [one.type for one in alarms_of(replace(FAILED, failure="server_busy"))] == ["Error"]


def test_alarms_travel_through_the_outbox_as_they_are():
    alarms = alarms_of(FAILED)
    [row] = raised("run_1", "org_a", alarms, 2.0)
    assert (row.id, row.topic, alarms_in(row.payload)) == ("alert:run_1", "alert", alarms)


def test_errors_of_other_codes_and_other_agents_are_told_apart():
    prints = [fingerprint(alarms_of(turn)[0]) for turn in (
        FAILED, replace(FAILED, id="msg_2", run="run_2", failure_message="again"),
        replace(FAILED, failure="timeout"), replace(FAILED, agent="agt_2"),
    )]  # fmt: skip
    assert prints[0] == prints[1]
    assert len(set(prints)) == 3


def test_an_alert_names_agents_by_any_spelling_of_their_ids():
    digits = "5f0c2d9e81aa000000a1b2c3"
    alert = Alert("a", "Error", Target("http://here.test/"), agent_ids=(digits,))
    [alarm] = alarms_of(replace(FAILED, agent=f"agt_{digits}"))
    assert alert.wants(alarm)
    assert not alert.wants(replace(alarm, agent="agt_5f0c2d9e81aa000000a1b2c4"))
