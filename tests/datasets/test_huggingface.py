"""Data sets of Hugging Face: saved ones are read by the types of their columns, and nothing is downloaded."""

import io
import sys

import numpy as np
import pytest
from PIL import Image as PillowImage

import dropbench as db
from dropbench.datasets import cache
from dropbench.datasets.options import SourceOptions
from dropbench.datasets.registry import prepare
from dropbench.errors import DropbenchError, UsageError

datasets = pytest.importorskip("datasets", reason="dropbench[hf] is not installed")
from datasets import Array2D, ClassLabel, Dataset, DatasetDict, Features, Image, List, Value  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")
GENERATOR = np.random.default_rng(0)


@pytest.fixture(autouse=True)
def _same_numbers():
    """Each test draws the same, whichever were before it."""
    GENERATOR.bit_generator.state = np.random.default_rng(0).bit_generator.state


@pytest.fixture(autouse=True)
def _no_bars(monkeypatch):
    """The library writes no bars while a test makes its sets."""
    shown = not datasets.are_progress_bars_disabled()
    datasets.disable_progress_bars()
    yield
    if shown:
        datasets.enable_progress_bars()


def pixels(count, *shape):
    return GENERATOR.integers(0, 256, (count, *shape), dtype=np.uint8)


def png(image):
    stream = io.BytesIO()
    PillowImage.fromarray(image).save(stream, "PNG")
    return {"bytes": stream.getvalue(), "path": None}


def images(array, labels, names=("cat", "dog"), **more):
    features = Features({"image": Image(), "label": ClassLabel(names=list(names))})
    return Dataset.from_dict({"image": [png(each) for each in array], "label": labels}, features=features)


def saved(found, folder, **options):
    found.save_to_disk(str(folder))
    return prepare(f"hf:{folder}", options=SourceOptions(**options))


def refusal(call, *arguments, kind=DropbenchError, **named):
    with pytest.raises(kind) as caught:
        call(*arguments, **named)
    assert "\n" not in str(caught.value)
    return str(caught.value)


TWO = [0, 1] * 6


def test_a_saved_set_of_images_has_its_splits(tmp_path, told):
    parts = {name: pixels(12, 9, 8, 3) for name in ("train", "validation", "test")}
    data = saved(DatasetDict({name: images(part, TWO) for name, part in parts.items()}), tmp_path / "set")
    wanted = {name: part.transpose(0, 3, 1, 2) for name, part in parts.items()}
    assert np.array_equal(data.train_inputs, np.concatenate([wanted["train"], wanted["validation"]]))
    assert np.array_equal(data.test_inputs, wanted["test"])
    assert data.train_targets.tolist() == TWO * 2
    assert (data.classes, data.validation, told) == (("cat", "dog"), 12, [])
    assert data.name == f"hf:{tmp_path / 'set'}"
    assert prepare(f"hf:{tmp_path / 'set'}").key == data.key


def test_grey_images_of_one_split_are_split(tmp_path, told):
    array = pixels(30, 8, 8)
    data = saved(images(array, [0, 1] * 15), tmp_path / "set", test_share=0.4)
    assert np.bincount(data.test_targets).tolist() == [6, 6]
    every = np.concatenate([data.train_inputs, data.test_inputs])[:, 0]
    assert {each.tobytes() for each in every} == {each.tobytes() for each in array}
    assert any("12 of the 30 images" in sentence for sentence in told)


def test_a_validation_split_alone_is_the_test_split(tmp_path, told):
    both = DatasetDict({"train": images(pixels(12, 8, 8), TWO), "valid": images(pixels(12, 8, 8), TWO)})
    data = saved(both, tmp_path / "set")
    assert (len(data.test_targets), data.validation) == (12, 0)
    assert any("validation split is taken for it" in sentence for sentence in told)


def test_images_are_fitted_and_unreadable_ones_left_out_as_those_of_a_folder(tmp_path, told):
    array = [*pixels(6, 9, 8, 3), *pixels(6, 20, 30, 3)]
    found = images(array, TWO)
    rows = found.cast_column("image", Image(decode=False)).to_list()
    rows[3]["image"] = {"bytes": b"rubbish", "path": None}
    broken = Dataset.from_list(rows, features=found.features)
    train = DatasetDict({"train": broken, "test": found})
    assert "train[3] (it is no image)" in refusal(saved, train, tmp_path / "set", image_size="8")
    data = prepare(f"hf:{tmp_path / 'set'}", options=SourceOptions(image_size="8", skip_unreadable=True))
    assert data.input_shape == (3, 8, 8)
    assert (len(data.train_targets), len(data.test_targets)) == (11, 12)
    assert any("train[3]" in sentence for sentence in told)


