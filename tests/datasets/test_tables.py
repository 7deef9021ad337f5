"""Tables: their files, what is taken of them, how they are encoded, and what is said of wrong ones."""

import contextlib
import json
import pickle
import sys
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sklearn.compose import ColumnTransformer
from sklearn.impute import MissingIndicator, SimpleImputer
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from dropbench.datasets import cache, memory
from dropbench.datasets.column import MOST_FEATURES, Column
from dropbench.datasets.encoding import TableEncoder
from dropbench.datasets.ood import ood_images, with_columns_of
from dropbench.datasets.options import SourceOptions
from dropbench.datasets.registry import prepare
from dropbench.datasets.repeated import repeated_test_images, warn_of_repeated_images
from dropbench.datasets.tables.cells import MOST_CATEGORIES, tells_rows_apart
from dropbench.datasets.tables.table import table_of
from dropbench.errors import DropbenchError, UsageError

ROWS = 80


@pytest.fixture
def frame() -> pd.DataFrame:
    """Numbers with gaps, words with gaps, truths, a target of two words and one of numbers."""
    generator = np.random.default_rng(0)
    frame = pd.DataFrame(
        {
            "size": generator.normal(size=ROWS).round(3),
            "count": generator.integers(0, 5, ROWS),
            "colour": generator.choice(["red", "green", "blue"], ROWS),
            "wild": generator.random(ROWS) < 0.5,
            "kind": np.where(np.arange(ROWS) % 3 == 0, "cat", "dog"),
            "weight": generator.normal(70, 10, ROWS).round(2),
        }
    )
    frame.loc[::10, "size"] = np.nan
    frame.loc[::20, "colour"] = None
    return frame


KIND = SourceOptions(target="kind")
WEIGHT = SourceOptions(target="weight", task="regression")


def of(frame, test=None, validation=None, options=KIND):
    made = table_of("t", frame, test, validation, options)
    made.check()
    return made


def refusal(*arguments, **more) -> str:
    with pytest.raises(DropbenchError) as caught:
        of(*arguments, **more)
    assert "\n" not in str(caught.value)
    return str(caught.value)


# What is taken of a table


def test_numbers_stay_and_words_and_truths_are_sorted_categories(frame):
    data = of(frame, test=frame)
    kinds = [(column.name, column.categories, column.missing) for column in data.columns]
    assert kinds == [
        ("size", (), True),
        ("count", (), False),
        ("colour", ("blue", "green", "red"), True),
        ("wild", ("False", "True"), False),
        ("weight", (), False),
    ]
    np.testing.assert_array_equal(data.train_inputs[:, 0], frame["size"])
    colours = [np.nan if pd.isna(word) else ("blue", "green", "red").index(word) for word in frame["colour"]]
    np.testing.assert_array_equal(data.train_inputs[:, 2], colours)
    assert data.classes == ("cat", "dog")
    assert data.train_targets.tolist() == [0 if word == "cat" else 1 for word in frame["kind"]]
    assert data.input_shape == (2 + 1 + 4 + 2 + 1,)


def test_a_regression_has_the_numbers_themselves(frame):
    data = of(frame, test=frame, options=WEIGHT)
    assert (data.task, data.classes, data.outputs) == ("regression", (), 1)
    np.testing.assert_array_equal(data.train_targets, frame["weight"].astype(np.float32))
    assert "kind" in {column.name for column in data.columns}


@pytest.mark.parametrize(
    ("values", "classes"),
    [
        ([10, 2, 7], ("2", "7", "10")),
        ([0.5, 2.0, -1.0], ("-1", "0.5", "2")),
        (["b", "a", "c"], ("a", "b", "c")),
        ([True, False, True], ("False", "True")),
    ],
)
def test_classes_are_the_sorted_values_whatever_they_are(frame, values, classes):
    frame["kind"] = (values * ROWS)[:ROWS]
    data = of(frame, test=frame)
    assert data.classes == classes
    names = [str(int(v)) if isinstance(v, float) and v.is_integer() else str(v) for v in frame["kind"]]
    assert [classes[label] for label in data.train_targets] == names


