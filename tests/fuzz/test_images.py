"""Files that the fuzzer found or may find: every one is read or refused with a reason, in a separate process."""

import pytest

from tests.fuzz.images import STORE, check, seeds
from tests.fuzz.mutate import failure

KEPT = sorted(path for path in STORE.glob("*") if path.is_file())


@pytest.mark.parametrize("path", KEPT, ids=lambda path: path.name)
def test_a_file_that_failed_once(path):
    assert failure(check, path) is None


def test_every_seed_is_a_image(tmp_path):
    """Otherwise the fuzzer would only test refusals."""
    for seed in seeds():
        (tmp_path / seed.name).write_bytes(seed.data)
        assert check(tmp_path / seed.name) == "read", seed.name
