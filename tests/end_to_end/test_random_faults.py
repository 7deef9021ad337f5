"""Whatever happens to a results folder, what was in it stays, and the same commands complete it."""

import sys

import pytest
from end_to_end.random_faults import mistreated

pytestmark = pytest.mark.skipif(
    sys.platform != "linux", reason="signals, limits and /proc are those of Linux"
)


def test_nothing_is_lost_doubled_or_wrong_after_twenty_faults_at_random(tmp_path):
    folder = mistreated(tmp_path, seed=3, steps=20)
    assert len(folder.tried) > 8
    assert folder.failed == []
