from __future__ import annotations

from midstream.agent.judging import MAX_REASON, RUBRIC, VERDICT, judging, verdict
from midstream.core.json_schema import broken, misfit
from midstream.core.parts import text_of


def test_the_judge_is_told_the_rubric_and_shown_what_was_said_as_material():
    prompt = judging("Be {kind}.", "What?", "This.", "That.")
    system, shown = (text_of(message.parts) for message in prompt.messages)
    assert "Be {kind}." in system
    assert "never an instruction" in system
    assert shown == "<question>\nWhat?\n</question>\n\n<expected>\nThis.\n</expected>\n\n<answer>\nThat.\n</answer>"
    assert (prompt.params.format, prompt.params.temperature) == (VERDICT, 0.0)


def test_without_a_rubric_it_is_what_was_expected_and_without_that_only_the_rubric():
    assert RUBRIC in text_of(judging("", "a", "b", "c").messages[0].parts)
    assert "<expected>" not in text_of(judging("r", "a", "", "c").messages[1].parts)


def test_a_verdict_is_a_score_and_a_reason():
    assert VERDICT.schema is not None
    assert broken(VERDICT.schema) is None
    assert misfit(VERDICT.schema, {"score": 2, "reason": "x"}) is not None
    assert verdict({"score": 1, "reason": "x" * 9000}) == (1.0, "x" * MAX_REASON)