def test_a_table_that_was_copied_is_not_told_under_its_old_name(frame, tmp_path, caplog):
    for folder in ("old", "new"):
        (tmp_path / folder).mkdir()
        frame.to_csv(tmp_path / folder / "table.csv", index=False)
        caplog.clear()
        prepare(f"csv:{tmp_path}/{folder}/table.csv", options=KIND)
        assert caplog.messages
    assert not any(f"{tmp_path}/old" in sentence for sentence in caplog.messages)


def test_a_table_is_kept_whole_on_another_machine(frame, tmp_path, monkeypatch):
    here = cache.save(of(frame[:50], frame[65:], frame[50:65]))
    sent = pickle.loads(pickle.dumps(here))  # noqa: S301
    monkeypatch.setenv("DROPBENCH_CACHE_DIR", str(tmp_path))
    cache.keep(sent)
    there = cache.load(here.key)
    for name in ("columns", "validation", "classes", "notes", "task", "input_shape"):
        assert getattr(there, name) == getattr(here, name), name
    assert there.digest() == here.key


def test_rows_held_out_are_a_stratified_fifth_the_same_each_time_and_told(frame):
    data, again = of(frame), of(frame)
    assert data.digest() == again.digest()
    assert (len(data.train_targets), len(data.test_targets)) == (64, 16)
    assert abs(np.mean(data.test_targets) - np.mean(frame["kind"] == "dog")) < 1 / 16
    assert any("16 of the 80 rows" in note for note in data.notes)
    assert not any("test split" in note for note in of(frame, test=frame).notes)
    assert len(of(frame, options=replace(KIND, test_share=0.5)).test_targets) == 40


def test_a_validation_split_is_the_last_training_rows(frame):
    data = of(frame[:50], test=frame[70:], validation=frame[50:70])
    assert data.validation == 20
    np.testing.assert_array_equal(data.train_inputs[:, 4], frame["weight"][:70])


def test_rows_without_a_target_are_left_out_and_counted(frame):
    frame.loc[[3, 5], "kind"] = None
    data = of(frame, test=frame)
    assert len(data.train_targets) == ROWS - 2
    assert any("4 rows without a 'kind'" in note for note in data.notes)


def test_columns_that_tell_nothing_are_left_out_and_named(frame):
    frame.insert(0, "row", np.arange(1, ROWS + 1))
    frame["name"] = [f"n{number}" for number in range(ROWS)]
    frame["same"] = "x"
    frame["empty"] = np.nan
    data = of(frame, test=frame)
    assert len(data.columns) == 5
    apart, constant = (note for note in data.notes if note.startswith("Left out"))
    assert "'row', 'name'" in apart
    assert "'same', 'empty'" in constant


@pytest.mark.parametrize(
    ("cells", "apart"),
    [
        (range(30), True),
        (range(1, 31), True),
        (range(30, 0, -1), True),
        ([2, 1, 3, 5, 4], False),
        (range(2, 32), False),
        ([*range(29), 7], False),
        (np.arange(30.0) / 2, False),
        ([f"n{n}" for n in range(30)], True),
        ([f"n{n % 15}" for n in range(30)], False),
        ([f"n{n}" for n in range(10)], False),
        ([f"n{n % (MOST_CATEGORIES + 1)}" for n in range(5000)], True),
        ([f"n{n % MOST_CATEGORIES}" for n in range(5000)], False),
    ],
)
def test_names_and_numbers_of_rows(cells, apart):
    assert tells_rows_apart(pd.Series(list(cells))) is apart


def test_missing_cells_are_counted_by_column(frame):
    (note,) = (note for note in of(frame, test=frame).notes if "missing" in note)
    assert "24 cells" in note
    assert "'size' (16), 'colour' (8)" in note


def test_a_column_that_few_words_keep_from_being_numbers_is_told(frame):
    frame["count"] = frame["count"].astype(object)
    frame.loc[4, "count"] = "many"
    assert any("'count' is text" in note and "'many'" in note for note in of(frame).notes)


@pytest.mark.parametrize("cell", ["1,234", "1.234,5", "12 %", "$3", "0,5", "1 234"])
def test_numbers_with_marks_and_units_are_told(frame, cell):
    frame["price"] = [cell if place % 3 else str(place) for place in range(ROWS)]
    assert [
        f"'price' is text, since its numbers are written like {cell!r}" in note for note in of(frame).notes
    ].count(True) == 1


