"""The data that a run is trained on."""

from dataclasses import dataclass
from typing import Any

from dropbench.catalog.models import IMAGES, INPUTS, TABLE
from dropbench.errors import UsageError
from dropbench.run.blocks.model import OF_CLASSIFIERS
from dropbench.run.grammar import parse_augmentations, parse_train_sizes
from dropbench.run.setting import COUNT, Block, Range, setting

PANEL = "Data"
PIXELS = ("standardised", "unit")
TASKS = CLASSIFICATION, REGRESSION = ("classification", "regression")
FITS = CROP, PAD, STRETCH = ("crop", "pad", "stretch")
AUGMENTATIONS = ("flip", "crop")
NO_AUGMENTATION = "none"
TEST_SHARE = 0.2
PREPARE, PREDICT = "data prepare", "predict"
"""The commands that train nothing and take what says how data are made of their source."""
OF_SOURCES = (*OF_CLASSIFIERS, PREPARE, PREDICT)


def _size_text(size: Any) -> Any:
    """The text of a size that is a number, or height and width, as in Python; of anything else, itself."""
    sides = size if isinstance(size, tuple | list) else (size,)
    numbers = all(isinstance(side, int) and not isinstance(side, bool) for side in sides)
    return "x".join(map(str, sides)) if numbers and len(sides) in (1, 2) else size


@dataclass(frozen=True, kw_only=True)
class DataSettings(Block):
    """The data set, how it is made of its source, and how much of it a run sees."""

    name: str = setting(
        "mnist5k",
        name="data",
        help="Data set; one of your own has the form of its source and its path, as it was told.",
        words="on {}",
        always=True,
        of_source=True,
    )
    key: str = setting(
        "", name="data_key", help="Digest of inputs and targets: what the net sees, whatever its name."
    )
    inputs: str = setting(
        IMAGES,
        help="What a net is given: images, or the columns of a table.",
        choices=INPUTS,
        words="{}",
        of_source=True,
        since="0.2",
    )
    task: str = setting(
        CLASSIFICATION,
        help="classification: the target is a class. regression: it is a number.",
        flag="--task",
        panel=PANEL,
        commands=OF_SOURCES,
        choices=TASKS,
        words="{}",
        of_source=True,
        since="0.2",
    )
    target: str = setting(
        "",
        help="Column of a table that is to be predicted.",
        flag="--target",
        panel=PANEL,
        commands=OF_SOURCES,
        words="target {}",
        of_source=True,
        since="0.2",
    )
    test_file: str = setting(
        "",
        help="File with the test rows of a table.",
        flag="--test-file",
        panel=PANEL,
        commands=OF_SOURCES,
        says_default="a share of the rows",
        words="test rows of {}",
        of_source=True,
        since="0.2",
    )
    test_share: float = setting(
        TEST_SHARE,
        help="Share of the examples that are the test split, stratified and the same for all seeds, of data "
        "that have no test split of their own.",
        flag="--test-share",
        panel=PANEL,
        commands=OF_SOURCES,
        range=Range(above=0, below=1, hint="Write a share between 0 and 1, like 0.2."),
        words="test share {}",
        of_source=True,
        since="0.2",
    )
    image_size: str = setting(
        "",
        help="Height and width of your own images in pixels, like 64 or 64x96.",
        canonical=_size_text,
        flag="--image-size",
        panel=PANEL,
        says_default="that of most images",
        words="images of {}",
        of_source=True,
        since="0.2",
    )
    fit: str = setting(
        CROP,
        help="What is done to images of another shape. crop: the centre is taken; pad: black is added; "
        "stretch: height and width are scaled apart.",
        flag="--fit",
        panel=PANEL,
        choices=FITS,
        words="fit by {}",
        of_source=True,
        since="0.2",
    )
    skip_unreadable: bool = setting(
        False,
        help="Leave out images that cannot be read, and name them.",
        flag="--skip-unreadable",
        panel=PANEL,
        title="without unreadable images",
        of_source=True,
        since="0.2",
    )
    train_size: int | None = setting(
        None,
        help="Train on this many examples, stratified, after the validation split.",
        flag="--train-size",
        panel=PANEL,
        says_default="all",
        empty="all",
        parse=parse_train_sizes,
        range=COUNT,
        axis=4,
        title="train size",
        label="training examples",
        words="{} training examples",
    )
    pixels: str = setting(
        "standardised",
        help="standardised: each channel of the training images has mean 0 and variance 1. unit: values from "
        "0 to 1, as in the 2014 paper, so that dropping a black pixel changes nothing.",
        flag="--pixels",
        panel=PANEL,
        commands=OF_CLASSIFIERS,
        choices=PIXELS,
        words="{} pixels",
        since="0.2",
    )
    augment: str = setting(
        NO_AUGMENTATION,
        help="Change each training image at random in each epoch. flip: left and right, half of the time; "
        "crop: move it by up to an eighth of its size, with black around it; flip,crop: both.",
        flag="--augment",
        panel=PANEL,
        commands=OF_CLASSIFIERS,
        parse=parse_augmentations,
        write="/".join,
        axis=14,
        title="augmentation",
        words="augmentation {}",
        since="0.2",
    )

    def check(self) -> None:
        """Refuse augmentations that there are not, and what only images have."""
        if self.augment not in (NO_AUGMENTATION, *AUGMENTATIONS, ",".join(AUGMENTATIONS)):
            raise UsageError(f"`augment` is {self.augment!r}.", "Write none, flip, crop or flip,crop.")
        if self.inputs == TABLE:
            for name, value in (("augment", self.augment), ("pixels", self.pixels)):
                if value not in (NO_AUGMENTATION, "standardised"):
                    raise UsageError(f"A table has no images for `{name}`.", f"Leave out `{name}`.")
