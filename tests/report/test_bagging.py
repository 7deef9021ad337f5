"""What a comparison of arms says, shows and draws, from rows that were made for it."""

import io
import math

import pytest
from rich.console import Console

from dropbench.catalog.arms import ARMS, losses_of
from dropbench.report.comparison.comparison import find_comparisons
from dropbench.report.comparison.figures import comparison_figures, pareto_front
from dropbench.report.comparison.tables import comparison_tables
from dropbench.report.folder import Choice, load_report
from dropbench.report.pictures import save_pictures
from dropbench.report.render.export import EXPORTERS, export
from dropbench.report.render.terminal import show
from dropbench.results.csv_file import append_rows
from dropbench.results.read import read_table
from dropbench.results.rows import run_row
from dropbench.results.schema import COMPARISONS, DIFFERENCES, RELIABILITY, RUNS, SCHEMA_VERSION
from dropbench.run.config import RunConfig
from dropbench.run.result import RunResult

MEMBERS = 3


def compare(folder, errors, old=False, members=MEMBERS, task="classification"):
    """Rows of arms whose errors (or RMSE) are given by seed; None is a seed whose members are missing."""
    append_rows(folder, RUNS, [run_row(RunResult(RunConfig(), "ok"), "")])
    for arm, by_seed in errors.items():
        kind = ARMS[arm]
        sizes = [1, 2, 5] if kind.monte_carlo else list(range(1, members + 1)) if kind.is_ensemble else [1]
        for seed, error in enumerate(by_seed):
            rows = [
                _row(arm, seed, averaging, size, error, sizes[-1], members, task)
                for averaging in (("arithmetic", "geometric") if len(sizes) > 1 else ("arithmetic",))
                for size in sizes
            ]
            if old:  # as they were before there were budgets, sizes and averages
                fullest = rows[len(sizes) - 1]
                rows = [{name: cell for name, cell in fullest.items() if name not in NEW}]
            append_rows(folder, COMPARISONS, rows)
            bins = {"schema_version": SCHEMA_VERSION, "examples": 10, "accuracy": 0.5, "confidence": 0.6}
            named = {"comparison_id": f"{arm}{seed}arithmetic{sizes[-1]}"}
            append_rows(folder, RELIABILITY, [{**bins, **named, "bin": k} for k in (3, 14)])


NEW = {"experiment_id", "budget", "averaging", "averaged", "left_out", "foreign", "train_flops"}


def _row(arm, seed, averaging, size, error, most, members, task):
    config = RunConfig(task=task, p_drop=0.5, seed=seed, mc_samples=5, convention="weight-scaling")
    row = {
        "comparison_id": f"{arm}{seed}{averaging}{size}", "schema_version": SCHEMA_VERSION,
        "experiment_id": "e", "arm": arm, "members": members, "budget": "members", "foreign": "rotated",
        "averaging": averaging, "averaged": 1 if ARMS[arm].monte_carlo else size, "left_out": 0,
        **config.row(), "passes_per_prediction": size, "message": "1 of 3 runs did not end ok",
    }  # fmt: skip
    if error is None:
        return row
    figures = dict.fromkeys((c for c in COMPARISONS.columns if c not in COMPARISONS.text_columns), 0.5)
    return {
        **figures,
        **row,
        "message": "",
        f"test_{losses_of(task)[0]}": error + (most - size) / 10 + (averaging == "geometric"),
        "train_flops": 1e13 * (size if ARMS[arm].is_ensemble else 1),
        "prediction_flops": 2e6 * size,
    }


def differ(folder, intervals, seeds, loss="error_percent", p="0.5 0.01"):
    append_rows(
        folder,
        DIFFERENCES,
        [
            {"difference_id": f"{arm}{seeds}{loss}", "schema_version": SCHEMA_VERSION, "experiment_id": "e",
             "arm": arm, "reference": "dropout", "loss": loss, "seeds": " ".join(map(str, range(seeds))),
             "test_images": 1000,
             "difference": mean, "low": low, "high": high, "p_better": 0.9, "mcnemar_p": p}
            for arm, (mean, low, high) in intervals.items()
        ],
    )  # fmt: skip