@pytest.mark.parametrize("cell", ["1.2.2020", "2020-01", "a 1", "1,2,3", "12"])
def test_other_text_is_no_number_with_marks(frame, cell):
    frame["price"] = [cell if place % 3 else "x" for place in range(ROWS)]
    assert not any("are written like" in note for note in of(frame).notes)


def test_many_distinct_numbers_as_classes_are_told(frame):
    frame["kind"] = np.arange(ROWS) % 21
    assert any("21 distinct numbers" in note and "`task=regression`" in note for note in of(frame).notes)
    frame["kind"] = np.arange(ROWS) % 20
    assert not any("distinct" in note for note in of(frame).notes)


def test_test_rows_decide_nothing(frame):
    """Not the columns, their categories or flags, nor how any training row is encoded."""
    train, test = frame[:60], frame[60:].copy()
    before = of(train, test=test)
    test["size"], test["weight"] = 1e6, np.nan
    test["colour"] = "violet"
    after = of(train, test=test)
    assert after.columns == before.columns
    np.testing.assert_array_equal(after.train_inputs, before.train_inputs)
    encoder = TableEncoder.fitted(after.columns, after.train_inputs)
    rows = encoder.encode(after.test_inputs)
    assert not rows[:, 3:6].any(), "a colour that is not known is none of the known ones"
    assert np.isfinite(rows).all()


# Encoding

COLUMNS = (Column("a", missing=True), Column("b", ("x", "y", "z")), Column("c"))


def encoded(train: list, rows: list) -> np.ndarray:
    found = TableEncoder.fitted(COLUMNS, np.array(train, dtype=float)).encode(np.array(rows, dtype=float))
    assert found.dtype == np.float32
    return found


def test_encoding_is_median_mean_deviation_one_hot_and_flag():
    nan = np.nan
    train = [[1, 0, 5], [nan, 1, 5], [4, 0, 5], [10, 1, 5]]
    filled = np.array([1, 4, 4, 10])
    rows = [[7, 1, 9], [nan, 0, 5], [nan, 2, 5], [1, 3, 5], [1, nan, 5]]
    values = (np.array([7, 4, 4, 1, 1]) - filled.mean()) / filled.std()
    expected = np.zeros((5, 6))
    expected[:, 0] = values  # numbers come first: a and c, then x, y and z, then the flag of a
    expected[0, 3] = expected[1, 2] = 1  # z has no row, so it is as one not known and as a missing one: none
    expected[1, 5] = expected[2, 5] = 1  # a is missing
    np.testing.assert_allclose(encoded(train, rows), expected, atol=1e-6)


def test_encoding_is_that_of_scikit_learn_and_so_is_one_that_was_kept():
    generator = np.random.default_rng(0)
    columns = (*COLUMNS, Column("d", ("u", "v"), missing=True), Column("e", missing=True))
    rows = np.stack(
        [
            generator.normal(3, 20, 50),
            generator.integers(0, 4, 50),  # with some of no known category
            generator.normal(size=50) * 1e-3,
            generator.integers(0, 2, 50),
            np.full(50, np.nan),
        ],
        axis=1,
    )
    rows[::7, 0] = rows[::5, 3] = np.nan
    expected = ColumnTransformer(
        [
            (
                "numbers",
                make_pipeline(SimpleImputer(strategy="median", keep_empty_features=True), StandardScaler()),
                [0, 2, 4],
            ),
            (
                "categories",
                OneHotEncoder(
                    categories=[[0.0, 1.0, 2.0], [0.0, 1.0]], handle_unknown="ignore", sparse_output=False
                ),
                [1, 3],
            ),
            ("missing", MissingIndicator(features="all"), [0, 3, 4]),
        ]
    ).fit_transform(rows)
    expected[:, np.ptp(expected, axis=0) == 0] = 0
    encoder = TableEncoder.fitted(columns, rows)
    assert np.array_equal(encoder.encode(rows), expected.astype(np.float32))
    kept = TableEncoder.of_stored(columns, json.loads(json.dumps(encoder.stored())))
    assert np.array_equal(kept.encode(2 * rows), encoder.encode(2 * rows))


