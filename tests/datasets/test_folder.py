"""Folders of images: which files are read, and that their pixels are what Pillow and numpy say they are."""

import contextlib
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from dropbench.datasets import progress, registry
from dropbench.datasets.images import folder as folder_module
from dropbench.datasets.images.folder import ImageFolder
from dropbench.datasets.options import SourceOptions
from dropbench.datasets.registry import prepare
from dropbench.errors import DropbenchError, UsageError
from dropbench.experiments.bagging.compare import ood_key

HERE = Path(".")
generator = np.random.default_rng(0)


def noise(*shape: int) -> np.ndarray:
    return generator.integers(0, 256, shape, dtype=np.uint8)


def smooth(height: int, width: int) -> Image.Image:
    """A picture without anything fine, as which photographs are at this size."""
    rows, columns = np.mgrid[:height, :width] / max(height, width)
    waves = [np.sin(5 * rows + k) * np.cos(4 * columns - k) for k in range(3)]
    return Image.fromarray((127 + 120 * np.stack(waves, axis=2)).astype(np.uint8))


def save(image: Image.Image, path: Path, **how) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path, **how)
    return path


def decode(root: Path, **options):
    data = ImageFolder(str(root), SourceOptions(**options)).decode(HERE)
    data.check()
    return data


def refused(root: Path, kind=DropbenchError, **options) -> str:
    with pytest.raises(kind) as caught:
        prepare(f"folder:{root}", options=SourceOptions(**options))
    assert "\n" not in str(caught.value)
    assert caught.value.hint
    return str(caught.value)


@pytest.fixture
def pets(tmp_path):
    """Six training and two test images of each of two classes, 10 × 12, in colour."""
    for part, count in (("train", 6), ("test", 2)):
        for name in ("cat", "dog"):
            for k in range(count):
                save(Image.fromarray(noise(10, 12, 3)), tmp_path / "pets" / part / name / f"{k}.png")
    return tmp_path / "pets"


