"""Finds in a report: what is said, shown and exported of a race, against the figures it is made from."""

import csv
import io
import json
import math
import shlex

import pytest
from report.finds import BESIDE_TEST, SECONDS, configs_of, find_of, raced, row_of, write_find

from dropbench.errors import DropbenchError
from dropbench.report.find.answer import answer
from dropbench.report.find.figures import find_figures
from dropbench.report.find.find import make_find
from dropbench.report.find.forecast import forecast
from dropbench.report.find.subject import FindSubject
from dropbench.report.find.table import find_table, live_table
from dropbench.report.find.words import flags, look_line, sentences
from dropbench.report.folder import Choice, find_report, load_report
from dropbench.report.page.build import render
from dropbench.report.render import picture
from dropbench.report.render.chart import chart_json
from dropbench.report.render.export import EXPORTERS
from dropbench.report.render.terminal import as_text

NAN = math.nan


def at(mean, seeds, spread=0.02):
    """Figures of a setting by seed, which go up and down in a way of their own by ``spread``."""
    ways = (1, -1, 0.5, -0.5, 0, 1, -1, 0.5, -0.5, 0, 1, -1)
    turn = round(mean * 7) % len(ways)
    return [mean + spread * way for way in (*ways[turn:], *ways[:turn])[:seeds]]


DECIDED = raced(
    [({"p_drop": p}, at(mean, 9)) for p, mean in ((0.0, 3.0), (0.3, 1.88), (0.5, 1.90), (0.8, 4.9))]
)
OPEN = [({"p_drop": p}, at(mean, 4, 0.3)) for p, mean in ((0.2, 1.88), (0.3, 1.95), (0.4, 1.7))]
ENSEMBLE = raced(
    [
        ({"p_drop": 0.0}, at(3.0, 9)),
        ({"p_drop": 0.5}, at(2.2, 9)),
        ({"p_drop": 0.0, "arm": "ensemble", "members": 5}, at(1.5, 9)),
        ({"p_drop": 0.5, "arm": "dropout-mc", "members": 20}, at(2.1, 9)),
    ]
)
RATES = raced(
    [
        ({"p_drop": p, "learning_rate": rate}, at(mean, 9))
        for p, rate, mean in ((0.0, 0.1, 3.0), (0.3, 0.1, 2.0), (0.3, 0.2, 1.8), (0.5, 0.2, 2.4))
    ]
)


def by_label(find):
    return {find.label(each): each for each in find.entrants}


def test_the_fixtures_are_what_they_are_named():
    assert find_of(DECIDED).race.decided
    assert not find_of(OPEN).race.decided
    assert find_of(ENSEMBLE).best.arm == "ensemble"


def test_the_first_sentence_is_to_act_on_and_has_both_errors_with_the_interval():
    find = find_of(DECIDED, tested=(1, 2))
    first = sentences(find)[0]
    test = find.test(find.best)
    assert first.startswith("Use p_drop 0.3:")
    for value in (find.mean(find.best), test.mean, test.low, test.high):
        assert f"{value:.2f}" in first
    assert test.mean == pytest.approx(find.mean(find.best) + BESIDE_TEST)
    assert "test" not in sentences(find_of(DECIDED))[0].replace("not tested", "")


def test_every_setting_stands_in_a_sentence_of_its_state():
    find = find_of(DECIDED)
    said = sentences(find)
    for each in find.entrants:
        if each is not find.best:
            (sentence,) = [s for s in said if f"{find.label(each)} (" in s]
            assert find.difference(each).text(2, signed=True) in sentence
    assert any(s.startswith("Decided") for s in said)
    assert not any(s.startswith("Not decided") for s in said)


def test_what_is_open_is_named_with_what_would_decide_it():
    find = find_of(OPEN)
    said = " ".join(sentences(find))
    assert "Not decided" in said
    assert "Decided:" not in said
    more = forecast(find)
    assert more is not None
    assert more.seeds > 0
    assert more.seconds == pytest.approx(SECONDS * more.runs)
    assert f"{more.seeds} seed" in said
    for each in find.having("open"):
        assert find.gain(each) > find.margin
        assert f"{find.label(each)} (by up to {find.gain(each):.2f}" in said


def test_as_many_seeds_as_are_forecast_decide_a_race_whose_seeds_go_on_like_the_first():
    find = find_of(OPEN)
    seeds = find.race.seeds + forecast(find).seeds
    again = find_of([(told, (vals * seeds)[:seeds]) for told, vals in OPEN])
    assert again.race.decided
    few = find.race.seeds + forecast(find).seeds // 3
    assert not find_of([(told, (vals * few)[:few]) for told, vals in OPEN]).race.decided


