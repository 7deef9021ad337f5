"""Reading one image: what its file says of it, and its pixels as bytes of the size that is wanted."""

import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import ExifTags, Image, ImageOps, UnidentifiedImageError

from dropbench.datasets.images.rescaling import Range
from dropbench.run.blocks.data import CROP, PAD

BYTES = ""
"""The wide values of images that have none: their values are bytes."""
WIDE = {"I;16": "16-bit integers", "I": "32-bit integers", "F": "floating-point numbers"}
"""Kinds of values that are no bytes, in words."""
_GREY = ("1", "L", "LA", "La")
_PALETTES = ("P", "PA")
_TURNED = (5, 6, 7, 8)  # of EXIF's orientations, those that exchange height and width
_SMALL = 128 * 128  # pixels of an image whose decoding takes hardly longer than opening its file
# Convolution with a triangle as wide as the reduction, so that nothing aliases; torchvision's default, too.
# Lanczos is sharper, and has overshoots along edges, which are none of the photograph's.
_FILTER = Image.Resampling.BILINEAR


class UnreadableError(Exception):
    """An image cannot be read; its text says why, in a few words."""


@dataclass(frozen=True, slots=True)
class Photo:
    """The facts about an image that are known before it is made an example."""

    size: tuple[int, int]
    """Width and height in pixels, when it is upright."""
    colour: bool
    wide: str = BYTES
    """BYTES, or the kind of its values, one of WIDE."""
    range: Range | None = None
    """The range of wide values."""
    turned: bool = False
    """Whether EXIF says that it is to be turned or mirrored."""
    kept: np.ndarray | None = None
    """Its pixels ``(height, width)`` or ``(height, width, 3)``, where it was decoded at once."""


class Wanted(NamedTuple):
    """The form in which all images of a set are wanted."""

    size: tuple[int, int]
    """Width and height in pixels."""
    channels: int
    fit: str
    ranges: Mapping[str, Range]
    """The range of the whole set, for each kind of wide values in it."""


class Made(NamedTuple):
    """An example, and what was done to the image for it."""

    pixels: np.ndarray
    """uint8 ``(height, width)`` or ``(height, width, 3)``."""
    resized: bool = False
    enlarged: bool = False
    transparent: bool = False
    """Whether a part was transparent, and is white now."""


