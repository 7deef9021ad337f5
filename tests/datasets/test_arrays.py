"""Arrays as data: their names, shapes and types, their labels, and what is refused in a sentence."""

import contextlib
import io
import re
import zipfile
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import dropbench as db
from dropbench.datasets import cache
from dropbench.datasets.arrays import stored
from dropbench.datasets.options import SourceOptions
from dropbench.datasets.registry import prepare
from dropbench.engine.batches import measure
from dropbench.errors import DropbenchError, UsageError
from dropbench.run.config import RunConfig

GENERATOR = np.random.default_rng(0)
GREY = GENERATOR.integers(0, 256, (30, 9, 8), dtype=np.uint8)
COLOUR = GENERATOR.integers(0, 256, (30, 9, 8, 3), dtype=np.uint8)
LABELS = np.arange(30) % 3


@pytest.fixture(autouse=True)
def _same_numbers():
    """Each test draws the same, whichever were before it."""
    GENERATOR.bit_generator.state = np.random.default_rng(0).bit_generator.state


def keras(x, y=LABELS, test=12):
    return {"x_train": x, "y_train": y, "x_test": x[:test], "y_test": y[:test]}


@pytest.fixture(params=["npz", "npy"])
def save(request, tmp_path):
    """Save arrays in one of the two forms; returns the name of the data set."""

    def write(arrays):
        if request.param == "npz":
            np.savez_compressed(tmp_path / "arrays.npz", **arrays)
            return f"npz:{tmp_path / 'arrays.npz'}"
        (tmp_path / "arrays").mkdir(exist_ok=True)
        for name, array in arrays.items():
            np.save(tmp_path / "arrays" / f"{name}.npy", array)
        return f"npy:{tmp_path / 'arrays'}"

    return write


@pytest.fixture
def npz(tmp_path):
    """Save arrays in one file, and return the data set that is made of it."""

    def made(arrays, **options):
        np.savez(tmp_path / "made.npz", **arrays)
        return prepare(f"npz:{tmp_path / 'made.npz'}", options=SourceOptions(**options))

    return made


def refusal(call, *arguments, **named):
    with pytest.raises(DropbenchError) as caught:
        call(*arguments, **named)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_names_of_keras_are_four_arrays(save, told):
    data = prepare(save(keras(GREY)))
    assert np.array_equal(data.train_inputs, GREY[:, None])
    assert np.array_equal(data.test_inputs, GREY[:12, None])
    assert data.train_inputs.dtype == np.uint8
    assert data.train_targets.tolist() == LABELS.tolist()
    assert data.classes == ("0", "1", "2")
    assert (data.validation, told) == (0, [])


def test_names_of_medmnist_have_a_validation_split_which_are_the_last_training_images(save):
    arrays = {}
    for part, start, stop in (("train", 0, 15), ("val", 15, 21), ("test", 21, 30)):
        arrays |= {f"{part}_images": COLOUR[start:stop], f"{part}_labels": LABELS[start:stop, None]}
    data = prepare(save(arrays))
    assert data.validation == 6
    assert np.array_equal(data.train_inputs, COLOUR[:21].transpose(0, 3, 1, 2))
    assert np.array_equal(data.test_inputs, COLOUR[21:].transpose(0, 3, 1, 2))
    assert data.train_targets.tolist() == LABELS[:21].tolist()


@pytest.mark.parametrize("names", [("x", "y"), ("X", "Y"), ("data", "target"), ("x_train", "y_train")])
def test_one_split_has_test_examples_held_out(npz, told, names):
    data = npz(dict(zip(names, (GREY, LABELS), strict=True)), test_share=0.4)
    assert len(data.test_targets) == 12
    assert np.bincount(data.test_targets).tolist() == [4, 4, 4]
    both = np.concatenate([data.train_inputs, data.test_inputs])[:, 0]
    assert {each.tobytes() for each in both} == {each.tobytes() for each in GREY}
    assert any("12 of the 30 images" in sentence for sentence in told)
    again = npz(dict(zip(names, (GREY, LABELS), strict=True)), test_share=0.4)
    assert again.key == data.key


def test_a_validation_split_alone_is_the_test_split(npz, told):
    data = npz({"x_train": GREY, "y_train": LABELS, "x_val": GREY[:9], "y_val": LABELS[:9]})
    assert (len(data.test_targets), data.validation) == (9, 0)
    assert any("validation split is taken for it" in sentence for sentence in told)