def test_seconds_that_nobody_knows_are_left_out():
    rows = [row_of(told, place, seed, val, False) for place, (told, vals) in enumerate(OPEN)
            for seed, val in enumerate(vals)]  # fmt: skip
    find = make_find(rows, {})
    assert math.isnan(forecast(find).seconds)
    assert "nan" not in " ".join([*sentences(find), *find_table(find).notes, look_line(find)])
    assert answer(find)["seconds"] is None
    x_axis = find_figures(find)[0].subplots[0].x
    assert x_axis.label == "seeds"


def test_before_the_first_look_nothing_is_said_to_be_told():
    find = find_of([(told, vals[:2]) for told, vals in DECIDED])
    assert {find.state(each) for each in find.entrants} == {"best", "open"}
    assert "Not decided" in " ".join(sentences(find))
    assert find_figures(find) == ()
    assert find_table(find).rows
    assert "2 seeds" in look_line(find)


def test_an_ensemble_says_what_it_costs_beside_the_best_single_net():
    find = find_of(ENSEMBLE, tested=(2,))
    (price,) = [s for s in sentences(find) if "×" in s]
    assert "5× the training" in price
    assert "5 forward passes" in price
    assert "p_drop 0.5" in price, "the best of one net"
    assert find.difference(by_label(find)["p_drop 0.5"]).text(2, signed=True) in price


def test_what_is_as_good_for_less_is_named():
    cheap = [
        ({"p_drop": 0.5}, at(1.51, 8, 0.001)),
        ({"p_drop": 0.0, "arm": "ensemble", "members": 5}, at(1.5, 8, 0.001)),
    ]
    find = find_of(cheap)
    assert find.state(find.entrants[0]) == "as good"
    assert any("for less" in s and "p_drop 0.5" in s and "0.2×" in s for s in sentences(find))


def test_the_end_of_a_list_is_named_and_the_end_of_what_there_is_not():
    ends = [s for s in sentences(find_of(RATES)) if "beyond" in s]
    assert len(ends) == 1
    assert "0.2" in ends[0]
    assert "learning rate" in ends[0]
    first = find_of([({"p_drop": p}, at(mean, 4)) for p, mean in ((0.0, 1.0), (0.3, 2.0), (0.5, 3.0))])
    assert not [s for s in sentences(first) if "beyond" in s], "nothing is below 0"


def test_few_validation_examples_are_said_to_be_few():
    assert not [s for s in sentences(find_of(DECIDED)) if "validation examples" in s]
    assert [s for s in sentences(find_of(DECIDED, validation_images=100.0)) if "validation examples" in s]


def test_a_setting_that_diverged_is_named_with_the_reason_and_the_others_go_on():
    lost = [*DECIDED, ({"p_drop": 0.9}, [1.0, NAN])]
    find = find_of(lost)
    assert find.state(find.entrants[-1]) == "no result"
    assert find.left_out(find.entrants[-1]) == 1
    said = " ".join(sentences(find))
    assert "p_drop 0.9 (seed 1 diverged" in said
    assert find.label(find.best) == "p_drop 0.3"


def test_examples_are_counted_in_rows_with_a_figure_alone():
    find = find_of([*DECIDED[:2], ({"p_drop": 0.9}, [1.0, 1.0, 1.0, 1.0, NAN])])
    assert find.validation_examples == 5_000


def test_where_the_best_is_lost_another_one_is_the_best():
    find = find_of([(DECIDED[0][0], at(3.0, 4)), (DECIDED[1][0], [*at(1.88, 3), NAN])])
    assert find.best is find.entrants[0]
    assert find.state(find.entrants[1]) == "no result"
    find = find_of([({"p_drop": p}, [NAN]) for p in (0.1, 0.2)])
    assert find.best is None
    assert sentences(find)
    assert find_table(find).rows
    assert answer(find)["best"] is None
    assert look_line(find)


def test_where_only_one_is_left_it_is_compared_with_nothing():
    find = find_of([(DECIDED[0][0], [3.0]), (DECIDED[1][0], [NAN])])
    assert find.race.decided
    assert not any("better by more" in s for s in sentences(find))


def test_a_line_after_a_look_names_the_best_what_is_open_and_what_was_left_out():
    find = find_of(OPEN)
    line = look_line(find)
    assert "\n" not in line
    assert line.startswith(f"{find.race.seeds} seeds: best is {find.label(find.best)}")
    assert "Open: p_drop 0." in line
    early = find_of([(told, vals[:3]) for told, vals in DECIDED])
    assert "p_drop 0 (" in look_line(early)


