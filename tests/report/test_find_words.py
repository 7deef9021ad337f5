"""What is said of a race, in sentences, lines, flags and the answer for scripts."""

import json
import math
import shlex

import pytest
from report.finds import BESIDE_TEST, DECIDED, ENSEMBLE, OPEN, RATES, SECONDS, at, configs_of, find_of, row_of

from dropbench.report.find.answer import answer
from dropbench.report.find.command import flags
from dropbench.report.find.figures import find_figures
from dropbench.report.find.find import make_find
from dropbench.report.find.forecast import forecast
from dropbench.report.find.table import find_table
from dropbench.report.find.words import look_line, sentences

NAN = math.nan


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
    ends = [s for s in sentences(find_of(RATES)) if "lie beyond" in s]
    assert len(ends) == 1
    assert "0.2" in ends[0]
    assert "learning rate" in ends[0]
    first = find_of([({"p_drop": p}, at(mean, 4)) for p, mean in ((0.0, 1.0), (0.3, 2.0), (0.5, 3.0))])
    assert not [s for s in sentences(first) if "lie beyond" in s], "nothing is below 0"


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
    find = find_of([(DECIDED[0][0], [2.5, 1.9, 2.2, 2.0]), (DECIDED[1][0], [2.0, 2.1, 1.8, NAN])])
    assert find.best is find.entrants[0]
    assert find.state(find.entrants[1]) == "no result"
    find = find_of([({"p_drop": p}, [NAN]) for p in (0.1, 0.2)])
    assert find.best is None
    assert sentences(find)
    assert find_table(find).rows
    assert answer(find)["best"] is None
    assert look_line(find)


def test_before_all_have_a_seed_there_is_nothing_to_compare():
    rows = [row_of({"p_drop": p}, place, place, 2.0, False) for place, p in enumerate((0.0, 0.5))]
    find = make_find(rows, {})
    assert find.best is None
    (only,) = sentences(find)
    assert "p_drop 0.5" in only
    assert "No run gave" not in only + look_line(find)
    assert find_table(find).rows


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


def test_runs_that_entrants_share_are_counted_once():
    shared = [
        ({"p_drop": 0.5}, at(2.0, 4)),
        ({"p_drop": 0.5, "arm": "dropout-mc", "members": 20}, at(1.9, 4)),
    ]
    find = find_of(shared)
    assert find.run_ids == {config.run_id for seed in range(4) for config in configs_of(shared[0][0], seed)}
    assert answer(find)["runs"] == 4
    assert find.spent(3) == 4 * SECONDS