def test_what_is_not_used_is_told(npz, told):
    npz(keras(GREY) | {"weights": np.ones((4, 2))})
    assert told == ["Not used: weights (4, 2)."]


@pytest.mark.parametrize(
    ("shape", "input_shape"),
    [
        ((9, 8), (1, 9, 8)),
        ((9, 8, 1), (1, 9, 8)),
        ((9, 8, 3), (3, 9, 8)),
        ((1, 9, 8), (1, 9, 8)),
        ((3, 9, 8), (3, 9, 8)),
        ((3, 8, 3), (3, 8, 3)),  # the second axis has the channels where both can
        ((4, 9, 8), (4, 9, 8)),
        ((9, 8, 2), (2, 9, 8)),
    ],
)
def test_channels_are_found(npz, told, shape, input_shape):
    images = GENERATOR.integers(0, 256, (12, *shape), dtype=np.uint8)
    data = npz(keras(images, LABELS[:12], 6))
    assert data.input_shape == input_shape
    last = len(shape) == 3 and shape[-1] == input_shape[0] != shape[0]
    wanted = np.moveaxis(images, 3, 1) if last else images.reshape(12, *input_shape)
    assert np.array_equal(data.train_inputs, wanted)
    usual = len(shape) == 2 or (shape[0] in (1, 3)) != (shape[-1] in (1, 3))
    assert len(told) == (not usual)


@pytest.mark.parametrize("dtype", [bool, np.int8, np.uint16, np.int64, np.float16, np.float64, ">f4"])
def test_images_of_other_numbers_are_float32(save, dtype):
    images = GENERATOR.normal(50, 20, (12, 9, 8)).astype(dtype)
    images[0, 0, :2] = 0, 1  # the bools are not all the same
    data = prepare(save(keras(images, LABELS[:12], 6)))
    assert data.train_inputs.dtype == np.float32
    assert np.array_equal(data.train_inputs, images.astype(np.float32)[:, None])


def test_the_rows_of_numbers_are_a_table(save):
    numbers = GENERATOR.normal(size=(30, 4)).astype(np.float32)
    data = prepare(save(keras(np.asfortranarray(numbers))))
    assert (data.inputs, data.input_shape) == ("table", (4,))
    assert [column.name for column in data.columns] == ["f0", "f1", "f2", "f3"]
    assert np.array_equal(data.train_inputs, numbers.astype(np.float64))


@pytest.mark.parametrize(
    ("labels", "classes"),
    [
        (np.array(["c", "a", "b"])[LABELS], ("a", "b", "c")),
        (np.array([b"c", b"a", b"b"])[LABELS], ("a", "b", "c")),
        (np.array([7, -1, 3])[LABELS], ("-1", "3", "7")),
        (np.array([2.0, 0.0, 1.0])[LABELS], ("0", "1", "2")),
        (np.array([1.5, 0.5, 1.0])[LABELS], ("0.5", "1", "1.5")),
        (np.eye(3)[np.array([2, 0, 1])[LABELS]], ("0", "1", "2")),
        (np.eye(4, dtype=bool)[np.array([3, 0, 1])[LABELS]], ("0", "1", "3")),
        (np.array([2, 0, 1], np.uint8)[LABELS][:, None], ("0", "1", "2")),
    ],
)
def test_labels_of_any_kind_are_the_sorted_classes(save, labels, classes):
    data = prepare(save(keras(GREY, labels)))
    assert data.classes == classes
    assert data.train_targets.tolist() == np.array([2, 0, 1])[LABELS].tolist()
    assert data.test_targets.tolist() == data.train_targets[:12].tolist()


def test_a_regression_has_numbers(npz):
    heights = GENERATOR.normal(170, 10, 30)
    data = npz(keras(GREY, heights[:, None]), task="regression")
    assert (data.classes, data.task, data.outputs) == ((), "regression", 1)
    assert np.array_equal(data.train_targets, heights.astype(np.float32))


