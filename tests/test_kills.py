"""A study that was killed ends with the bytes of one that was not."""

import random

from kill_study import differences, outputs, run_study


def test_killed_study_ends_with_the_bytes_of_an_unbroken_one(tmp_path):
    unbroken, broken = tmp_path / "unbroken", tmp_path / "broken"
    run_study(unbroken)
    kills = run_study(broken, most_kills=8, draw=random.Random(0))
    assert kills.total() > 2
    assert len(outputs(unbroken)) > 20
    assert differences(unbroken, broken) == []
