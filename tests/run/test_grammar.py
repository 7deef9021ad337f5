"""The languages of the flags."""

import re
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dropbench.errors import UsageError
from dropbench.run.grammar import (
    only,
    parse_bounds,
    parse_duration,
    parse_layer_lists,
    parse_layers,
    parse_penalties,
    parse_probabilities,
    parse_probability,
    parse_rates,
    parse_train_sizes,
)

hundredths = st.integers(0, 99).map(lambda n: Decimal(n) / 100)


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("0.1..0.8", (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8)),
        ("0..0.2:0.05", (0.0, 0.05, 0.1, 0.15, 0.2)),
        ("0,0.25,0.5", (0.0, 0.25, 0.5)),
        ("0.5,0..0.1, 0.1..0.3", (0.0, 0.1, 0.2, 0.3, 0.5)),
        ("0.3..0.3", (0.3,)),
        ("-0", (0.0,)),
        ("1e-3", (0.001,)),
    ],
)
def test_readable_examples(text, values):
    assert parse_probabilities(text) == values


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("55m", 3300),
        ("1h30m", 5400),
        ("1.5 H", 5400),
        ("90s", 90),
        ("2d", 172800),
        ("1:30:00", 5400),
        ("5:30", 330),
        ("2-12", 216000),
        ("1-0:30", 88200),
        ("1-02:03:04", 93784),
    ],
)
def test_times_are_read_with_their_units_and_as_slurm_writes_them(text, seconds):
    assert parse_duration(text) == seconds


@pytest.mark.parametrize("text", ["", "55", "0s", "0:00", "m", "30m1h", "-5m", "1:2:3:4", "1-", "5 minutes"])
def test_what_is_no_time_is_refused(text):
    with pytest.raises(UsageError, match="time_limit"):
        parse_duration(text)


@given(hundredths, st.integers(1, 20), st.integers(0, 30))
def test_range_has_both_ends_equal_steps_and_exact_decimals(first, hundredth_steps, count):
    step = Decimal(hundredth_steps) / 100
    last = first + count * step
    if last >= 1:
        return
    values = parse_probabilities(f"{first}..{last}:{step}")
    assert [Decimal(repr(value)) for value in values] == [first + k * step for k in range(count + 1)]


@given(st.lists(hundredths, min_size=1, max_size=12))
def test_list_is_sorted_and_has_each_value_once(values):
    parsed = parse_probabilities(",".join(map(str, values)))
    assert list(parsed) == sorted({float(value) for value in values})


@given(st.text(max_size=12))
def test_any_text_gives_probabilities_or_a_usage_error(text):
    try:
        values = parse_probabilities(text)
    except UsageError:
        return
    assert all(0 <= value < 1 for value in values)


@pytest.mark.parametrize(
    "text",
    [
        "1",
        "1.5",
        "-0.1",
        "0.8..0.1",
        "0.1..0.8:0",
        "0.1..0.8:-0.1",
        "half",
        "nan",
        "0.1..nan",
        "inf",
        "",
        "0.1..",
        "..",
        "0.1..0.85",
        "0.1..0.8:",
        "0..0.9:1e-9",
        "0..0.9:1e-999999",
        "0.9999999999999999999999",
    ],
)
def test_wrong_probabilities_are_refused(text):
    with pytest.raises(UsageError):
        parse_probabilities(text)


@pytest.mark.parametrize(("text", "point"), [("0,5", "0.5"), (" 0,05", "0.05"), ("0,25", "0.25")])
def test_a_decimal_comma_is_told_with_the_point_to_write(text, point):
    for parse in (parse_probabilities, parse_probability):
        with pytest.raises(UsageError, match=rf"comma.*Write {re.escape(point)}\."):
            parse(text)
    assert parse_probabilities("0,0.5") == (0, 0.5)


def test_other_values():
    assert parse_probability("0.5") == 0.5
    assert parse_layers("1024,1024,2048") == (1024, 1024, 2048)
    assert parse_layer_lists("800,800/1024") == ((800, 800), (1024,))
    assert parse_train_sizes("100,all,100") == (100, None)
    assert only([3], "--x") == 3
    for call in (
        lambda: parse_layers("10,x"),
        lambda: parse_layers("0"),
        lambda: parse_train_sizes("-5"),
        lambda: only([1, 2], "--x"),
        lambda: parse_probability("0.1,0.2"),
    ):
        with pytest.raises(UsageError):
            call()


def test_trials_are_numbers_in_the_order_given():
    assert parse_rates("0.05, 0.01,1e-3") == (0.05, 0.01, 0.001)
    assert parse_rates("0.1") == (0.1,)
    assert parse_penalties("0,1e-4") == (0.0, 1e-4)
    assert parse_bounds("None,3,2.5") == (None, 3.0, 2.5)


@pytest.mark.parametrize("parse", [parse_rates, parse_penalties, parse_bounds])
@pytest.mark.parametrize(
    "text", ["0.01,abc", "0.01,,0.02", "0.01,", "", " ", "0.02,0.020", "nan", "0.1,inf", "-1", "0.1..0.3"]
)
def test_wrong_trials_are_refused(parse, text):
    with pytest.raises(UsageError, match="`some`"):
        parse(text, "some")


@pytest.mark.parametrize("parse", [parse_rates, parse_bounds])
def test_zero_is_no_rate_and_no_bound(parse):
    for text in ("0", "-0", "1e-999", "0.1,0"):
        with pytest.raises(UsageError, match="above 0"):
            parse(text)


def test_none_is_a_bound_alone():
    for parse in (parse_rates, parse_penalties):
        with pytest.raises(UsageError, match="no number"):
            parse("none")