@pytest.mark.parametrize(
    ("numbers", "asked"),
    [
        (np.repeat(np.linspace(0, 1, 25), 2), True),
        (np.repeat(np.arange(25) * 3, 2), True),
        (np.repeat(np.arange(25), 2), False),  # as classes are counted
        (np.repeat(np.arange(25) + 1, 2), False),
        (np.repeat(np.linspace(0, 1, 20), 2), False),
    ],
)
def test_many_numbers_as_classes_are_told(npz, told, numbers, asked):
    images = GENERATOR.integers(0, 256, (len(numbers), 9, 8), dtype=np.uint8)
    npz(keras(images, numbers, len(numbers)))
    assert any("task=regression" in sentence for sentence in told) == asked


ONES = np.ones(30, int)


@pytest.mark.parametrize(
    ("arrays", "said"),
    [
        ({"images": GREY, "y_train": LABELS}, r"has images \(30, 9, 8\), y_train \(30,\)\. Name them"),
        (keras(GREY) | {"y_train": LABELS[:-1]}, "x_train has 30 examples, y_train has 29"),
        ({k: v for k, v in keras(GREY).items() if k != "y_test"}, r"x_test \(12, 9, 8\), but no y_test"),
        (keras(GREY, ONES), "only one class, '1'"),
        (keras(GREY, np.where(np.arange(30) == 20, 9, LABELS)), "only one example of the class '9'"),
        (keras(GREY) | {"y_test": np.array([0, 1, 2, 5] * 3)}, "y_train lacks the class '5'"),
        (keras(GREY) | {"y_test": np.array(["0", "1", "2"] * 4)}, "y_test holds text, and y_train numbers"),
        (keras(GREY, np.ones((30, 4))), "4 columns and is not one-hot, as in its example 0"),
        (keras(GREY, np.where(LABELS == 1, np.nan, LABELS)), "10 values of y_train are NaN"),
        (keras(GREY, LABELS.astype(object)), "y_train holds Python objects, which are never unpickled"),
        (keras(GREY.astype(object)), "x_train holds Python objects"),
        (keras(GREY.astype(complex)), "x_train holds complex128"),
        (keras(GREY[:, 0, 0]), r"x_train has the shape \(30,\)"),
        (keras(GREY[:, :8, :, None].repeat(8, 3)), "which axis has the channels is not to be seen"),
        (keras(GREY[:0], LABELS[:0]), "x_train"),
        (keras(GREY) | {"x_test": GREY[:12, :5]}, r"x_test \(12, 5, 8\) has images of another shape"),
        (keras(GREY) | {"x_test": GREY[:12] / 255}, "x_train holds bytes, and x_test float64 from"),
        (keras(GREY * 0), "x_train holds nothing but 0"),
        (keras(GREY, LABELS.astype("M8[D]")), r"y_train holds datetime64"),
    ],
)  # fmt: skip
def test_what_is_no_data_set_is_said(npz, arrays, said):
    message = refusal(npz, arrays)
    assert re.search(said, message), message


@pytest.mark.parametrize("shape", [(30, 9, 8), (30, 72)])
def test_numbers_that_are_none_are_counted(npz, shape):
    numbers = GENERATOR.normal(size=(30, 72))
    numbers[3, :2] = np.nan
    numbers[5, 7] = -np.inf
    said = refusal(npz, keras(numbers.reshape(shape)) | {"x_test": np.ones(shape), "y_test": LABELS})
    assert "x_train is not finite in 2 examples: 3 values (2 NaN and 1 infinite)" in said


def test_numbers_of_a_table_whose_squares_are_infinite_are_refused(npz):
    said = refusal(npz, keras(GENERATOR.normal(size=(30, 4)) * 1e300))
    assert re.search(r"x_train has numbers from -\d\S+ to \d\S+, beyond 3.4e\+38", said)


def test_options_that_do_not_fit_are_refused(npz):
    assert "Leave out `test_share`" in refusal(npz, keras(GREY), test_share=0.3)
    assert "takes no `image_size`" in refusal(npz, keras(GREY), image_size="8")
    with pytest.raises(UsageError, match="holds text"):
        npz(keras(GREY, np.array(["a", "b", "c"])[LABELS]), task="regression")
    with pytest.raises(UsageError, match="3 columns"):
        npz(keras(GREY, np.eye(3)[LABELS]), task="regression")