def test_a_number_is_predicted_from_images(tmp_path):
    array, ages = pixels(30, 8, 8), GENERATOR.normal(50, 9, 30)
    features = Features({"img": Image(), "age": Value("float32"), "name": Value("string")})
    rows = {"img": [png(each) for each in array], "age": ages, "name": ["x"] * 30}
    data = saved(
        Dataset.from_dict(rows, features=features), tmp_path / "set", target="age", task="regression"
    )
    of_image = {image.tobytes(): np.float32(age) for image, age in zip(array, ages, strict=True)}
    for inputs, targets in ((data.train_inputs, data.train_targets), (data.test_inputs, data.test_targets)):
        assert targets.tolist() == [of_image[image.tobytes()] for image in inputs]
    assert (data.classes, data.task) == ((), "regression")


def table(count=40):
    numbers = GENERATOR.normal(size=(count, 2))
    return {
        "size": numbers[:, 0],
        "kind": np.array(["low", "high"])[(numbers[:, 1] > 0).astype(int)],
        "vector": GENERATOR.normal(size=(count, 3)).tolist(),
        "when": np.full(count, np.datetime64("2020-01-01")).tolist(),
        "label": (numbers[:, 0] > 0).astype(int).tolist(),
    }


def test_numbers_words_and_lists_are_a_table(tmp_path, told):
    rows = table()
    data = saved(Dataset.from_dict(rows), tmp_path / "set")
    assert [column.name for column in data.columns] == ["size", "kind", "vector_0", "vector_1", "vector_2"]
    assert data.columns[1].categories == ("high", "low")
    assert data.inputs == "table"
    both = np.concatenate([data.train_inputs, data.test_inputs])
    assert sorted(both[:, 0]) == sorted(rows["size"])
    assert sorted(both[:, 2:].tolist()) == sorted(rows["vector"])
    assert any("'when'" in sentence for sentence in told)
    assert db.train(data, epochs=30, threads=1).training.error < 15, "the label is whether size is above 0"


def test_classes_of_a_table_have_names_and_rows_without_one_are_left_out(tmp_path, told):
    features = Features(
        {
            "size": Value("int32"),
            "colour": ClassLabel(names=["red", "blue"]),
            "label": ClassLabel(names=["b", "a"]),
        }
    )
    rows = {"size": [5, 9, 5, 9] * 5, "colour": [0, 1, 1, 0] * 5, "label": [0, 1, 0, 1] * 4 + [0, 1, 0, -1]}
    unlabelled = rows | {"label": [-1] * 20}
    found = DatasetDict(
        {
            "train": Dataset.from_dict(rows, features=features),
            "test": Dataset.from_dict(unlabelled, features=features),
            "extra": Dataset.from_dict(unlabelled, features=features),
        }
    )
    data = saved(found, tmp_path / "set", target="label")
    assert data.classes == ("a", "b")
    assert data.columns[1].categories == ("blue", "red")
    assert len(data.train_targets) + len(data.test_targets) == 19
    for words in ("the split extra", "split test, which has no targets", "1 row without a 'label'"):
        assert any(words in sentence for sentence in told), (words, told)


def test_arrays_of_one_shape_are_images(tmp_path):
    array = GENERATOR.normal(size=(12, 9, 8)).astype(np.float32)
    features = Features({"x": Array2D((9, 8), "float32"), "label": Value("int64")})
    part = Dataset.from_dict({"x": array, "label": TWO}, features=features)
    data = saved(DatasetDict({"train": part, "test": part}), tmp_path / "set")
    assert data.input_shape == (1, 9, 8)
    assert np.array_equal(data.train_inputs[:, 0], array)


@pytest.mark.parametrize("name", ["train-00000-of-00001", "default/train/0000", "data/x"])
def test_parquet_files_are_the_same_set(tmp_path, name):
    train, test = images(pixels(12, 8, 8), TWO), images(pixels(12, 8, 8), TWO)
    wanted = saved(DatasetDict({"train": train, "test": test}), tmp_path / "set")
    other = name.replace("train", "test") if "train" in name else "data/test"
    for path, part in ((name, train), (other, test)):
        file = tmp_path / "parquet" / f"{path}.parquet"
        file.parent.mkdir(parents=True, exist_ok=True)
        part.to_parquet(str(file))
    assert prepare(f"hf:{tmp_path / 'parquet'}").key == wanted.key
    held = prepare(f"hf:{file}")
    assert len(held.train_targets) + len(held.test_targets) == 12
    left = {each.name.split(".")[0] for each in cache.cache_folder().iterdir()}
    assert not [each for each in left if each.startswith("tmp")], "nothing is left behind"


def test_the_target_is_found_or_asked_for(tmp_path):
    rows = {"a": [1.0, 2.0] * 10, "b": [0, 1] * 10, "c": [1, 0] * 10}
    found = Dataset.from_dict(rows)
    said = refusal(saved, found, tmp_path / "none", kind=UsageError)
    assert "'a', 'b', 'c'. Name it with `target`" in said
    assert prepare(f"hf:{tmp_path / 'none'}", options=SourceOptions(target="b")).classes == ("0", "1")
    assert "no column 'd'" in refusal(
        prepare, f"hf:{tmp_path / 'none'}", options=SourceOptions(target="d"), kind=UsageError
    )
    assert saved(found.rename_column("b", "Label"), tmp_path / "named").classes == ("0", "1")
    two = found.cast_column("b", ClassLabel(names=["x", "y"])).cast_column("c", ClassLabel(names=["p", "q"]))
    assert "Name it" in refusal(saved, two, tmp_path / "two", kind=UsageError)


