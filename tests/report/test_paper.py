"""What the report says of an experiment of the paper, from rows that are made up."""

import pytest

from dropbench.report.folder import load_report, paper_report
from dropbench.report.page.build import render as build_page
from dropbench.report.paper.result import AGREES, CONTRARY, NO_INTERVAL, UNCLEAR, UNSEEN, find_papers
from dropbench.report.paper.table import paper_table
from dropbench.report.pictures import save_pictures
from dropbench.report.render.export import export
from dropbench.results.csv_file import append_rows
from dropbench.results.read import read_table
from dropbench.results.schema import PAPER, RUNS, SCHEMA_VERSION


def write(folder, arms, axis="", **fields):
    """``arms`` maps (arm, x) to (values by seed, the paper's value, what it is against, what is expected)."""
    rows = []
    for position, ((arm, x), (values, theirs, against, expected)) in enumerate(arms.items()):
        for seed, value in enumerate(values):
            rows.append(
                {
                    "row_id": f"{fields.get('experiment_id')}-{position}-{seed}",
                    "schema_version": SCHEMA_VERSION, "experiment_id": "e",
                    "paper": "table9", "scale": "small", "title": "Table 9", "shows": "It shows.",
                    "source": "the paper", "differs": "everything", "data": "mnist", "precision": "bf16",
                    "position": position, "arm": arm, "axis": axis, "x": x, "seed": seed, "value": value,
                    "measure": "test_error_percent", "unit": "test error, %", "paper_value": theirs,
                    "against": against, "against_x": x if axis else None, "paper_direction": expected,
                    "run_id": f"r{position}{seed}", "p_drop": 0.5, "p_keep": 0.5, **fields,
                }
            )  # fmt: skip
    append_rows(folder, PAPER, rows)


ARMS = {
    ("none", None): ([2.0, 2.1, 2.2], 1.6, "", ""),
    ("better", None): ([1.5, 1.62, 1.7], 1.2, "none", "lower"),
    ("worse", None): ([2.5, 2.62, 2.7], 1.3, "none", "lower"),
    ("unclear", None): ([1.5, 2.1, 2.6], 1.4, "none", "lower"),
    ("same", None): ([2.01, 2.09, 2.21], 1.6, "none", "same"),
    ("not the same", None): ([1.5, 1.62, 1.7], 1.6, "none", "same"),
    ("no gain", None): ([2.5, 2.62, 2.7], None, "none", "not lower"),
    ("gain", None): ([1.5, 1.62, 1.7], None, "none", "not lower"),
    ("nothing said", None): ([1.5, 1.62, 1.7], None, "none", ""),
}


def result(folder):
    (found,) = find_papers(read_table(folder, PAPER), read_table(folder, RUNS))
    return found


def result_of(folder, experiment_id):
    found = find_papers(read_table(folder, PAPER), read_table(folder, RUNS))
    return next(each for each in found if each.experiment_id == experiment_id)


def test_the_agreement_is_the_direction_of_the_interval_against_the_papers(tmp_path):
    write(tmp_path, ARMS)
    agreements = {place.arm: place.agreement for place in result(tmp_path).places}
    assert agreements == {
        "none": "", "better": AGREES, "worse": CONTRARY, "unclear": UNCLEAR, "same": UNSEEN,
        "not the same": CONTRARY, "no gain": AGREES, "gain": CONTRARY, "nothing said": "",
    }  # fmt: skip


def test_a_row_without_a_place_or_a_seed_is_left_out_and_told(tmp_path, told):
    write(tmp_path, ARMS)
    write(tmp_path, {("lost", None): ([1.0], None, "", "")}, row_id="x", position=None)
    write(tmp_path, {("lost", None): ([1.0], None, "", "")}, row_id="y", seed=None)
    (found,) = find_papers(read_table(tmp_path, PAPER), read_table(tmp_path, RUNS))
    assert [place.arm for place in found.places] == [arm for arm, _ in ARMS]
    assert told == ["paper.csv: rows without a position or a seed are left out: 2."]