def found(folder):
    (one,) = find_comparisons(
        *(read_table(folder, table) for table in (COMPARISONS, DIFFERENCES, RELIABILITY))
    )
    return one


def pictures(folder):
    return save_pictures(load_report(folder, Choice(only=("comparison",))), folder)


def quality(folder):
    return comparison_tables(found(folder))[0]


ERRORS = {"single": [4, 5], "dropout": [3, 5], "dropout-mc": [3, 4], "bagging": [2, 4]}


def test_the_verdict_names_effect_interval_and_cost(tmp_path):
    compare(tmp_path, ERRORS)
    differ(
        tmp_path, {"bagging": (-0.4, -0.7, -0.1), "single": (0.5, 0.1, 0.9), "dropout-mc": (0.1, -1, 1)}, 2
    )
    effect, test, higher, neither = quality(tmp_path).verdict
    assert effect == (
        "Bagging of 3 lowers the error by 0.40 points [0.10, 0.70] against dropout (over 2 seeds), "
        "for 3.0× the training and 3.0× the inference."
    )
    assert "p < 0.05 in 1 of 2 seeds (p = 0.5, 0.01)" in test
    assert (
        higher == "Higher in error than dropout: a single net without dropout (+0.50 [+0.10, +0.90] points)."
    )
    assert neither.startswith("Not told apart from dropout: dropout with Monte-Carlo")


def test_what_is_not_told_apart_is_said_so_with_what_would_not_have_been_seen(tmp_path):
    compare(tmp_path, {"dropout": [3], "ensemble": [3]})
    differ(tmp_path, {"ensemble": (-0.1, -0.5, 0.3)}, 1, p="0.7")
    effect, test = quality(tmp_path).verdict
    assert effect.startswith(
        "An ensemble of 3 is not told apart from dropout in error (-0.10 [-0.50, +0.30] points, with "
    )
    assert "differences under 0.57 points would not have been seen" in effect, "0.4 × 2.80/1.96"
    assert test.endswith("seed 0: p = 0.7.")
    assert any("One seed" in note for note in quality(tmp_path).notes)


def test_without_its_differences_nothing_is_called_alike(tmp_path):
    """As where the command was cut off before it wrote them."""
    compare(tmp_path, {"dropout": [14, 13], "bagging": [3, 2], "single": [14, 14]})
    table = quality(tmp_path)
    by_arm = {row["arm"]: row for row in table.rows}
    assert by_arm["bagging"]["difference_to_dropout_error_percent"] == -11
    assert all(math.isnan(row["test_error_percent_low"]) for row in table.rows)
    for sentence in table.verdict:
        assert "told apart" not in sentence
        assert "run the command again" in sentence
    assert "11.00 points less error" in table.verdict[0]


def test_a_higher_error_is_a_higher_error(tmp_path):
    compare(tmp_path, {"dropout": [3, 3], "bagging": [4, 4]})
    differ(tmp_path, {"bagging": (1.0, 0.5, 1.5)}, 2)
    assert (
        quality(tmp_path).verdict[0].startswith("Bagging of 3 raises the error by 1.00 points [0.50, 1.50]")
    )


def test_differences_are_of_exactly_the_seeds_that_are_shown(tmp_path):
    compare(tmp_path, {"dropout": [3, 3], "bagging": [4, 4]})
    for seeds, mean in ((1, 5.0), (2, 1.0), (3, 9.0)):
        differ(tmp_path, {"bagging": (mean, 0.5, 9.5)}, seeds)
    assert found(tmp_path).difference("bagging").estimate.mean == 1


def test_an_arm_is_read_with_all_its_members_by_the_arithmetic_mean(tmp_path):
    compare(tmp_path, ERRORS)
    comparison = found(tmp_path)
    assert list(comparison.fullest("bagging")["test_error_percent"]) == [2, 4]
    assert list(comparison.fullest("dropout-mc")["passes_per_prediction"]) == [5, 5]
    assert comparison.seeds == 2
    members, passes = comparison_tables(comparison)[3:]
    assert [row["averaged"] for row in members.rows] == [1, 2, 3]
    assert [row["test_error_percent"] for row in members.rows] == pytest.approx([3.2, 3.1, 3])
    assert [row["geometric_test_error_percent"] for row in members.rows] == pytest.approx([4.2, 4.1, 4])
    assert [row["passes_per_prediction"] for row in passes.rows] == [1, 2, 5]
    assert passes.rows[-1]["difference_to_weight_scaling"] == pytest.approx(-0.5)
    assert passes.rows[-1]["difference_to_weight_scaling_lowest"] == pytest.approx(-1)


