"""Dropout: the variant, where and how much, and when."""

from dataclasses import dataclass
from decimal import Decimal

from dropbench.catalog.dropouts import VARIANTS
from dropbench.errors import UsageError
from dropbench.run.blocks.model import OF_CLASSIFIERS
from dropbench.run.grammar import parse_names, parse_probabilities
from dropbench.run.setting import COUNT, DROP_PROBABILITY, NOT_NEGATIVE, Block, setting

PANEL = "Dropout (p is the probability of DROPPING a unit)"
CONVENTIONS = ("inverted", "weight-scaling")
PROBABILITIES = {
    "hidden": "p_drop",
    "input": "p_drop_input",
    "conv": "p_drop_conv",
    "head": "p_drop_head",
    "residual": "p_drop_residual",
}
"""The setting with the drop probability of each kind of site."""
SITES = ("input", "conv", "hidden")
"""The kinds of sites that dropbench's own nets and the user's have; those of libraries have others, too."""
OF_LIBRARIES = ("p_drop_head", "p_drop_residual")
"""The settings of the sites that only nets of libraries have."""
MT19937, PHILOX = RANDOM_NUMBERS = ("mt19937", "philox")
SCHEDULES = ("constant", "early", "late", "ramp")


@dataclass(frozen=True, kw_only=True)
class DropoutSettings(Block):
    """Everything of dropout; each p is a probability of *dropping* a unit."""

    p_drop: float = setting(
        0.0,
        help="Probability of dropping a hidden unit, in the fully connected layers.",
        flag="--p",
        panel=PANEL,
        parse=parse_probabilities,
        range=DROP_PROBABILITY,
        axis=1,
        title="p_drop",
        label="p_drop, probability of dropping a hidden unit",
        words="p_drop {}",
    )
    p_drop_input: float = setting(
        0.0,
        help="Probability of dropping an input value.",
        flag="--p-input",
        panel=PANEL,
        parse=parse_probabilities,
        range=DROP_PROBABILITY,
        axis=2,
        title="p_drop input",
        label="p_drop at the input",
        words="p_drop {} at the input",
    )
    p_drop_conv: float = setting(
        0.0,
        help="Probability of dropping a unit after each convolution block.",
        flag="--p-conv",
        panel=PANEL,
        commands=OF_CLASSIFIERS,
        parse=parse_probabilities,
        range=DROP_PROBABILITY,
        axis=3,
        title="p_drop conv",
        label="p_drop after the convolutions",
        words="p_drop {} after convolutions",
    )
    p_drop_head: float = setting(
        0.0,
        help="Probability of dropping a unit that goes into the classifier of a net of torchvision or timm.",
        flag="--p-head",
        says_default="0",
        panel=PANEL,
        commands=OF_CLASSIFIERS,
        parse=parse_probabilities,
        range=DROP_PROBABILITY,
        axis=15,
        title="p_drop head",
        label="p_drop at the classifier's input",
        words="p_drop {} at the head",
        since="0.2",
    )
    p_drop_residual: float = setting(
        0.0,
        help="Largest probability of leaving out a residual branch for an example (stochastic depth, Huang "
        "et al. 2016), in nets of torchvision and timm that have it and in torchvision's ResNets; other "
        "branches have their share of it.",
        flag="--p-residual",
        says_default="0",
        panel=PANEL,
        commands=OF_CLASSIFIERS,
        parse=parse_probabilities,
        range=DROP_PROBABILITY,
        axis=16,
        title="p_drop residual",
        label="p_drop of the deepest residual branch",
        words="p_drop {} of residual branches",
        since="0.2",
    )
    variant: str = setting(
        "bernoulli",
        name="dropout",
        help="; ".join(f"{name}: {variant.summary}" for name, variant in VARIANTS.items())
        + "; or package.module:Class or file.py:Class, a torch module made by Class(p).",
        flag="--dropout",
        panel=PANEL,
        parse=parse_names,
        choices=tuple(VARIANTS),
        open_ended=True,
        of_dropout=True,
        axis=7,
        words="{}",
    )
    key: str = setting(
        "",
        name="dropout_key",
        help="Digest of the source of a dropout of your own; else empty.",
        of_dropout=True,
        axis=8,
        title="dropout's source",
    )
    convention: str = setting(
        "inverted",
        help="inverted: divide kept units by 1 − p in training. weight-scaling: multiply all units by 1 − p "
        "at test.",
        flag="--convention",
        panel=PANEL,
        commands=("train", "sweep", "find"),
        choices=CONVENTIONS,
        of_dropout=True,
        axis=6,
        words="{}",
    )
    schedule: str = setting(
        "constant",
        name="dropout_schedule",
        help="When units are dropped. constant: always; early: up to the cutoff epoch; late: after it; ramp: "
        "p rises linearly from 0 and reaches its value in that epoch.",
        flag="--schedule",
        panel=PANEL,
        parse=parse_names,
        choices=SCHEDULES,
        of_dropout=True,
        axis=9,
        title="schedule",
        words="{} dropout",
    )
    cutoff_epoch: int | None = setting(
        None,
        help="Epoch, counted from 1, at which the schedule changes.",
        flag="--cutoff-epoch",
        panel=PANEL,
        says_default="half of the epochs; the last one for ramp",
        range=COUNT,
        of_dropout=True,
        axis=10,
        title="cutoff epoch",
        words="cutoff epoch {}",
    )
    widened: bool = setting(
        False,
        help="Give layers n/(1 − p) units, so that n of them are kept on average (Srivastava et al. 2014, "
        "appendix A).",
        flag="--widen",
        panel=PANEL,
        commands=OF_CLASSIFIERS,
        of_dropout=True,
        axis=12,
    )
    thinned: bool = setting(
        False,
        help="One mask for the whole run, in training and at test: a thinned net with weights of its own.",
        of_dropout=True,
    )
    boosting: bool = setting(
        False,
        name="joint",
        help="Dropout boosting: trained for the likelihood of the averaged prediction (Warde-Farley et al. "
        "2014).",
        of_dropout=True,
        title="boosting",
    )
    mc_samples: int = setting(
        0,
        help="Passes with fresh masks whose averaged predictions are kept (Monte-Carlo dropout); 0: none.",
        range=NOT_NEGATIVE,
        groups=False,
    )
    random_numbers: str = setting(
        MT19937,
        help="Where noise is drawn from. philox: Philox4x32-10, by counter; mt19937: torch's generators up "
        "to version 0.1. Runs with mt19937 are shown, but none is trained.",
        choices=RANDOM_NUMBERS,
        of_dropout=True,
        today=PHILOX,
        words="masks by {}",
        since="0.2",
    )

    def check(self) -> None:
        """Refuse a cutoff epoch without a schedule, and more than one mask for a thinned net."""
        if self.schedule == "constant" and self.cutoff_epoch is not None:
            raise UsageError(
                "A constant schedule has no cutoff epoch.", "Add `dropout_schedule=early`, late or ramp."
            )
        if self.mc_samples and self.schedule == "early":
            raise UsageError(
                "With early dropout the net ends without masks, so there are none to average over.",
                "Leave out the Monte-Carlo samples, or use another `dropout_schedule`.",
            )
        if self.thinned and self.drops:
            if self.variant != "bernoulli" or self.schedule != "constant":
                raise UsageError(
                    "A thinned net has one Bernoulli mask for the whole run.",
                    "Leave out `dropout` and `dropout_schedule`, or the arm untied.",
                )
            if self.mc_samples or self.boosting:
                raise UsageError("A thinned net has one mask: there is nothing to average over.")
            if self.p_drop_residual:
                raise UsageError(
                    "Residual branches are left out by the example, and a thinned net has one mask for all.",
                    "Leave out `p_drop_residual`, or the arm untied.",
                )

    @property
    def drops(self) -> bool:
        """Whether any unit is ever dropped anywhere."""
        return any(self.p_at(site) for site in PROBABILITIES)

    @property
    def p_keep(self) -> float:
        """Probability of *keeping* a hidden unit, 1 − p_drop as an exact decimal (the 2014 paper's p)."""
        return float(1 - Decimal(repr(self.p_drop)))

    def p_at(self, site: str) -> float:
        """Probability of dropping a unit at ``site``, one of PROBABILITIES."""
        p: float = getattr(self, PROBABILITIES[site])
        return p
