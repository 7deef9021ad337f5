"""Which repetition of a setting a run is."""

from dataclasses import dataclass

from dropbench.run.setting import NOT_NEGATIVE, Block, setting


@dataclass(frozen=True, kw_only=True)
class RepetitionSettings(Block):
    """Seed and member; runs that differ in nothing else are repetitions of one setting."""

    seed: int = setting(
        0,
        help="Master seed of every random stream.",
        flag="--seed",
        panel="Training",
        commands=("train",),
        range=NOT_NEGATIVE,
        groups=False,
        words="seed {}",
    )
    member: int = setting(
        0,
        help="Number of the net in its ensemble, from 0. Members share the splits; weights, order, masks and "
        "bootstrap are each member's own.",
        range=NOT_NEGATIVE,
        groups=False,
        words="member {}",
    )
    bootstrap: bool = setting(
        False,
        help="Train on a bootstrap of the training split: drawn once, with replacement, duplicates kept.",
        groups=False,
    )
