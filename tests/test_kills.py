"""A study that was killed ends with the bytes of one that was not."""

from kill_study import differences, kill_until_done, outputs

NUM_KILLS = 6


def test_killed_study_ends_with_the_bytes_of_an_unbroken_one(tmp_path):
    unbroken, broken = tmp_path / "unbroken", tmp_path / "broken"
    for folder in (unbroken, broken):
        folder.mkdir()
    kill_until_done(unbroken, 0, seed=0)
    report = kill_until_done(broken, NUM_KILLS, seed=0)
    assert sum(report["kills"].values()) == NUM_KILLS
    assert len(outputs(unbroken)) > 20
    assert differences(unbroken, broken) == []