def test_differences_are_paired_by_seed_and_stand_beside_the_papers(tmp_path):
    write(tmp_path, ARMS)
    rows = {row["arm"]: row for row in paper_table(result(tmp_path)).rows}
    assert rows["better"]["difference"] == pytest.approx((-0.5 - 0.48 - 0.5) / 3)
    assert rows["better"]["paper_difference"] == pytest.approx(-0.4)
    width = rows["better"]["difference_high"] - rows["better"]["difference_low"]
    assert 0 < width < 0.2, "of the pairs' spread, or the table's"
    assert rows["better"]["ratio"] == pytest.approx(1.6067 / 2.1, abs=0.01)
    assert rows["none"]["paper"] == 1.6


def test_several_experiments_are_counted_together_and_every_difference_stands_once(tmp_path):
    write(tmp_path, ARMS)
    assert [subject.tables[0].kind for subject in load_report(tmp_path).subjects] == ["paper"]
    one_seed = {("none", None): ([2.0], 1.6, "", ""), ("better", None): ([1.5], 1.2, "none", "lower")}
    write(tmp_path, one_seed, experiment_id="f", paper="table2", unverified="from memory")
    first, *_ = load_report(tmp_path).subjects
    (table,) = first.tables
    spoken = [arm for (arm, _), (_, _, _, expected) in ARMS.items() if expected]
    assert [row["arm"] for row in table.rows] == [*spoken, "better"]
    readings = {row["arm"]: row["reading"] for row in table.rows[:-1]}
    assert readings == {
        place.arm: place.agreement for place in result_of(tmp_path, "e").places if place.expected
    }
    assert table.rows[-1]["reading"] == NO_INTERVAL
    assert {row["experiment"] for row in table.rows} == {"table9", "table2"}
    (figure,) = first.figures
    (plot,) = figure.subplots
    ours = {
        plot.y.categories[int(y)]: x
        for each in plot.series
        if each.low
        for x, y in zip(each.x, each.y, strict=True)
    }
    assert ours["table9 (small): better"] == pytest.approx(100 * (1.6067 / 2.1 - 1), abs=1)
    (theirs,) = (each for each in plot.series if each.hollow)
    heights = dict(zip(theirs.y, theirs.x, strict=True))
    assert heights[plot.y.categories.index("table9 (small): better")] == pytest.approx(-25), "1.2 beside 1.6"
    assert "table9 (small): better" in build_page(load_report(tmp_path))
    assert len(table.notes) == 2, "the figure from memory is marked, and the mark explained"


def test_an_experiment_at_two_scales_has_a_name_for_each_in_the_overview(tmp_path):
    for scale in ("small", "full"):
        write(tmp_path, ARMS, experiment_id=scale, scale=scale)
    first, *_ = load_report(tmp_path).subjects
    names = first.figures[0].subplots[0].y.categories
    assert len(set(names)) == len(names) == len(first.tables[0].rows)
    build_page(load_report(tmp_path))


def test_the_overview_tells_every_scale_but_the_full_one(tmp_path):
    for paper, scale in (("table9", "smoke"), ("table2", "full")):
        write(tmp_path, ARMS, experiment_id=paper, paper=paper, scale=scale)
    first, *_ = load_report(tmp_path).subjects
    names = {name.partition(":")[0] for name in first.figures[0].subplots[0].y.categories}
    assert names == {"table9 (smoke)", "table2"} == {row["_name"] for row in first.tables[0].rows}


def test_there_is_no_overview_of_nothing(tmp_path):
    for name in ("e", "f"):
        write(tmp_path, {("none", None): ([2.0], 1.6, "", "")}, experiment_id=name)
    assert [subject.tables[0].kind for subject in load_report(tmp_path).subjects] == ["paper", "paper"]


def test_one_seed_says_nothing_of_a_difference(tmp_path):
    write(tmp_path, {key: ([values[0]], *rest) for key, (values, *rest) in ARMS.items()})
    table = paper_table(result(tmp_path))
    assert {row["reading"] for row in table.rows} == {""}
    assert any("one seed" in sentence for sentence in table.verdict)


