"""The harness itself: a reader that raises or crashes is reported, and the damage can be repeated."""

import os
import random

from tests.fuzz.mutate import Seed, failure, fuzz, mutate


def test_the_fuzzer_reports_what_is_neither_a_result_nor_a_reason(tmp_path, capsys):
    found = fuzz(_broken, [Seed("a.txt", b"x" * 100)], tmp_path / "kept", minutes=2, seed=0, jobs=1, stop_after=2)
    assert found == 1
    printed = capsys.readouterr().out
    for what in ("RuntimeError at test_mutate.py", "the process died (exit code -6)"):
        assert what in printed
    assert len(list((tmp_path / "kept").iterdir())) == 2
    for path in (tmp_path / "kept").iterdir():
        assert failure(_broken, path) is not None


def _broken(path):
    """A reader that raises on some files and crashes on others."""
    kind = sum(path.read_bytes()) % 4
    if kind == 0:
        raise RuntimeError("broken")
    if kind == 1:
        os.abort()
    return "read"


def test_damage_is_the_same_for_the_same_seed():
    data = bytes(range(256))
    first, second = ([mutate(data, rng, [data]) for _ in range(50)] for rng in (random.Random(5), random.Random(5)))
    assert first == second
    assert len(set(first)) > 40
