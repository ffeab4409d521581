from __future__ import annotations

import uuid

import pytest
from hypothesis import given
from hypothesis import strategies as st

from midstream.core.ids import as_uuid, from_uuid, new_id

digits = st.text("0123456789abcdef", min_size=24, max_size=24)


@given(digits)
def test_an_id_and_its_uuid_are_the_same_thing_in_both_directions(text: str):
    written = as_uuid(f"conv_{text}")
    assert from_uuid("conv_", written) == f"conv_{text}"
    assert from_uuid("conv_", written.upper()) == f"conv_{text}"
    assert str(uuid.UUID(written)) == written
    assert uuid.UUID(written).version == 8
    assert uuid.UUID(written).variant == uuid.RFC_4122


@given(st.uuids())
def test_a_uuid_that_is_read_is_one_that_is_written(other: uuid.UUID):
    try:
        id = from_uuid("msg_", str(other))
    except ValueError:
        return
    assert as_uuid(id) == str(other)


@given(st.text(max_size=40))
def test_what_is_no_uuid_of_ours_is_refused(text: str):
    with pytest.raises(ValueError, match="not a UUID"):
        from_uuid("conv_", text)


@pytest.mark.parametrize("id", ["", "conv_", "conv_xyz", "conv_" + "A" * 24, "conv_" + "0" * 23, "0" * 25])
def test_what_is_no_id_of_ours_has_no_uuid(id: str):
    with pytest.raises(ValueError, match="not an id"):
        as_uuid(id)


def test_ids_that_are_made_have_one():
    id = new_id("msg_")
    assert from_uuid("msg_", as_uuid(id)) == id
    assert from_uuid("", as_uuid(id.removeprefix("msg_"))) == id.removeprefix("msg_")