@pytest.fixture
def four(tmp_path):
    """A folder whose four images, two of each class in both splits, are of what a test gives it."""

    def make(*images: Image.Image, ending: str = ".png", **how) -> Path:
        root = tmp_path / "four"
        shutil.rmtree(root, ignore_errors=True)
        for k in range(4):
            part, name = ("train", "test")[k // 2], ("a", "b")[k % 2]
            save(images[k % len(images)], root / part / name / f"{k}{ending}", **how)
        return root

    return make


def first_of(root: Path, **options) -> np.ndarray:
    return decode(root, **options).train_inputs[0]


# What is read of a folder whose images are alike


@pytest.mark.parametrize("ending", [".png", ".jpg"])
@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_images_of_one_kind_and_size_are_read_pixel_by_pixel(tmp_path, told, ending, mode):
    for k in range(40):
        place = tmp_path / ("train", "test")[k % 2] / "cab"[k % 3]
        save(Image.fromarray(noise(9, 11, 3)).convert(mode), place / f"{k}{ending}")

    def plainly(part: str) -> tuple[np.ndarray, list[int]]:
        files = sorted(tmp_path.glob(f"{part}/*/*"))
        pixels = np.stack([np.atleast_3d(np.asarray(Image.open(file))) for file in files])
        return pixels.transpose(0, 3, 1, 2), ["abc".index(file.parent.name) for file in files]

    data = prepare(f"folder:{tmp_path}")
    for part in ("train", "test"):
        images, labels = plainly(part)
        assert np.array_equal(getattr(data, f"{part}_inputs"), images)
        assert getattr(data, f"{part}_targets").tolist() == labels
    assert (data.name, data.classes, data.validation, told) == (f"folder:{tmp_path}", ("a", "b", "c"), 0, [])


def test_images_that_are_not_kept_from_the_first_look_are_the_same(pets, monkeypatch):
    key = decode(pets).digest()
    monkeypatch.setattr(folder_module, "_KEPT", 0)
    assert decode(pets).digest() == key


def test_changed_folder_is_another_data_set_and_a_moved_one_is_the_same(pets, monkeypatch):
    before = prepare(f"folder:{pets}").key
    moved = pets.rename(pets.with_name("animals"))
    with monkeypatch.context() as without:
        without.setattr(ImageFolder, "decode", None)  # its content is known
        assert prepare(f"folder:{moved}").key == before
        assert prepare(f"folder:{moved.parent / '.' / 'animals' / '..' / 'animals'}").key == before
    Image.new("RGB", (12, 10), "red").save(moved / "train" / "cat" / "0.png")
    assert prepare(f"folder:{moved}").key != before


def test_class_folders_that_are_exchanged_are_other_labels(tmp_path):
    """Files of one size and time: only what is in them tells them apart."""
    for part in ("train", "test"):
        for name, grey in (("dark", 10), ("light", 200)):
            file = save(Image.new("L", (8, 8), grey), tmp_path / part / name / "a.bmp")
            os.utime(file, (1, 1))
    before = prepare(f"folder:{tmp_path}")
    for part in ("train", "test"):
        for old, new in (("dark", "x"), ("light", "dark"), ("x", "light")):
            (tmp_path / part / old).rename(tmp_path / part / new)
    after = prepare(f"folder:{tmp_path}")
    assert before.train_inputs[:, 0, 0, 0].tolist() == [10, 200]
    assert after.train_inputs[:, 0, 0, 0].tolist() == [200, 10]
    assert after.classes == before.classes


def test_folders_of_the_same_pixels_keep_their_own_names_and_notes(pets, tmp_path, told):
    other = shutil.copytree(pets, tmp_path / "other")
    for part in ("train", "test"):
        (other / part / "cat").rename(other / part / "ape")
    (other / "test").rename(other / "val")
    for root, classes, notes in (
        (pets, ("cat", "dog"), 0),
        (other, ("ape", "dog"), 1),
        (pets, ("cat", "dog"), 0),
    ):
        told.clear()
        data = prepare(f"folder:{root}")
        assert (data.classes, len(told)) == (classes, notes)
        assert "pixel_sums" in vars(data), "those of the cache"


# Layouts


@pytest.mark.parametrize(("train", "test"), [("train", "test"), ("Train", "TEST"), ("training", "Testing")])
def test_splits_are_found_in_any_letter_case(pets, told, train, test):
    before = decode(pets).digest()
    (pets / "train").rename(pets / "x").rename(pets / train)
    (pets / "test").rename(pets / "y").rename(pets / test)
    assert (decode(pets).digest(), told) == (before, [])


@pytest.mark.parametrize("name", ["val", "valid", "Validation"])
def test_a_validation_folder_is_the_test_split_where_there_is_no_other(pets, told, name):
    before = prepare(f"folder:{pets}").key
    (pets / "test").rename(pets / name)
    assert prepare(f"folder:{pets}").key == before
    assert ["validation split is taken" in sentence for sentence in told] == [True]


def test_a_validation_folder_beside_a_test_folder_is_the_validation_split(pets):
    before = decode(pets)
    save(Image.new("RGB", (12, 10), "red"), pets / "val" / "dog" / "a.png")
    data = decode(pets)
    assert data.validation == 1
    assert np.array_equal(data.train_inputs[:-1], before.train_inputs)
    assert data.train_inputs[-1, :, 0, 0].tolist() == [255, 0, 0]
    assert data.train_targets[-1] == 1
    assert np.array_equal(data.test_inputs, before.test_inputs)
    assert data.digest() != before.digest()


def test_classes_alone_are_split_by_the_share_the_same_each_time(tmp_path, told):
    for k in range(50):
        save(Image.fromarray(noise(8, 8)), tmp_path / ("many" if k < 40 else "few") / f"{k}.png")
    data = prepare(f"folder:{tmp_path}")
    assert np.bincount(data.test_targets).tolist() == [2, 8]
    assert np.bincount(data.train_targets).tolist() == [8, 32]
    assert "10 of the 50 images" in told[0]
    every = {image.tobytes() for image in (*data.train_inputs, *data.test_inputs)}
    assert len(every) == 50
    assert decode(tmp_path).digest() == data.key
    assert len(decode(tmp_path, test_share=0.5).test_targets) == 25


def test_training_images_alone_are_split_too(pets):
    shutil.rmtree(pets / "test")
    data = decode(pets)
    assert (len(data.train_targets), len(data.test_targets)) == (10, 2)
    assert data.classes == ("cat", "dog")


def test_a_class_may_be_called_test(tmp_path):
    for k in range(6):
        save(Image.fromarray(noise(8, 8)), tmp_path / ("test", "train", "tram")[k % 3] / f"{k}.png")
    assert decode(tmp_path).classes == ("test", "train", "tram")


def test_images_in_folders_of_a_class_are_used_and_counted(pets, told):
    (pets / "train" / "cat" / "more" / "yet").mkdir(parents=True)
    for k, name in enumerate(("more/a.png", "more/yet/b.png")):
        (pets / "train" / "cat" / f"{k}.png").rename(pets / "train" / "cat" / name)
    (pets / "train" / "cat" / "more" / "back").symlink_to(pets / "train" / "cat")  # no way round for ever
    data = prepare(f"folder:{pets}")
    assert np.bincount(data.train_targets).tolist() == [6, 6]
    assert [sentence.startswith("2 images lie") for sentence in told] == [True]


def test_links_to_images_and_folders_are_followed(pets, tmp_path):
    before = decode(pets).digest()
    (pets / "train" / "cat").rename(tmp_path / "cats")
    (pets / "train" / "cat").symlink_to(tmp_path / "cats")
    (tmp_path / "cats" / "0.png").rename(tmp_path / "cat.png")
    (tmp_path / "cats" / "0.png").symlink_to(tmp_path / "cat.png")
    assert decode(pets).digest() == before


def test_junk_is_passed_over_in_silence_and_other_files_are_counted(pets, told):
    before = prepare(f"folder:{pets}").key
    for name in (".DS_Store", "Thumbs.db", "desktop.ini", "._0.png", ".hidden.png"):
        (pets / "train" / "cat" / name).write_bytes(b"?")
    save(Image.new("L", (3, 3)), pets / "train" / "__MACOSX" / "a.png")
    save(Image.new("L", (3, 3)), pets / "train" / ".cache" / "a.png")
    save(Image.new("L", (3, 3)), pets / "test" / "cat" / "@eaDir" / "a.png")
    assert prepare(f"folder:{pets}").key == before
    assert told == []
    for name in ("a.txt", "b.txt", "c.heic", "no_ending"):
        (pets / "test" / "dog" / name).write_bytes(b"?")
    save(Image.new("L", (3, 3)), pets / "train" / "beside.png")
    os.mkfifo(pets / "train" / "dog" / "pipe.png")  # whose reading would wait for ever
    assert prepare(f"folder:{pets}").key == before
    assert len(told) == 2
    assert all(words in told[0] for words in ("2 of .txt", "1 of .heic", "1 of no ending", "1 more"))
    assert "1 image beside" in told[1]
    told.clear()
    prepare(f"folder:{pets}")
    assert len(told) == 2, "what is found in the cache is told as well"


def test_folders_of_other_layouts_say_what_is_wrong(pets, tmp_path):
    assert "There is no folder" in refused(tmp_path / "nowhere")
    shutil.copytree(pets / "train" / "cat", pets / "test" / "bird")
    assert "'bird'" in refused(pets)
    shutil.rmtree(pets / "test" / "bird")
    shutil.copytree(pets / "train", pets / "Train")
    assert "Rename" in refused(pets)
    shutil.rmtree(pets / "Train")
    assert "`test_share`" in refused(pets, UsageError, test_share=0.5)
    (tmp_path / "deep").mkdir()
    pets = pets.rename(tmp_path / "deep" / "pets")
    assert f"data=folder:{pets}" in refused(tmp_path / "deep"), "one folder too high"
    shutil.rmtree(pets / "test")
    save(Image.new("L", (3, 3)), pets / "test" / "unsorted.png")
    assert f"data=folder:{pets / 'train'}" in refused(pets)
    shutil.rmtree(pets / "test")
    (pets / "train" / "dog").rename(tmp_path / "gone")
    assert "only the class 'cat'" in refused(pets)
    (pets / "train" / "dog").mkdir()
    assert "no images" in refused(pets)
    (pets / "train" / "dog" / "a.heic").write_bytes(b"?")
    assert "1 of .heic" in refused(pets)
    (pets / "train").rename(pets / "test")
    assert "train" in refused(pets)


# Modes


@pytest.mark.parametrize(
    ("mode", "ending", "how"),
    [
        ("1", ".png", {}), ("L", ".pgm", {}), ("RGB", ".ppm", {}), ("RGB", ".bmp", {}), ("RGB", ".tiff", {}),
        ("P", ".png", {}), ("P", ".gif", {}), ("CMYK", ".tiff", {}), ("CMYK", ".jpg", {"quality": 100}),
        ("YCbCr", ".tiff", {}), ("LAB", ".tiff", {}), ("RGB", ".webp", {"lossless": True}),
        ("RGB", ".tga", {}), ("RGB", ".qoi", {}), ("L", ".jp2", {}), ("RGBA", ".png", {}),
        ("LA", ".png", {}), ("RGB", ".avif", {}),
    ],
)  # fmt: skip
def test_every_mode_is_as_pillow_converts_it(four, mode, ending, how):
    image = smooth(9, 11)
    image = image.convert("RGB").convert("LA") if mode == "LA" else _in_mode(image, mode)
    root = four(image, ending=ending, **how)
    with Image.open(next(root.rglob(f"*{ending}"))) as opened:
        assert opened.mode in (mode, "RGB"), "else it is another mode that is tested"
        wanted = np.asarray(opened.convert("L" if mode in ("1", "L", "LA") else "RGB"))
    assert np.array_equal(first_of(root), np.atleast_3d(wanted).transpose(2, 0, 1))


def _in_mode(image: Image.Image, mode: str) -> Image.Image:
    if mode == "LAB":
        from PIL import ImageCms

        profiles = ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB")
        return ImageCms.profileToProfile(image, *profiles, outputMode="LAB")
    return image.convert(mode)


def test_one_image_in_colour_makes_all_colour_and_the_mode_decides(four):
    grey, colour = Image.new("L", (6, 6), 99), Image.new("RGB", (6, 6), (99, 99, 99))
    assert decode(four(grey)).input_shape == (1, 6, 6)
    for order in ((colour, grey), (grey, colour)):
        data = decode(four(*order))
        assert data.input_shape == (3, 6, 6)
        assert (data.train_inputs == 99).all()


def test_a_palette_is_in_colour_if_one_is_used(four):
    grey, red = Image.new("P", (6, 6), 1), Image.new("P", (6, 6), 2)
    for image in (grey, red):
        image.putpalette([0, 0, 0, 80, 80, 80, 255, 0, 0])
    assert first_of(four(grey, ending=".gif")).shape == (1, 6, 6)
    assert first_of(four(grey))[0, 0, 0] == 80
    assert first_of(four(red))[:, 0, 0].tolist() == [255, 0, 0]


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P"])
def test_what_is_transparent_is_white_and_told(four, told, mode):
    image = Image.new("RGBA", (6, 4), (0, 0, 0, 255))
    image.putpixel((1, 0), (0, 0, 0, 0))
    if mode == "P":
        image = Image.new("P", (6, 4), 0)
        image.putpalette([0, 0, 0, 9, 9, 9])
        image.putpixel((1, 0), 1)
        root = four(image, transparency=1)
    else:
        if mode == "RGBA":
            image.putpixel((2, 0), (255, 0, 0, 128))
        root = four(image.convert(mode))
    pixels = prepare(f"folder:{root}").train_inputs[0]
    assert pixels[:, 0, 1].tolist() == [255] * len(pixels)
    assert (pixels[:, 1:] == 0).all()
    if mode == "RGBA":
        assert abs(pixels[:, 0, 2].astype(int) - [255, 127, 127]).max() <= 1
    assert told[0].startswith("4 images are transparent")


def test_the_first_frame_of_an_animation_is_taken(four):
    first, second = Image.new("RGB", (6, 6), "red"), Image.new("RGB", (6, 6), "blue")
    for ending in (".gif", ".png", ".webp", ".tiff"):
        lossless = {"lossless": True} if ending == ".webp" else {}
        root = four(first, ending=ending, save_all=True, append_images=[second], **lossless)
        assert first_of(root)[:, 0, 0].tolist() == [255, 0, 0], ending


TURNS = {
    1: lambda a: a,
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.T,
    6: lambda a: np.rot90(a, -1),
    7: lambda a: a[::-1, ::-1].T,
    8: np.rot90,
}


@pytest.mark.parametrize("orientation", TURNS)
@pytest.mark.parametrize("ending", [".png", ".tiff", ".jpg", ".webp"])
def test_images_are_turned_as_exif_says(four, orientation, ending):
    pixels = np.zeros((16, 32), np.uint8)
    pixels[:8, :8], pixels[:8, 8:16] = 250, 120
    image = Image.fromarray(pixels)
    exif = image.getexif()
    exif[0x0112] = orientation
    how = {"lossless": True} if ending == ".webp" else {"quality": 100} if ending == ".jpg" else {}
    got = first_of(four(image, ending=ending, exif=exif, **how))[0]
    wanted = TURNS[orientation](pixels)
    assert got.shape == wanted.shape
    assert abs(got.astype(int) - wanted).max() <= 3


def test_an_image_on_its_side_has_the_size_it_has_upright(four):
    flat, tall = smooth(8, 12), smooth(12, 8)
    exif = flat.getexif()
    exif[0x0112] = 6
    root = four(flat, ending=".jpg", exif=exif)
    save(tall, root / "train" / "a" / "upright.png")
    assert decode(root).input_shape == (3, 12, 8)
    assert decode(root).notes == ()


def test_damaged_exif_is_no_damaged_image(four):
    root = four(smooth(8, 8), exif=b"Exif\0\0rubbish of some length")
    assert decode(root).input_shape == (3, 8, 8)


# Values that are no bytes


@pytest.mark.parametrize(
    ("values", "wanted", "said"),
    [
        (np.float32([0, 0.5, 1]), [0, 128, 255], "multiplied by 255"),
        (np.float32([0, 100, 254.6]), [0, 100, 255], "as they are"),
        (np.float32([0, 256, 65535]), [0, 1, 255], "divided by 256"),
        (np.float32([-1, 0, 1]), [0, 128, 255], "scaled"),
        (np.float32([0, 5e8, 1e9]), [0, 128, 255], "scaled"),
        (np.int32([0, 100, 255]), [0, 100, 255], "as they are"),
        (np.int32([0, 1, 1]), [0, 255, 255], "multiplied by 255"),
        (np.int32([0, 256, 65535]), [0, 1, 255], "divided by 256"),
        (np.int32([-1000, 0, 1000]), [0, 128, 255], "scaled"),
        (np.uint16([0, 256, 65535]), [0, 1, 255], ""),
        (np.uint16([0, 16, 4095]), [0, 1, 255], "divided by 16"),
    ],
)
def test_wide_values_are_scaled_by_the_range_of_the_whole_set(four, told, values, wanted, said):
    images = [Image.fromarray(np.full((5, 7), value)) for value in values]
    data = prepare(f"folder:{four(*images, images[0], ending='.tiff')}")
    assert data.input_shape == (1, 5, 7)
    got = [*data.train_inputs[:, 0, 0, 0], *data.test_inputs[:1, 0, 0, 0]]
    assert got == wanted
    assert [said in sentence for sentence in told] == [True] * bool(said)


def test_sixteen_bits_of_a_png_are_scaled_not_clipped(four):
    dark, light = (Image.fromarray(np.full((8, 8), value, np.uint16)) for value in (256, 65535))
    assert decode(four(dark, light)).train_inputs[:, 0, 0, 0].tolist() == [1, 255]


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_nan_and_infinity_are_refused_or_left_out(four, bad):
    root = four(Image.fromarray(np.float32([[0, 1]])), ending=".tiff")
    save(Image.fromarray(np.float32([[bad, 1]])), root / "train" / "a" / "bad.tiff")
    assert "bad.tiff (it holds NaN or infinity)" in refused(root)
    data = decode(root, skip_unreadable=True)
    assert data.train_inputs[0].ravel().tolist() == [0, 255]


def test_images_that_are_all_alike_are_told(four, told):
    prepare(f"folder:{four(Image.new('L', (5, 5)))}")
    assert [sentence.startswith("All images are alike") for sentence in told] == [True]


# Sizes


def resized(image: Image.Image, height: int, width: int) -> np.ndarray:
    """Bilinear with antialiasing, by another library."""
    tensor = torch.tensor(np.asarray(image)).permute(2, 0, 1)[None].float()
    size = {"size": (height, width), "mode": "bilinear", "antialias": True}
    return torch.nn.functional.interpolate(tensor, **size)[0].permute(1, 2, 0).numpy()


@pytest.mark.parametrize("ending", [".png", ".jpg"])
@pytest.mark.parametrize(
    ("shape", "size", "scaled", "pad"),
    [
        ((40, 40), (20, 20), (20, 20), (20, 20)),
        ((120, 60), (20, 20), (40, 20), (20, 10)),
        ((60, 240), (12, 24), (12, 48), (6, 24)),
        ((160, 32), (8, 16), (80, 16), (8, 2)),
        ((6, 12), (24, 24), (24, 48), (12, 24)),
    ],
)
def test_images_are_cropped_padded_or_stretched(four, shape, size, scaled, pad, ending):
    """``scaled`` is the size of which the centre is taken, ``pad`` the size within the borders."""
    image = smooth(*shape)
    root = four(image, ending=ending, **({"quality": 100, "subsampling": 0} if ending == ".jpg" else {}))
    height, width = size
    top, left = (scaled[0] - height) // 2, (scaled[1] - width) // 2
    seen = resized(image, *scaled)[top : top + height, left : left + width]
    padded = np.zeros((height, width, 3))
    top, left = (height - pad[0]) // 2, (width - pad[1]) // 2
    padded[top : top + pad[0], left : left + pad[1]] = resized(image, *pad)
    oracles = {"crop": seen, "pad": padded, "stretch": resized(image, *size)}
    for fit, oracle in oracles.items():
        got = first_of(root, image_size=f"{height}x{width}", fit=fit).transpose(1, 2, 0)
        off = abs(got - oracle)
        # Pillow rounds twice; JPEG is reduced as it is decoded, too, whose blocks are no triangles.
        assert (off.mean() < 4) if ending == ".jpg" else (off.max() <= 1.5), fit


@pytest.mark.parametrize("fit", ["crop", "pad", "stretch"])
def test_an_image_may_be_a_line(four, fit):
    assert decode(four(Image.new("L", (500, 1), 9)), image_size="4", fit=fit).input_shape == (1, 4, 4)


def test_reduction_does_not_alias(four):
    """Stripes of one pixel are grey from afar, not black or white."""
    stripes = np.zeros((64, 64), np.uint8)
    stripes[:, ::2] = 255
    got = first_of(four(Image.fromarray(stripes)), image_size="8")
    assert abs(got.astype(int) - 127).max() < 12


def test_a_centred_crop_and_black_borders(four):
    pixels = np.zeros((4, 10), np.uint8)
    pixels[:, 3:7] = 200
    assert (first_of(four(Image.fromarray(pixels)), image_size="4") == 200).all()
    padded = first_of(four(Image.new("L", (4, 2), 200)), image_size="4", fit="pad")[0]
    assert padded[:, 0].tolist() == [0, 200, 200, 0]


def test_the_size_of_most_is_that_of_all_and_others_are_told(pets, told):
    save(Image.new("RGB", (30, 20), "white"), pets / "train" / "cat" / "0.png")
    save(Image.new("RGB", (6, 5), "white"), pets / "train" / "dog" / "0.png")
    data = prepare(f"folder:{pets}")
    assert data.input_shape == (3, 10, 12)
    assert (data.train_inputs[0] == 255).all()
    assert len(told) == 2
    assert all(words in told[0] for words in ("2 images", "10×12", "fit=crop", "`image_size`"))
    assert all(words in told[1] for words in ("1 image is smaller", "enlarged"))


def test_sizes_without_a_majority_ask_for_one(four):
    root = four(Image.new("L", (30, 40)), Image.new("L", (90, 120)))
    said = refused(root, UsageError)
    assert all(words in said for words in ("2 sizes", "40×30", "120×90", "`image_size=64`"))
    data = decode(root, image_size="8x6")
    assert data.input_shape == (1, 8, 6)


def test_what_would_not_fit_into_memory_is_refused_before_it_is_decoded(pets, monkeypatch):
    monkeypatch.setattr(folder_module, "available_memory_bytes", lambda: 16 * 64 * 64 * 3)
    decode(pets, image_size="64")
    assert "`image_size=64`" in refused(pets, UsageError, image_size="65")


# Images that cannot be read


@pytest.fixture
def broken(pets):
    """Pets with five files that cannot be read, each for a reason of its own."""
    cat = pets / "train" / "cat"
    whole = (cat / "1.png").read_bytes()
    (cat / "0.png").write_bytes(b"")
    (cat / "1.png").write_bytes(whole[: len(whole) // 2])
    (cat / "2.png").unlink()
    (cat / "2.png").symlink_to(pets / "nowhere")
    (cat / "3.png").write_text("this is no image")
    save(smooth(200, 200), cat / "4.jpg", quality=95)
    large = (cat / "4.jpg").read_bytes()
    (cat / "4.jpg").write_bytes(large[: len(large) // 2])
    (cat / "4.png").unlink()
    return pets


FAULTS = ("cat/0.png (it is empty)", "cat/1.png", "cat/2.png (a link that leads nowhere)",
          "cat/3.png (it is no image)", "cat/4.jpg")  # fmt: skip


def test_images_that_cannot_be_read_are_named_at_once(broken):
    said = refused(broken, image_size="8")
    assert all(fault in said for fault in ("5 of the 16 images", *FAULTS, "`skip_unreadable=True`"))


def test_images_that_cannot_be_read_are_skipped_and_named(broken, told):
    whole = decode(broken.parent / "pets", skip_unreadable=True)
    assert np.bincount(whole.train_targets).tolist() == [1, 6]
    prepare(f"folder:{broken}", options=SourceOptions(skip_unreadable=True))
    assert all(fault in told[0] for fault in ("5 of the 16 images", *FAULTS))
    told.clear()
    prepare(f"folder:{broken}", options=SourceOptions(skip_unreadable=True))
    assert "5 of the 16" in told[0], "from the cache"
    for file in (broken / "train" / "cat").iterdir():
        file.unlink()
        file.write_bytes(b"")
    assert "class 'cat'" in refused(broken, skip_unreadable=True)


@pytest.mark.parametrize("split", ["val", "test"])
def test_a_split_of_which_nothing_can_be_read_is_refused(pets, split):
    shutil.copytree(pets / "test", pets / "val")
    for file in (pets / split).rglob("*.png"):
        file.write_bytes(b"")
    assert split in refused(pets, skip_unreadable=True)


def test_a_link_that_broke_is_no_longer_what_is_in_the_cache(pets, tmp_path):
    file = pets / "train" / "cat" / "0.png"
    file.rename(tmp_path / "elsewhere.png")
    file.symlink_to(tmp_path / "elsewhere.png")
    prepare(f"folder:{pets}")
    (tmp_path / "elsewhere.png").unlink()
    assert "cat/0.png" in refused(pets)


def test_nothing_but_dead_links_is_said(four):
    root = four(Image.new("L", (5, 5)))
    for file in root.rglob("*.png"):
        file.unlink()
        file.symlink_to("nowhere")
    assert "lead nowhere" in refused(root)


ODD = settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@ODD
@given(at=st.integers(0, 120), rubbish=st.binary(max_size=30), cut=st.booleans())
def test_damaged_images_are_read_or_refused_in_a_sentence(pets, at, rubbish, cut):
    file = sorted((pets / "train" / "cat").iterdir())[0]
    whole = file.read_bytes()
    file.write_bytes(whole[:at] + rubbish + (b"" if cut else whole[at + len(rubbish) :]))
    with contextlib.suppress(DropbenchError):
        decode(pets)
    file.write_bytes(whole)


# Around it


def test_progress_is_reported_to_the_end(pets):
    seen = []
    with progress.shown_by(lambda *told: seen.append(told)):
        decode(pets)
    assert {what for what, _, _ in seen} == {"looking at images", "reading images"}
    assert [(done, total) for what, done, total in seen if what == "reading images"][-1] == (16, 16)


@pytest.mark.parametrize("setting", ["data", "ood"])
def test_a_folder_without_its_prefix_is_told_what_to_write(pets, blobs, setting):
    with pytest.raises(UsageError, match=f"`{setting}=folder:{pets}`"):
        prepare(str(pets)) if setting == "data" else ood_key(str(pets), blobs, None)


def test_a_file_is_told_the_form_of_its_ending(tmp_path, monkeypatch):
    form = registry.Form("xyz", "FILE", "", "", ImageFolder, endings=(".xyz", ".xyz.gz"))
    monkeypatch.setitem(registry.FORMS, "xyz", form)
    for name in ("a.XYZ", "b.xyz.gz"):
        (tmp_path / name).write_bytes(b"")
        with pytest.raises(UsageError, match=f"`data=xyz:{tmp_path / name}`"):
            prepare(str(tmp_path / name))
    with pytest.raises(UsageError, match="Known"):
        prepare(str(tmp_path / "c.xyz"))


def test_out_of_distribution_images_of_a_folder_have_the_size_of_the_data(pets, blobs, four):
    with pytest.raises(UsageError, match="3×8×8"):
        ood_key(f"folder:{pets}", blobs, None)
    grey = four(Image.new("L", (50, 40), 7), Image.new("L", (5, 4), 9))
    key = ood_key(f"folder:{grey}", blobs, None)
    assert key == prepare(f"folder:{grey}", options=SourceOptions(image_size="8")).key