def test_files_that_are_none_are_said(tmp_path):
    file = tmp_path / "arrays.npz"
    assert "There is no file" in refusal(prepare, f"npz:{file}")
    assert "is a folder" in refusal(prepare, f"npz:{tmp_path}")
    file.write_bytes(b"rubbish")
    assert f"Cannot read {file} (File is not a zip file)" in refusal(prepare, f"npz:{file}")
    assert "is a file" in refusal(prepare, f"npy:{file}")
    assert "has no .npy files" in refusal(prepare, f"npy:{tmp_path}")
    assert "is not there" in refusal(prepare, f"npy:{tmp_path / 'nowhere'}")
    np.save(tmp_path / "images.npy", GREY)
    assert "has images.npy. Name them" in refusal(prepare, f"npy:{tmp_path}")
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("readme.txt", "no arrays")
    assert "has no arrays" in refusal(prepare, f"npz:{file}")


def test_a_cut_or_changed_file_is_said(tmp_path):
    file = tmp_path / "arrays.npz"
    np.savez(file, **keras(GREY))
    whole = file.read_bytes()
    file.write_bytes(whole[:-400])
    assert "Cannot read" in refusal(prepare, f"npz:{file}")
    place = whole.index(GREY.tobytes()[:40])
    file.write_bytes(whole[:place] + b"\0" * 40 + whole[place + 40 :])
    assert f"Cannot read x_train in {file} (Bad CRC-32" in refusal(prepare, f"npz:{file}")
    np.save(tmp_path / "x.npy", GREY)
    np.save(tmp_path / "y.npy", LABELS)
    (tmp_path / "x.npy").write_bytes((tmp_path / "x.npy").read_bytes()[:-5])
    assert "x.npy (an array of (30, 9, 8) has 2,155 bytes)" in refusal(prepare, f"npy:{tmp_path}")


ODD = settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@ODD
@given(at=st.integers(0, 3000), rubbish=st.binary(max_size=30))
@pytest.mark.filterwarnings("ignore::UserWarning")  # numpy warns of a header that an old Python wrote
def test_damaged_files_are_read_or_refused_in_a_sentence(tmp_path, at, rubbish):
    file = tmp_path / "damaged.npz"
    np.savez(file, **keras(GREY[:, :3, :4]))
    whole = file.read_bytes()
    file.write_bytes(whole[:at] + rubbish + whole[at + len(rubbish) :])
    with contextlib.suppress(DropbenchError):
        prepare(f"npz:{file}")


def test_pickles_are_never_loaded(tmp_path):
    class Trap:
        def __reduce__(self):
            return (tmp_path.joinpath("sprung").touch, ())

    np.savez(tmp_path / "trap.npz", **keras(GREY) | {"y_train": np.array([Trap()] * 30)})
    assert "never unpickled" in refusal(prepare, f"npz:{tmp_path / 'trap.npz'}")
    np.savez(tmp_path / "beside.npz", **keras(GREY) | {"other": np.array([Trap()])})
    assert len(prepare(f"npz:{tmp_path / 'beside.npz'}").train_targets) == 30
    assert not (tmp_path / "sprung").exists()


def declared(shape, dtype="|u1"):
    """The bytes of an array's header alone, as if the array were there."""
    stream = io.BytesIO()
    np.lib.format.write_array_header_1_0(stream, {"descr": dtype, "fortran_order": False, "shape": shape})
    return stream.getvalue()


def test_too_many_features_are_told_before_they_are_read(tmp_path):
    for name, shape, dtype in (("x", (4, 2_000_000), "<f8"), ("y", (4,), "|u1")):
        with (tmp_path / f"{name}.npy").open("wb") as file:
            file.write(declared(shape, dtype))
            file.truncate(file.tell() + np.prod(shape) * np.dtype(dtype).itemsize)  # a hole takes no space
    assert "x has 2,000,000 features, more than the 100,000" in refusal(prepare, f"npy:{tmp_path}")


def test_arrays_that_the_disk_cannot_hold_are_told_and_nothing_is_left(tmp_path, monkeypatch):
    np.savez(tmp_path / "large.npz", **keras(GREY))
    before = set(cache.cache_folder().rglob("*"))
    monkeypatch.setattr(stored.shutil, "disk_usage", lambda folder: type("Usage", (), {"free": 5_000}))
    assert "GB left. Make space" in refusal(prepare, f"npz:{tmp_path / 'large.npz'}")
    assert set(cache.cache_folder().rglob("*")) == before


