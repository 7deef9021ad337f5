"""Finds as tables, pictures, exports, commands and a section of the report."""

import csv
import io
import json
import math
import shlex

import pytest
from report.finds import (
    BESIDE_TEST,
    DECIDED,
    ENSEMBLE,
    OPEN,
    RATES,
    SECONDS,
    at,
    find_of,
    row_of,
    write_find,
)

from dropbench.errors import DropbenchError
from dropbench.report.find.answer import answer
from dropbench.report.find.figures import find_figures
from dropbench.report.find.find import make_find
from dropbench.report.find.forecast import forecast
from dropbench.report.find.subject import FindSubject
from dropbench.report.find.table import find_table, live_table
from dropbench.report.find.words import look_line, sentences
from dropbench.report.folder import Choice, find_report, load_report
from dropbench.report.page.build import render
from dropbench.report.render import picture
from dropbench.report.render.chart import chart_json
from dropbench.report.render.export import EXPORTERS
from dropbench.report.render.terminal import as_text
from dropbench.results.csv_file import append_rows
from dropbench.results.schema import FINDS

NAN = math.nan


def test_seconds_that_nobody_knows_are_left_out():
    rows = [row_of(told, place, seed, val, False) for place, (told, vals) in enumerate(OPEN)
            for seed, val in enumerate(vals)]  # fmt: skip
    find = make_find(rows, {})
    assert math.isnan(forecast(find).seconds)
    assert "nan" not in " ".join([*sentences(find), *find_table(find).notes, look_line(find)])
    assert answer(find)["seconds"] is None
    x_axis = find_figures(find)[0].subplots[0].x
    assert x_axis.label == "seeds"


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


@pytest.mark.parametrize("damage", [{"metric": "f1"}, {"arm": "forest"}, {"within": -1.0}])
def test_rows_that_mean_nothing_are_left_out_and_told(tmp_path, damage, told):
    write_find(tmp_path, DECIDED)
    before = load_report(tmp_path, Choice(only=("find",))).tables[0].texts()
    append_rows(tmp_path, FINDS, [row_of({"p_drop": 0.4}, 7, 0, 2.0, False, row_id="bad", **damage)])
    assert load_report(tmp_path, Choice(only=("find",))).tables[0].texts() == before
    assert next(iter(damage)) in " ".join(told)


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