@contextmanager
def pillow_is_quiet() -> Iterator[None]:
    """Keep what Pillow warns of to itself: tags that are damaged, images that are large."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module="PIL")
        yield


def look(file: Path, keep: bool) -> Photo:
    """Look at an image; with ``keep`` one that is small and plain is decoded at once.

    Raises:
        UnreadableError: if it cannot be read.

    """
    with _opened(file) as image:
        orientation = _orientation(image)
        wide = _wide_values(image)
        size, mode = image.size, image.mode
        if orientation in _TURNED and image.format != "TIFF":  # which has exchanged them already
            size = size[1], size[0]
        range_ = None
        if wide:
            range_ = Range.of(np.asarray(image))
            if not range_.finite:
                raise UnreadableError("it holds NaN or infinity")
        turned = orientation in range(2, 9)
        plain = mode in ("L", "RGB") and not turned and not image.has_transparency_data
        kept = np.asarray(image) if keep and plain and size[0] * size[1] <= _SMALL else None
        return Photo(size, not wide and _has_colours(image), wide, range_, turned, kept)


def make(file: Path, photo: Photo, wanted: Wanted) -> Made:
    """Read the pixels of an image as they are wanted.

    Raises:
        UnreadableError: if it cannot be read.

    """
    if photo.kept is not None:
        if photo.size == wanted.size and photo.colour == (wanted.channels == 3):
            return Made(photo.kept)
        image, transparent = _converted(Image.fromarray(photo.kept), wanted)
    else:
        with _opened(file) as opened:
            scale = max(_scales(photo.size, wanted))
            if opened.format in ("JPEG", "MPO") and scale < 1:
                # libjpeg halves images as it decodes them, which is faster; twice the size is left.
                across, down = (2 * max(1, round(scale * side)) for side in opened.size)
                opened.draft(None, (across, down))
            if photo.turned:
                ImageOps.exif_transpose(opened, in_place=True)
            image = opened
            if photo.wide:
                image = Image.fromarray(wanted.ranges[photo.wide].as_bytes(np.asarray(opened)))
            image, transparent = _converted(image, wanted)
    enlarged = max(_scales(photo.size, wanted)) > 1
    return Made(np.asarray(_fitted(image, wanted)), photo.size != wanted.size, enlarged, transparent)


@contextmanager
def _opened(file: Path) -> Iterator[Image.Image]:
    try:
        # A stream: Pillow maps a TIFF that it opens by name, and mistakes the rows of one on its side.
        with file.open("rb") as stream, Image.open(stream) as image:
            yield image
    except UnreadableError:
        raise
    except FileNotFoundError:
        raise UnreadableError("a link that leads nowhere" if file.is_symlink() else "it is gone") from None
    except Exception as error:  # a damaged file can make Pillow raise anything
        raise UnreadableError(_reason(file, error)) from error


def _reason(file: Path, error: Exception) -> str:
    if file.stat().st_size == 0:
        return "it is empty"
    if isinstance(error, UnidentifiedImageError):
        return "it is no image"
    return (isinstance(error, OSError) and error.strerror) or str(error) or type(error).__name__


def _orientation(image: Image.Image) -> int:
    """Return the orientation that EXIF tells, from 1 to 8; 1 is upright."""
    try:
        return int(image.getexif().get(ExifTags.Base.Orientation, 1))
    except Exception:  # damaged tags say nothing, and the pixels beside them are read all the same
        return 1


def _wide_values(image: Image.Image) -> str:
    """The kind of values that are no bytes."""
    if image.mode.startswith("I;16") or (image.mode == "I" and image.format == "PPM"):
        return "I;16"
    return image.mode if image.mode in WIDE else BYTES


def _has_colours(image: Image.Image) -> bool:
    """Whether an image can hold colours, by its mode; of a palette, whether any that it uses is one."""
    if image.mode in _PALETTES:
        image.load()
        used = {index for _, index in image.getcolors() or ()} if image.mode == "P" else set(range(256))
        colours = np.frombuffer(bytes(image.getpalette("RGB") or ()), np.uint8).reshape(-1, 3)
        return any(len(set(colour)) > 1 for index, colour in enumerate(colours.tolist()) if index in used)
    return image.mode not in _GREY


def _converted(image: Image.Image, wanted: Wanted) -> tuple[Image.Image, bool]:
    """An image in grey or colour, on white where it is transparent, and whether that is anywhere."""
    mode = "L" if wanted.channels == 1 else "RGB"
    if not image.has_transparency_data:
        return image.convert(mode), False
    if image.mode == "La":
        image = image.convert("LA")
    image = image.convert("RGBA")
    transparent = bool(np.asarray(image.getchannel("A")).min() < 255)
    on_white = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return on_white.convert(mode), transparent


def _scales(size: tuple[int, int], wanted: Wanted) -> tuple[float, float]:
    """By how much width and height are scaled."""
    across, down = (new / old for new, old in zip(wanted.size, size, strict=True))
    if wanted.fit == CROP:
        across = down = max(across, down)
    elif wanted.fit == PAD:
        across = down = min(across, down)
    return across, down


def _fitted(image: Image.Image, wanted: Wanted) -> Image.Image:
    """An image in the size that is wanted."""
    if image.size == wanted.size:
        return image
    if wanted.fit == CROP:
        return ImageOps.fit(image, wanted.size, _FILTER)
    if wanted.fit == PAD:  # ImageOps.pad refuses an image whose shorter side would have no pixel left
        scales = _scales(image.size, wanted)
        width, height = (max(1, round(old * scale)) for old, scale in zip(image.size, scales, strict=True))
        padded = Image.new(image.mode, wanted.size)
        padded.paste(
            image.resize((width, height), _FILTER),
            ((wanted.size[0] - width) // 2, (wanted.size[1] - height) // 2),
        )
        return padded
    return image.resize(wanted.size, _FILTER)