def test_what_is_constant_in_the_rows_it_was_fitted_on_is_0_everywhere():
    train = [[1, 0, 5], [2, 0, 5]]
    assert encoded(train, [[1.5, 1, 99], [1.5, 0, 5]]).tolist() == [[0] * 6] * 2


def test_a_cell_far_from_all_others_is_finite():
    assert np.isfinite(encoded([[1, 0, 5], [2, 1, 6]], [[1e300, 0, -1e300]])).all()


def test_a_column_missing_in_all_rows_it_was_fitted_on_is_0():
    train = [[np.nan, 0, 5], [np.nan, 1, 6]]
    assert encoded(train, [[3, 0, 5]])[0, [0, 5]].tolist() == [0, 0]


# Files


def csv_of(frame, path, separator=",", decimal=".", encoding="utf-8") -> str:
    frame.to_csv(path, index=False, sep=separator, decimal=decimal, encoding=encoding)
    return f"csv:{path}"


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "latin-1", "utf-16"])
@pytest.mark.parametrize(("separator", "decimal"), [(",", "."), (";", "."), (";", ","), ("\t", ",")])
def test_a_file_is_the_same_however_it_is_written(frame, tmp_path, told, encoding, separator, decimal):
    frame = frame.rename(columns={"size": "Größe"})
    frame.loc[0, "colour"] = 'of "gold", or; grey\n'
    plain = prepare(csv_of(frame, tmp_path / "plain.csv"), options=KIND)
    told.clear()
    data = prepare(csv_of(frame, tmp_path / "t.csv", separator, decimal, encoding), options=KIND)
    assert data.columns == plain.columns
    assert data.key == plain.key == of(frame).digest()
    assert any("Windows-1252" in sentence for sentence in told) == (encoding == "latin-1")