@pytest.mark.parametrize("entrants", [DECIDED, OPEN, RATES, ENSEMBLE])
def test_the_flags_are_those_of_what_varies_and_make_the_same_settings(entrants):
    from dropbench.run.config import find_setting

    find = find_of(entrants)
    for each in find.entrants:
        words = shlex.split(flags(find, each))
        if each.arm:
            assert words[:3] == ["compare-bagging", "--arms", each.arm]
            assert str(each.members) in words
            continue
        assert words[0] == "--p"
        told = dict(zip(words[::2], words[1::2], strict=True))
        for flag, text in told.items():
            setting = find_setting(flag.removeprefix("--").replace("-", "_"))
            assert float(text) == each.settings[setting.name]
        assert len(told) == len(find.varying)


def test_the_command_has_every_candidate_and_what_was_not_as_usual():
    words = shlex.split(FindSubject(find_of(ENSEMBLE, within=0.3, within_share=0.0)).commands[0])
    assert words[:2] == ["dropbench", "find"]
    told = dict(zip(words[2::2], words[3::2], strict=True))
    assert told["--p"] == "0.5", "the net without dropout is the baseline"
    assert told["--candidates"] == "ensemble:5,dropout-mc:20"
    assert told["--within"] == "0.3"
    assert told["--budget"] == "10m"
    assert told["--data"] == "mnist5k"
    without = FindSubject(find_of(OPEN)).commands[0]
    assert "--no-baseline" in without
    assert "--within" not in without
    (rates,) = FindSubject(find_of(RATES, within=0.0, within_share=0.05)).commands
    assert "--learning-rate 0.1,0.2" in rates
    assert "--within 5%" in rates


def test_rows_are_numbers_under_names_in_the_order_of_the_race():
    find = find_of(ENSEMBLE, tested=(2,))
    table = find_table(find)
    rows = table.numbers()
    assert [row["rank"] for row in rows] == [1, 2, 3, 4]
    assert rows[0]["arm"] == "ensemble"
    assert rows[0]["training_times"] == 5
    assert rows[0]["passes_per_prediction"] == 5
    assert rows[0]["test_error_percent"] == pytest.approx(rows[0]["val_error_percent"] + BESIDE_TEST)
    assert all(math.isnan(row["test_error_percent"]) for row in rows[1:])
    assert math.isnan(rows[0]["left_out_after"])
    assert all({*row} == {*rows[0]} for row in rows)
    assert all(isinstance(cell, int | float | str) for row in rows for cell in row.values())
    assert "run" not in " ".join(rows[0])


def test_the_live_table_has_what_is_trained_on_first_and_fits_80_columns():
    find = find_of([*OPEN, ({"p_drop": 0.8}, at(9.0, 3))])
    table = live_table(find)
    assert [row["state"] in ("best", "open") for row in table.rows] == sorted(
        (row["state"] in ("best", "open") for row in table.rows), reverse=True
    )
    lines = as_text([table]).splitlines()
    assert sum("p_drop 0.8" in line for line in lines) == 1, "not folded"


@pytest.mark.parametrize("entrants", [DECIDED, OPEN, ENSEMBLE])
def test_figures_have_every_setting_and_are_drawn(entrants):
    find = find_of(entrants, tested=(0,))
    race, standing = find_figures(find)
    (plot,) = race.subplots
    names = {*plot.names}
    assert {find.label(each) for each in find.entrants if each is not find.best} <= names
    (level,) = plot.levels
    assert (level.low, level.high) == (-find.margin, find.margin)
    for each in find.entrants:
        if each is not find.best:
            (end,) = [s for s in plot.series if s.companion_of == find.label(each)]
            assert end.y[-1] == pytest.approx(find.difference(each).mean)
            last = find.race.last_look(each.place)
            assert end.x[0] <= find.spent(last.seeds - 1) / 60 + 1e-3
    told = standing.subplots[0].y.categories
    assert {*told} <= {find.label(each) for each in find.entrants}
    for figure in (race, standing):
        assert picture.render(figure, "svg")
        assert figure.alt
        for subplot in figure.subplots:
            json.loads(chart_json(subplot))


