"""Two folders side by side, for somebody's CI."""

import math

import pytest
from report.test_report import runs

from dropbench.errors import DropbenchError
from dropbench.report.diff import diff_tables
from dropbench.report.folder import Choice

STEADY = {0.0: [4.0, 5.0, 4.4, 4.1, 5.2, 4.8], 0.5: [3.0, 3.9, 3.2, 3.1, 4.1, 3.6]}


def moved(by: float, noise: float = 0.05) -> dict[float, list[float]]:
    signs = (1, -1, 1, -1, 1, -1)
    return {
        p: [e + by + noise * s for e, s in zip(errors, signs, strict=True)] for p, errors in STEADY.items()
    }


@pytest.fixture
def folders(tmp_path):
    old, new = tmp_path / "old", tmp_path / "new"
    old.mkdir()
    new.mkdir()
    return old, new


def test_a_significant_worsening_is_found_and_a_better_one_is_none(folders):
    old, new = folders
    runs(old, STEADY)
    runs(new, moved(+0.5))
    (table,), worse = diff_tables(old, new, Choice())
    assert worse
    assert [row["worse"] for row in table.rows] == [True, True]
    assert [row["difference"] for row in table.rows] == pytest.approx([0.5, 0.5])
    (back,), worse = diff_tables(new, old, Choice())
    assert not worse
    assert all(row["better"] for row in back.rows)
    assert "2 are significantly worse" in table.verdict[0]


def test_noise_is_no_worsening(folders):
    old, new = folders
    runs(old, STEADY)
    runs(new, moved(0.0, noise=0.3))
    (table,), worse = diff_tables(old, new, Choice())
    assert not worse
    assert all(row["p_value_holm"] > 0.05 for row in table.rows)


def test_one_image_more_on_every_seed_is_no_worsening(folders):
    """With 30 images; it is no test that would end somebody's CI."""
    old, new = folders
    counts = {0.0: [3, 5, 4], 0.5: [2, 4, 4]}
    runs(old, {p: [100 * count / 30 for count in each] for p, each in counts.items()})
    runs(new, {p: [100 * (count + 1) / 30 for count in each] for p, each in counts.items()})
    (table,), worse = diff_tables(old, new, Choice())
    assert not worse
    assert all(math.isnan(row["p_value"]) for row in table.rows)
    assert all(math.isnan(row["difference_low"]) for row in table.rows)
    assert any("No test was possible" in note for note in table.notes)


def test_only_what_both_have_is_compared_and_the_rest_is_told(folders):
    old, new = folders
    runs(old, {**STEADY, 0.8: [9.0] * 6})
    runs(new, {0.0: [4.5, 5.5, None, None, None, None], 0.3: [3.0]})
    (table,), worse = diff_tables(old, new, Choice())
    (row,) = table.rows
    assert (row["p_drop"], row["seeds"], row["lost_runs"]) == (0.0, 2, 4)
    assert not worse
    assert any("3 settings are in one" in note for note in table.notes)
    assert any("4 runs that ended well" in note for note in table.notes)


def test_versions_and_precisions_are_what_may_differ(folders):
    old, new = folders
    runs(old, STEADY, precision="fp32", data="mnist")
    runs(new, STEADY, precision="bf16", data="digits")
    (table,), worse = diff_tables(old, new, Choice())
    assert len(table.rows) == 2
    assert not worse
    assert all(math.isnan(row["p_value"]) for row in table.rows)
    runs(new, STEADY, epochs=9)
    assert len(diff_tables(old, new, Choice())[0][0].rows) == 2, "other settings are never mixed in"


def test_another_metric_can_be_compared(folders):
    old, new = folders
    runs(old, STEADY)
    runs(new, moved(+0.5))
    (table,), worse = diff_tables(old, new, Choice(metric="nll"))
    assert not worse, "the likelihoods were made the same"
    assert "NLL" in table.title


def test_nothing_in_common_is_said(folders):
    old, new = folders
    with pytest.raises(DropbenchError, match="no runs"):
        diff_tables(old, new, Choice())
    runs(old, {0.5: [3.0]})
    runs(new, {0.6: [3.0]})
    with pytest.raises(DropbenchError, match="in common"):
        diff_tables(old, new, Choice())
    with pytest.raises(DropbenchError, match="no folder"):
        diff_tables(old, old / "absent", Choice())