def test_what_does_not_fit_the_memory_is_mapped_and_the_same(npz, monkeypatch, tmp_path):
    wanted = npz(keras(COLOUR / 1)), npz({"x": COLOUR, "y": LABELS}), npz(keras(GREY.reshape(30, 72)))
    monkeypatch.setattr(stored, "_IN_MEMORY", 0)
    monkeypatch.setattr("dropbench.datasets.arrays.inputs.CHUNK", 500)
    monkeypatch.setenv("DROPBENCH_CACHE_DIR", str(tmp_path / "cache"))
    found = npz(keras(COLOUR / 1)), npz({"x": COLOUR, "y": LABELS}), npz(keras(GREY.reshape(30, 72)))
    assert [each.key for each in found] == [each.key for each in wanted]
    names = {file.name for file in cache.cache_folder().iterdir()}
    assert names == {"sources", *(each.key for each in found), *(f"{each.key}.lock" for each in found)}


@pytest.mark.parametrize("white", [None, 1])
def test_float_images_train_as_bytes_do(npz, white):
    """Standardised channels do not depend on the unit; nor do those from 0 to 1."""
    images = GENERATOR.integers(0, 120, (60, 8, 8), dtype=np.uint8)
    labels = np.arange(60) % 3
    for label in range(3):
        images[labels == label, 2 * label : 2 * label + 3] += 130
    images[0, 0, :2] = 0, 255
    small = {"model": "mlp", "layers": (16,), "epochs": 3, "threads": 1, "precision": "fp32"}
    if white:
        small["pixels"] = "unit"
    of_bytes = db.train(npz(keras(images, labels)), **small)
    floats = npz(keras(images.astype(float) / 255 if white else images.astype(float) - 1000, labels))
    assert floats.train_inputs.dtype == np.float32
    of_floats = db.train(floats, **small)
    # Equal but for float32's rounding, which training makes larger: 64 pixels, 3 epochs of one batch.
    assert of_floats.test.nll == pytest.approx(of_bytes.test.nll, rel=1e-3)


def test_unit_pixels_of_other_numbers_are_refused(npz):
    data = npz(keras(GREY.astype(float)))
    with pytest.raises(UsageError, match="`pixels=unit` needs images of bytes or of numbers from 0 to 1"):
        db.train(data, model="mlp", layers=(8,), epochs=1, pixels="unit")
    with pytest.raises(UsageError, match="The model autoencoder needs images of bytes"):
        db.features(data, epochs=1)
    assert replace(data, train_inputs=data.train_inputs / 255, test_inputs=data.test_inputs / 255).white == 1


def test_a_constant_channel_of_floats_is_0():
    images = np.full((50, 1, 7, 7), 0.1, np.float32)
    assert measure(images, np.arange(50), torch.device("cpu")).deviation.item() == 1


def test_a_table_of_arrays_trains(npz):
    labels = np.arange(60) % 2
    rows = GENERATOR.normal(size=(60, 3)) + 4 * labels[:, None]
    data = npz(keras(rows, labels))
    run = db.train(data, epochs=20, threads=1)
    assert run.test.error < 10
    assert RunConfig(**data.settings).model.name == "mlp"


def test_a_call_takes_what_files_hold(npz):
    floats = GREY.astype(float) - 100
    assert db.data(floats, LABELS, floats[:12], LABELS[:12]).key == npz(keras(floats)).key
    held = db.data(GREY, LABELS, test_share=0.4)
    assert held.key == npz({"x": GREY, "y": LABELS}, test_share=0.4).key
    assert held.settings["test_share"] == 0.4
    given = db.data(GREY, LABELS, GREY[:9], LABELS[:9], x_val=GREY[:6], y_val=LABELS[:6])
    assert given.validation == 6
    number = db.data(GREY, LABELS / 2, GREY[:9], LABELS[:9] / 2, task="regression")
    assert number.task == "regression"


def test_numbers_from_0_to_1_are_bytes_in_a_call_and_stay_in_a_file(npz):
    unit = GREY / 255
    assert db.data(unit, LABELS, unit[:12], LABELS[:12]).key == npz(keras(GREY)).key
    assert npz(keras(unit)).train_inputs.dtype == np.float32