def test_a_terrible_setting_flattens_no_picture_and_is_named():
    find = find_of([*OPEN, ({"p_drop": 0.9}, at(88.0, 3))])
    for figure in find_figures(find):
        assert "p_drop 0.9 +8" in figure.title
        assert "p_drop 0.9 +8" in figure.alt
    race, standing = find_figures(find)
    assert race.subplots[0].y.span[1] < 10
    assert max(standing.subplots[0].xs) < 10


def test_the_answer_is_what_json_holds():
    found = answer(find_of(RATES, tested=(2,)))
    assert json.loads(json.dumps(found, allow_nan=False)) == found
    assert found["decided"] is True
    assert found["best"]["p_drop"] == 0.3
    assert found["best"]["learning_rate"] == 0.2
    assert found["best"]["arm"] is None
    assert found["flags"] == "--p 0.3 --learning-rate 0.2"
    assert found["test"]["low"] < found["test"]["mean"] < found["test"]["high"]
    assert found["states"]["p_drop 0.3, learning rate 0.2"] == "best"
    assert len(found["states"]) == len(RATES)
    assert found["runs"] == sum(len(figures) for _, figures in RATES)
    assert found["seconds"] == found["runs"] * SECONDS
    assert answer(find_of(OPEN))["decided"] is False
    assert answer(find_of(OPEN))["test"]["mean"] is None


def test_a_folder_with_a_find_shows_it_before_the_sweep_of_its_runs(tmp_path):
    write_find(tmp_path, DECIDED, tested=(1, 2))
    report = load_report(tmp_path)
    assert [subject.kind for subject in report.subjects] == ["find", "sweep"]
    find, sweep = report.subjects
    assert find.run_ids == sweep.run_ids
    assert find.find.spent(0) == 4 * SECONDS
    assert any("find" in note for note in sweep.tables[0].notes)
    (only,) = load_report(tmp_path, Choice(only=("find",))).subjects
    assert only.title == find.title
    assert find_report(tmp_path, "f1").subjects[0].title == find.title
    with pytest.raises(DropbenchError):
        find_report(tmp_path, "another")


def test_a_sweep_whose_runs_no_find_had_says_nothing_of_it(tmp_path):
    write_find(tmp_path / "with", DECIDED)
    write_find(tmp_path / "without", DECIDED)
    (tmp_path / "without" / "finds.csv").unlink()
    of_find, alone = (
        load_report(tmp_path / name, Choice(only=("sweep",))).tables[0] for name in ("with", "without")
    )
    assert [note for note in of_find.notes if note not in alone.notes] != []
    assert of_find.texts() == alone.texts()


def test_two_finds_of_one_title_are_told_apart(tmp_path):
    write_find(tmp_path, DECIDED)
    write_find(tmp_path, OPEN, find_id="f2")
    titles = [subject.title for subject in load_report(tmp_path, Choice(only=("find",))).subjects]
    assert len({*titles}) == 2


@pytest.mark.parametrize("form", EXPORTERS)
def test_a_find_is_exported_in_every_form(tmp_path, form):
    write_find(tmp_path, ENSEMBLE, tested=(2,))
    tables = load_report(tmp_path, Choice(only=("find",))).tables
    text = EXPORTERS[form](tables)
    if form == ".csv":
        rows = list(csv.DictReader(io.StringIO(text)))
        assert rows[0]["state"] == "best"
        assert float(rows[0]["difference_to_best"]) == 0
    elif form == ".json":
        (table,) = json.loads(text)["tables"]
        assert table["kind"] == "find"
        assert table["rows"][1]["test_error_percent"] is None
    assert "best" in text


def test_the_page_has_the_section_and_escapes_what_is_hostile(tmp_path):
    hostile = "<script>alert(1)</script>"
    lost = [*DECIDED, ({"p_drop": 0.9}, [NAN])]
    write_find(tmp_path, lost, tested=(1, 2), in_code=f"nn.Dropout(0.3) {hostile}", message=hostile)
    page = render(load_report(tmp_path, Choice(only=("find",))))
    assert "nn.Dropout(0.3)" in page
    assert "--p 0.3" in page
    assert "dropbench find" in page
    assert hostile not in page
    assert "&lt;script&gt;alert(1)" in page


def test_runs_that_entrants_share_are_counted_once():
    shared = [
        ({"p_drop": 0.5}, at(2.0, 4)),
        ({"p_drop": 0.5, "arm": "dropout-mc", "members": 20}, at(1.9, 4)),
    ]
    find = find_of(shared)
    assert find.run_ids == {config.run_id for seed in range(4) for config in configs_of(shared[0][0], seed)}
    assert answer(find)["runs"] == 4
    assert find.spent(3) == 4 * SECONDS