def test_what_is_left_out_is_said(tmp_path):
    compare(tmp_path, {"dropout": [3, 5], "bagging": [2, None]})
    table = quality(tmp_path)
    by_arm = {row["arm"]: row for row in table.rows}
    assert by_arm["bagging"]["seeds"] == 1
    assert any("Left out: bagging, seed 1: 1 of 3 runs" in note for note in table.notes)


def test_an_arm_that_was_not_scaled_in_a_seed_has_a_dash_and_a_note(tmp_path):
    compare(tmp_path, {"dropout": [3, 4], "single": [5, 6]})
    rows = read_table(tmp_path, COMPARISONS).assign(schema_version=SCHEMA_VERSION)
    unscaled = (rows["arm"] == "single") & (rows["seed"] == 1)
    gone = ["temperature", *(name for name in rows if name.endswith("_scaled"))]
    rows.loc[unscaled, gone] = math.nan
    (tmp_path / COMPARISONS.file_name).unlink()
    append_rows(tmp_path, COMPARISONS, rows.to_dict("records"))
    table = quality(tmp_path)
    column = next(column for column in table.columns if column.heading == "NLL scaled")
    assert [column.text(row) for row in table.rows] == ["–", "0.500"]
    assert [note for note in table.notes if note.startswith("Not scaled: single net")]


def test_nothing_but_losses_is_said_too(tmp_path):
    compare(tmp_path, {"dropout": [None], "bagging": [None]})
    table = quality(tmp_path)
    assert table.rows == ()
    assert "nothing to compare" in table.verdict[0]
    assert pictures(tmp_path) == []


def test_rows_of_an_older_dropbench_are_shown(tmp_path):
    compare(tmp_path, ERRORS, old=True)
    table = next(t for t in load_report(tmp_path).tables if t.kind == "comparison")
    by_arm = {row["arm"]: row for row in table.rows}
    assert {arm: row["averaged"] for arm, row in by_arm.items()} == {
        "single": 1, "dropout": 1, "dropout-mc": 1, "bagging": 3,
    }  # fmt: skip
    difference = by_arm["bagging"]["_difference"].estimate
    assert difference.mean == -1
    assert math.isnan(by_arm["bagging"]["train_flops"])


def test_every_picture_is_drawn_and_named(tmp_path):
    compare(tmp_path, ERRORS)
    paths = pictures(tmp_path)
    assert [path.name.split("-")[1] for path in paths] == ["members", "passes", "cost", "reliability"]
    assert all(path.read_bytes()[:4] == b"\x89PNG" for path in paths)


def test_one_member_has_no_picture_against_members(tmp_path):
    compare(tmp_path, {"dropout": [3], "bagging": [3]}, members=1)
    assert [path.name.split("-")[1] for path in pictures(tmp_path)] == [
        "cost",
        "reliability",
    ]


def test_the_pareto_front_has_what_no_other_beats():
    points = [(1, 5), (1, 4), (2, 4), (3, 2), (4, 3), (5, 1)]
    front = pareto_front(points)
    assert front == [(1, 4), (3, 2), (5, 1)]
    for point in points:
        beaten = any(a <= point[0] and b <= point[1] and (a, b) != point for a, b in points)
        assert (point in front) == (not beaten)


RMSE = {
    "single": [0.0412, 0.05],
    "dropout": [0.03, 0.05],
    "dropout-mc": [0.03, 0.04],
    "bagging": [0.02, 0.04],
}


