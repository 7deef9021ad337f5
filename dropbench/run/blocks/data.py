"""The data that a run is trained on."""

from dataclasses import dataclass

from dropbench.run.blocks.model import OF_CLASSIFIERS
from dropbench.run.grammar import parse_train_sizes
from dropbench.run.setting import COUNT, Block, setting

PANEL = "Data"
PIXELS = ("standardised", "unit")


@dataclass(frozen=True, kw_only=True)
class DataSettings(Block):
    """The data set and how much of it."""

    name: str = setting(
        "mnist5k",
        name="data",
        help="Data set; a folder of images is folder: and its path, as it was told.",
        words="on {}",
        always=True,
    )
    key: str = setting(
        "", name="data_key", help="Digest of the images and labels: what the net sees, whatever its name."
    )
    train_size: int | None = setting(
        None,
        help="Train on this many images, stratified, after the validation split.",
        flag="--train-size",
        panel=PANEL,
        says_default="all",
        empty="all",
        parse=parse_train_sizes,
        range=COUNT,
        axis=4,
        title="train size",
        label="training images",
        words="{} training images",
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