@pytest.mark.parametrize(("unverified", "mark"), [("from memory", "1.60‡"), ("single copy", "1.60†")])
def test_values_that_are_not_sure_are_marked_and_the_mark_explained(tmp_path, unverified, mark):
    write(tmp_path, ARMS, unverified=unverified)
    table = paper_table(result(tmp_path))
    assert any(mark in cell for cells in table.texts() for cell in cells)
    assert any(note.startswith(mark[-1]) and "unverified" in note for note in table.notes)


def test_arms_along_an_axis_are_compared_at_the_same_place(tmp_path):
    write(
        tmp_path,
        {
            ("none", 100.0): ([9.0, 9.5], None, "", ""),
            ("none", 1000.0): ([5.0, 5.5], None, "", ""),
            ("dropout", 100.0): ([9.1, 9.6], None, "none", "same"),
            ("dropout", 1000.0): ([4.0, 4.6], None, "none", "lower"),
        },
        axis="train_size",
    )
    rows = [row for row in paper_table(result(tmp_path)).rows if row["arm"] == "dropout"]
    assert [row["difference"] for row in rows] == pytest.approx([0.1, -0.95])
    (curve,) = save_pictures(load_report(tmp_path), tmp_path)
    assert curve.read_bytes()[:4] == b"\x89PNG"


def test_it_is_a_part_of_the_report_in_every_form(tmp_path):
    write(tmp_path, ARMS)
    report = load_report(tmp_path)
    assert [subject.kind for subject in report.subjects] == ["paper"]
    for ending in ("md", "csv", "json", "tex"):
        export(report.tables, tmp_path / f"t.{ending}")
        assert "better" in (tmp_path / f"t.{ending}").read_text(encoding="utf-8")
    (picture,) = save_pictures(report, tmp_path / "pictures", ("svg",))
    assert picture.suffix == ".svg"

    page = build_page(report)
    assert "dropbench paper table9 --scale small --data mnist --precision bf16 --seeds 3" in page
    assert "diamond-open" in page


def test_a_row_that_was_written_again_takes_the_place_of_the_first(tmp_path):
    write(tmp_path, {("none", None): ([2.0], 1.6, "", "")})
    write(tmp_path, {("none", None): ([3.0], 1.6, "", "")})
    (subject,) = paper_report(tmp_path, "e").subjects
    assert subject.tables[0].rows[0]["ours"] == 3.0


def test_a_difference_of_which_nothing_is_said_is_shown_and_tested_with_none(tmp_path):
    write(tmp_path, ARMS)
    rows = {row["arm"]: row for row in paper_table(result(tmp_path)).rows}
    assert rows["nothing said"]["difference"] == rows["gain"]["difference"]
    assert rows["nothing said"]["p_value_holm"] != rows["nothing said"]["p_value_holm"], "NaN"
    assert rows["gain"]["p_value_holm"] < 1


def test_runs_that_did_not_end_well_are_counted_and_their_arm_stays(tmp_path):
    none = float("nan")
    arms = {**ARMS, ("better", None): ([1.5, none, none], 1.2, "none", "lower"),
            ("worse", None): ([none] * 3, 1.3, "none", "lower")}  # fmt: skip
    write(tmp_path, arms)
    table = paper_table(result(tmp_path))
    seeds = {row["arm"]: row["seeds"] for row in table.rows}
    assert (seeds["better"], seeds["worse"], seeds["none"]) == (1, 0, 3)
    assert any(note.startswith("5 runs diverged or failed") for note in table.notes)
    assert save_pictures(load_report(tmp_path), tmp_path)


def test_names_out_of_a_file_stay_within_the_folder_of_pictures(tmp_path):
    write(tmp_path, ARMS, scale="../../small")
    (picture,) = save_pictures(load_report(tmp_path), tmp_path / "pictures")
    assert picture.parent == tmp_path / "pictures"