def test_what_is_no_data_set_is_said(tmp_path):
    part = images(pixels(12, 8, 8), TWO)
    shared = DatasetDict({"train": part, "test": part})
    own = DatasetDict({"train": part, "test": part.rename_column("image", "photo")})
    of_lists = Features({"x": List(Value("float32")), "label": Value("int64")})
    lists = Dataset.from_dict({"x": [[1.0], [1.0, 2.0]] * 6, "label": TWO}, features=of_lists)
    nested = Dataset.from_dict({"x": [{"a": 1}] * 12, "label": TWO})
    second = part.select_columns(["image"]).rename_column("image", "second")
    several = datasets.concatenate_datasets([part, second], axis=1)
    for number, (found, options, said) in enumerate(
        [
            (shared, {"test_share": 0.3}, "has a test split of its own"),
            (own, {}, "has other columns than train: 'image', 'photo'"),
            (DatasetDict({"a": part, "b": part}), {}, "has the splits a, b, and none is train"),
            (lists, {}, "The lists in the column 'x' have 1 to 2 numbers"),
            (lists, {"image_size": "8"}, "has no images for `image_size`"),
            (images(pixels(12, 8, 8), [0] * 12), {}, "only one class, 'cat'"),
            (images(pixels(12, 8, 8), [0] * 11 + [1]), {}, "only one example of the class 'dog'"),
            (part, {"task": "regression"}, "holds text"),
            (several.rename_column("image", "first"), {}, "several columns of images: 'first', 'second'"),
            (nested, {}, "neither images nor numbers nor words"),
        ]
    ):  # fmt: skip
        assert said in refusal(saved, found, tmp_path / str(number), **options)


def test_damaged_and_missing_files_are_said(tmp_path):
    data = tmp_path / "set"
    saved(DatasetDict({"train": images(pixels(12, 8, 8), TWO)}), data)
    for file in data.rglob("*.arrow"):
        file.write_bytes(file.read_bytes()[:100])
    assert f"Cannot read {data}" in refusal(prepare, f"hf:{data}")
    (tmp_path / "bad.parquet").write_bytes(b"rubbish")
    assert "Cannot read" in refusal(prepare, f"hf:{tmp_path / 'bad.parquet'}")
    (tmp_path / "empty").mkdir()
    assert "has no Arrow or Parquet files" in refusal(prepare, f"hf:{tmp_path / 'empty'}")
    assert "There is no file or folder" in refusal(prepare, f"hf:{tmp_path / 'nowhere'}")
    assert "neither there nor a name" in refusal(prepare, "hf:a/b/c/d")


def test_without_a_network_one_line_comes_at_once_and_nothing_is_left(tmp_path, monkeypatch):
    def refuse(*_, **__):
        raise OSError("no network")

    monkeypatch.setattr("socket.getaddrinfo", refuse)
    monkeypatch.setattr("socket.create_connection", refuse)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    monkeypatch.setattr("datasets.load_dataset", None)  # which would try again and again
    said = refusal(prepare, "hf:ylecun/mnist", tmp_path / "data")
    assert said.startswith("huggingface.co cannot be reached")
    assert not (tmp_path / "data").exists()


def test_what_the_hub_gives_is_saved_and_read_as_a_saved_set(tmp_path, monkeypatch):
    part = images(pixels(12, 8, 8), TWO)
    asked = []

    def load(*arguments):
        asked.append(arguments)
        return DatasetDict({"train": part, "test": part})

    monkeypatch.setattr("datasets.load_dataset", load)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    first = prepare("hf:somebody/pets/small", tmp_path)
    assert prepare("hf:somebody/pets/small", tmp_path).key == first.key
    assert asked == [("somebody/pets", "small")]
    assert [folder.name for folder in (tmp_path / "huggingface").iterdir()] == ["somebody--pets--small"]


def test_without_the_package_its_name_is_said(tmp_path, monkeypatch):
    images(pixels(12, 8, 8), TWO).save_to_disk(str(tmp_path / "set"))
    monkeypatch.setitem(sys.modules, "datasets", None)
    assert 'pip install --upgrade "dropbench[hf]"' in refusal(prepare, f"hf:{tmp_path / 'set'}")


def test_the_settings_of_the_library_are_put_back(tmp_path):
    datasets.enable_progress_bars()
    before = datasets.logging.get_verbosity()
    part = images(pixels(12, 8, 8), TWO)
    part.select(range(12)).to_parquet(str(tmp_path / "a.parquet"))
    prepare(f"hf:{tmp_path / 'a.parquet'}")
    assert (datasets.are_progress_bars_disabled(), datasets.logging.get_verbosity()) == (False, before)
