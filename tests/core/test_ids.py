from __future__ import annotations

import subprocess
import sys

from midstream.core.ids import new_id, secret


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
