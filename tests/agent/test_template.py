from __future__ import annotations

from datetime import UTC

import pytest
from hypothesis import given
from hypothesis import strategies as st

from midstream.agent.template import current_time, manner, within, zone_of

NOON = 1_764_072_000.0  # 2025-11-25 12:00 UTC, a Tuesday


@pytest.mark.parametrize(
    "zone, shown",
    [
        ("UTC", "Tuesday, 2025-11-25 12:00 (UTC, UTC+00:00)"),
        ("Europe/Berlin", "Tuesday, 2025-11-25 13:00 (Europe/Berlin, UTC+01:00)"),
        ("Asia/Kolkata", "Tuesday, 2025-11-25 17:30 (Asia/Kolkata, UTC+05:30)"),
        ("Pacific/Kiritimati", "Wednesday, 2025-11-26 02:00 (Pacific/Kiritimati, UTC+14:00)"),
    ],
)
def test_the_time_is_right_for_the_zone(zone, shown):
    known = zone_of(zone)
    assert known is not None
    assert current_time(NOON, known) == shown


def test_summer_time_counts():
    berlin = zone_of("Europe/Berlin")
    assert berlin is not None
    assert current_time(NOON - 150 * 86400, berlin).endswith("14:00 (Europe/Berlin, UTC+02:00)")


@pytest.mark.parametrize(
    "name", ["Nowhere/Land", "../../etc/passwd", "/etc/passwd", "a\0b", "x" * 5000, "Europe", ".", "é"]
)
def test_what_is_no_zone_is_none(name):
    assert zone_of(name) is None


@given(st.text())
def test_no_name_of_a_zone_raises(name):
    zone_of(name)


def test_no_name_is_utc():
    assert zone_of("") is UTC


def test_a_template_holds_the_prompt_where_it_says():
    assert (
        within("Be safe.\n{{ system_prompt }}\nEnd.", r"You \1 are {{name}}.")
        == "Be safe.\nYou \\1 are {{name}}.\nEnd."
    )
    assert within("Be safe.", "You are kind.") == "Be safe.\n\nYou are kind."
    assert within("Be safe.", "") == "Be safe."
    assert within("", "You are kind.") == "You are kind."


def test_manner_says_what_is_set():
    assert manner("warm", "") == "Tone: warm"
    assert manner("warm", "short") == "Tone: warm\nResponse style: short"
    assert manner("", "") == ""
