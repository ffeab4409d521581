from __future__ import annotations

import subprocess
import sys
from uuid import RFC_4122, UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from midstream.core.ids import as_uuid, from_uuid, new_id, secret, spelled


def test_a_million_ids_are_unique_and_rising():
    made = [new_id("att_") for _ in range(1_000_000)]
    assert all(map(str.__lt__, made, made[1:]))
    assert {len(one) for one in made} == {len("att_") + 24}


def test_two_processes_never_make_the_same_id():
    script = "from midstream.core.ids import new_id; print(new_id('x_'))"
    made = {subprocess.run([sys.executable, "-c", script], capture_output=True, check=True).stdout for _ in range(3)}
    assert len({one[:14] for one in made}) == 3


def test_a_secret_has_256_bits_that_nothing_foretells():
    made = {secret("ms-") for _ in range(1000)}
    assert len(made) == 1000
    assert {len(one) for one in made} == {3 + 64}


@given(st.text("0123456789abcdef", min_size=24, max_size=24))
def test_an_id_and_its_uuid_lead_to_each_other(digits: str):
    uuid = as_uuid(f"agt_{digits}")
    assert UUID(uuid).version == 8
    assert UUID(uuid).variant == RFC_4122
    assert from_uuid("agt_", uuid) == from_uuid("agt_", UUID(uuid).hex.upper()) == f"agt_{digits}"
    for text in (digits, f"agt_{digits}", digits.upper(), uuid, uuid.upper()):
        assert spelled("agt_", text) == f"agt_{digits}"


@pytest.mark.parametrize("text", ["", "agt_", "agt_xyz", "my-agent", "f" * 23, "tool_" + "0" * 24, str(UUID(int=5))])
def test_other_texts_are_no_ids(text: str):
    assert spelled("agt_", text) == text
    with pytest.raises(ValueError):
        from_uuid("agt_", text)