def test_a_regression_is_told_in_rmse_with_the_digits_of_its_unit(tmp_path):
    compare(tmp_path, RMSE, task="regression")
    differ(
        tmp_path, {"bagging": (-0.004, -0.007, -0.001), "single": (0.01, -0.02, 0.03)}, 2, loss="rmse", p=""
    )
    table = quality(tmp_path)
    effect, neither, without = table.verdict
    assert effect == (
        "Bagging of 3 lowers the RMSE by 0.00400 [0.00100, 0.00700] against dropout (over 2 seeds), "
        "for 3.0× the training and 3.0× the inference."
    )
    assert (
        neither
        == "Not told apart from dropout: a single net without dropout (+0.01000 [-0.02000, +0.03000])."
    )
    assert "run the command again" in without
    headings = [column.heading for column in table.columns]
    assert headings[2:] == [
        "test RMSE [95 % bootstrap]", "paired difference to dropout [95 % bootstrap]", "P(arm better)",
        "NLL", "NLL scaled", "coverage error", "coverage error scaled",
    ]  # fmt: skip
    assert not any("McNemar" in sentence for sentence in (*table.notes, *table.verdict))
    assert any("no RMSE" in note for note in table.notes)


def test_the_squared_error_of_a_regression_is_its_members_less_their_spread(tmp_path):
    compare(tmp_path, RMSE, task="regression")
    members = comparison_tables(found(tmp_path))[1]
    texts = {column.heading: column for column in members.columns}
    row = {**members.rows[-1], "mean_member_squared_error": 0.5, "squared_error_ambiguity": 0.125}
    assert [texts[name].text(row) for name in ("member squared error", "= squared error")] == [
        "0.5000",
        "0.3750",
    ]
    rows = read_table(tmp_path, COMPARISONS).assign(mean_member_squared_error=1.25e-9)
    (tiny,) = find_comparisons(rows, *(read_table(tmp_path, table) for table in (DIFFERENCES, RELIABILITY)))
    squared = next(c for c in comparison_tables(tiny)[1].columns if c.heading == "member squared error")
    assert squared.text({**row, "mean_member_squared_error": 1.25e-9}) == "1.250e-09"
    assert "out-of-bag RMSE" in texts
    assert "disagreement %" not in texts


def test_the_pictures_of_a_regression_are_of_rmse_and_of_coverage(tmp_path):
    compare(tmp_path, RMSE, task="regression")
    figures = {figure.name: figure for figure in comparison_figures(found(tmp_path))}
    labels = [subplot.y.label for subplot in figures["bagging-members"].subplots]
    assert labels == ["test RMSE", "test NLL scaled, nats"]
    (subplot,) = figures["bagging-reliability"].subplots
    assert (subplot.x.label, subplot.y.label) == (
        "level of the central interval",
        "share of test targets in it",
    )
    assert subplot.remark.startswith("Coverage errors: single net")
    assert len(pictures(tmp_path)) == 4


def test_both_tasks_in_one_folder_are_two_comparisons(tmp_path):
    compare(tmp_path, ERRORS)
    rows = [
        {**_row("dropout", 0, "arithmetic", 1, 3.0, 1, MEMBERS, "regression"), "comparison_id": "other"},
    ]
    append_rows(tmp_path, COMPARISONS, rows)
    titles = [table.title for table in load_report(tmp_path).tables if table.kind == "comparison"]
    assert ["regression" in title for title in titles] == [False, True]


@pytest.mark.parametrize("width", [60, 80, 200])
def test_terminal_never_folds_a_cell_and_shows_every_one(tmp_path, width):
    compare(tmp_path, {"single": [4.5, 5], "dropout": [3, 5], "bagging": [2, 4]})
    differ(tmp_path, {"bagging": (-0.4, -0.7, -0.1)}, 2)
    for table in load_report(tmp_path).tables:
        console = Console(width=width, file=io.StringIO())
        show([table], console)
        shown = console.file.getvalue()
        assert max(map(len, shown.splitlines())) <= width
        for cells in table.texts():
            assert all(cell in shown for cell in cells)
        assert all(sentence.split()[0] in shown for sentence in table.verdict)


@pytest.mark.parametrize("ending", EXPORTERS)
def test_exports_have_the_verdict(tmp_path, ending):
    compare(tmp_path, ERRORS)
    differ(tmp_path, {"bagging": (-0.4, -0.7, -0.1)}, 2)
    export([quality(tmp_path)], tmp_path / f"t{ending}")
    assert ("lowers the error" in (tmp_path / f"t{ending}").read_text()) == (ending != ".csv")