def test_parquet_is_as_csv_and_dates_are_text(frame, tmp_path):
    pytest.importorskip("pyarrow")
    frame["when"] = pd.Series(pd.to_datetime(["2020-01-01", "2021-05-06"] * (ROWS // 2)))
    frame.to_parquet(tmp_path / "t.parquet")
    data = prepare(f"parquet:{tmp_path / 't.parquet'}", options=KIND)
    assert data.digest() == of(frame).digest()
    assert data.columns[-1].categories == ("2020-01-01", "2021-05-06")


def test_parquet_without_pyarrow_says_what_to_install(frame, tmp_path, monkeypatch):
    (tmp_path / "t.parquet").write_bytes(b"PAR1")
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(DropbenchError, match=r"dropbench\[parquet\]"):
        prepare(f"parquet:{tmp_path / 't.parquet'}", options=KIND)


def test_a_file_of_test_rows_may_have_its_columns_in_another_order(frame, tmp_path):
    name = csv_of(frame[:60], tmp_path / "train.csv")
    csv_of(frame[60:].iloc[:, ::-1], tmp_path / "test.csv")
    options = replace(KIND, test_file=str(tmp_path / "test.csv"))
    assert prepare(name, options=options).digest() == of(frame[:60], test=frame[60:]).digest()


def test_text_that_is_digits_in_the_test_file_alone_stays_text(frame, tmp_path):
    frame["colour"] = np.where(np.arange(ROWS) % 2, "007", "blue")
    name = csv_of(frame[:60], tmp_path / "train.csv")
    csv_of(frame[60:].assign(colour="007"), tmp_path / "test.csv")
    data = prepare(name, options=replace(KIND, test_file=str(tmp_path / "test.csv")))
    assert set(data.test_inputs[:, 2]) == {0}


def test_a_question_mark_is_a_missing_cell(tmp_path):
    rows = "".join(f"{n % 7},{'cat' if n % 2 else 'dog'}\n" for n in range(20)) + "?,cat\n"
    (tmp_path / "t.csv").write_text("size,kind\n" + rows)
    data = prepare(f"csv:{tmp_path / 't.csv'}", options=KIND)
    assert [column.categories for column in data.columns] == [()]


WRONG_FILES = {
    "empty": (b"", "is empty"),
    "no rows": (b"a,kind\n", "no rows"),
    "picture": (b"\x89PNG\r\n\x1a\n\0\0\0", "no text"),
    "workbook": (b"PK\x03\x04....", "workbook"),
    "one column": (b"kind\ncat\ndog\n", "only one column, 'kind'"),
    "comment": (b"# pets\na,kind\n1,cat\n2,dog\n", "only one column, '# pets'"),
    "another separator": (b"a|kind\n1|cat\n2|dog\n", "only one column, 'a.kind'"),
    "no names": (b"1.5,2,3\n4,5,6\n", "no names"),
    "no names, twice the same number": (b"0,0,dog\n4,5,cat\n", "no names"),
    "twice": (b"a,a,kind\n1,2,cat\n", "several columns named 'a'"),
    "open quote": (b'a,kind\n"1,cat\n2,dog\n', "quote"),
    "open quote within a line": (b'a,b,kind\n1,"2,cat\n2,3,dog\n', "quote"),
    "long row": (b"a,kind\n1,cat,3\n", "3 cells"),
    "long row far down": (b"a,kind\n" + b"1,cat\n" * 99 + b"1,cat,3\n", "line 101"),
    "infinite": (b"a,kind\n" + b"1,cat\n2,dog\n" * 5 + b"inf,cat\n", "infinite in 1 row"),
    "too large": (b"a,kind\n" + b"1,cat\n2,dog\n" * 5 + b"-2e300,cat\n", "beyond 3.4e.38 in 1 row"),
    "too wide": (b",".join(b"c%d" % n for n in range(MOST_FEATURES + 1)), "100,001 columns"),
}


@pytest.mark.parametrize("which", WRONG_FILES)
def test_wrong_files_are_refused_in_a_line(tmp_path, which):
    content, words = WRONG_FILES[which]
    (tmp_path / "t.csv").write_bytes(content)
    with pytest.raises(DropbenchError, match=words) as caught:
        prepare(f"csv:{tmp_path / 't.csv'}", options=KIND)
    assert len(str(caught.value).splitlines()) == 1
    assert len(str(caught.value)) < 400
    assert [each.name for each in tmp_path.iterdir()] == ["t.csv"]


def test_a_file_that_is_not_there_gets_the_nearest_name(tmp_path):
    (tmp_path / "patients.csv").write_text("a,kind\n")
    with pytest.raises(DropbenchError, match=r"Did you mean 'patients\.csv'"):
        prepare(f"csv:{tmp_path / 'patient.csv'}", options=KIND)
    with pytest.raises(DropbenchError, match="is a folder"):
        prepare(f"csv:{tmp_path}", options=KIND)


def test_a_file_larger_than_memory_is_told_before_it_is_read(frame, tmp_path, monkeypatch):
    name = csv_of(frame, tmp_path / "t.csv")
    assert memory.available_memory_bytes() > 1e6
    monkeypatch.setattr(memory, "available_memory_bytes", lambda: 1000)
    with pytest.raises(DropbenchError, match="GB of memory"):
        prepare(name, options=KIND)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(at=st.integers(0, 300), rubbish=st.binary(max_size=30), cut=st.booleans())
def test_damaged_files_are_read_or_refused_in_a_sentence(frame, tmp_path, at, rubbish, cut):
    file = tmp_path / "t.csv"
    csv_of(frame, file)
    whole = file.read_bytes()
    file.write_bytes(whole[:at] + rubbish + (b"" if cut else whole[at + len(rubbish) :]))
    with contextlib.suppress(DropbenchError):
        prepare(f"csv:{file}", options=KIND)


# What is wrong with a table


def test_wrong_targets_are_refused(frame):
    assert "Columns: 'size', 'count'" in refusal(frame, options=SourceOptions())
    assert "Did you mean 'kind'" in refusal(frame, options=SourceOptions(target="Kinds"))
    assert "text like 'cat'" in refusal(frame, options=replace(WEIGHT, target="kind"))
    assert "is no number" in refusal(frame, options=replace(WEIGHT, target="wild"))
    beyond = frame.assign(weight=np.where(np.arange(ROWS) == 7, 1e300, frame["weight"]))
    assert "damaged" not in refusal(beyond, options=WEIGHT), "float32 does not hold it"
    assert "`task=regression`" in refusal(frame, options=SourceOptions(target="weight"))
    assert "no column beside 'kind'" in refusal(frame[["kind"]])


def test_a_target_too_large_for_float32_is_refused(frame):
    frame["weight"] *= 1e40
    assert "'weight' has a number beyond 3.4e+38 in 80 rows" in refusal(frame, options=WEIGHT)


def test_classes_that_cannot_be_learned_are_refused(frame):
    one = frame.assign(kind="cat")
    assert "only one class, 'cat'" in refusal(one)
    alone = frame.copy()
    alone.loc[7, "kind"] = "bird"
    assert "only one example of the class 'bird'" in refusal(alone)
    assert "lacks the class 'bird', which 'kind' of the test rows has" in refusal(frame, test=alone)


def test_columns_that_differ_between_splits_are_named(frame):
    assert "test rows lack the column 'size'" in refusal(frame, test=frame.drop(columns="size"))
    more = frame.assign(age=1, height=2)
    assert "training rows lack the columns 'age', 'height'" in refusal(frame, test=more)
    assert "numbers in the training rows and text like 'x'" in refusal(frame, test=frame.assign(size="x"))


def test_too_many_features_are_refused():
    words = [f"w{n}" for n in range(MOST_CATEGORIES)] * 2
    wide = pd.DataFrame({f"c{n}": words for n in range(101)} | {"kind": ["cat", "dog"] * MOST_CATEGORIES})
    assert "101,000 features" in refusal(wide, test=wide)


def test_cells_that_are_neither_numbers_nor_words_are_refused(frame):
    frame["size"] = [[1, 2]] * ROWS
    assert "'size' holds cells of the type list" in refusal(frame)


# The tables of scikit-learn


@pytest.mark.parametrize(
    ("name", "features", "outputs", "rows"),
    [("breast_cancer", 30, 2, 569), ("wine", 13, 3, 178), ("digits", 64, 10, 1797), ("iris", 4, 3, 150),
     ("diabetes", 10, 1, 442)],
)  # fmt: skip
def test_tables_of_scikit_learn_are_whole(name, features, outputs, rows, told):
    data = prepare(f"sklearn:{name}")
    assert (data.input_shape, data.outputs) == ((features,), outputs)
    assert len(data.train_targets) + len(data.test_targets) == rows
    assert abs(len(data.test_targets) - rows / 5) < 1
    assert (data.task == "regression") == (name == "diabetes")
    assert len(told) == 1, "that test rows were drawn"


def test_other_tables_of_scikit_learn_have_their_names_and_targets():
    assert prepare("sklearn:linnerud", options=SourceOptions(target="Waist")).task == "regression"
    for name, words in (("linnerud", "'Weight', 'Waist', 'Pulse'"), ("irises", "Did you mean 'iris'")):
        with pytest.raises(UsageError, match=words):
            prepare(f"sklearn:{name}")
    with pytest.raises(UsageError, match="is a class"):
        prepare("sklearn:wine", options=SourceOptions(task="regression"))


# Rows that repeat, and rows of another table


def test_test_rows_that_are_training_rows_are_counted(frame, told):
    distinct = frame.assign(weight=np.arange(ROWS) / 3)
    data = of(distinct[:60], test=distinct[60:])
    assert repeated_test_images(data) == 0
    test = data.test_inputs.copy()
    test[:3] = data.train_inputs[[0, 20, 7]]  # the first two have missing cells
    test[3] = -0.0 * data.train_inputs[1]
    data = replace(data, test_inputs=test)
    assert repeated_test_images(data) == 3
    warn_of_repeated_images(data)
    assert ["3 of the 20 test rows" in sentence for sentence in told] == [True]


def test_rows_of_another_table_get_the_columns_and_categories_of_the_first(frame):
    data = of(frame, test=frame)
    other_frame = frame.iloc[:, ::-1].assign(age=np.arange(ROWS) % 7)
    other_frame["colour"] = np.where(np.arange(ROWS) % 2, "violet", "blue")
    other = of(other_frame, test=other_frame)
    rows = with_columns_of(data, other)
    np.testing.assert_array_equal(rows[:, [0, 1, 3, 4]], data.test_inputs[:, [0, 1, 3, 4]])
    assert rows[:4, 2].tolist() == [0, 3, 0, 3], "blue, and what is none of the colours"
    cache.save(other)
    np.testing.assert_array_equal(ood_images(other.digest(), data), rows)
