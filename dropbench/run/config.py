"""RunConfig: the whole identity of one training run, and the short hash of it that names the run."""

import hashlib
import json
from dataclasses import MISSING, dataclass, fields
from decimal import Decimal
from functools import cached_property
from typing import Any

from dropbench.catalog.dropouts import VARIANTS, variant_of
from dropbench.catalog.models import Recipe, recipe_of
from dropbench.errors import UsageError, unknown_name

CONVENTIONS = ("inverted", "weight-scaling")
SITES = ("input", "conv", "hidden")
DROPOUT_SCHEDULES = ("constant", "early", "late", "ramp")
LEARNING_RATE_SCHEDULES = ("one-cycle", "cosine")
ACTIVATIONS = ("relu", "logistic", "selu", "maxout")
PRECISIONS = ("fp32", "tf32", "bf16")

# Stands for "whatever the model's recipe says"; __post_init__ puts the number in its place.
_FROM_RECIPE: Any = None
_RECIPE_FIELDS = (
    "layers",
    "epochs",
    "batch_size",
    "learning_rate",
    "learning_rate_schedule",
    "momentum",
    "weight_decay",
)
_PIECES, _SPARSITY_TARGET = 5, 0.05
# What changes nothing where nothing is dropped.
_OF_DROPOUT = (
    "convention",
    "dropout",
    "dropout_key",
    "dropout_schedule",
    "cutoff_epoch",
    "thinned",
    "joint",
    "widened",
)


@dataclass(frozen=True, kw_only=True)
class RunConfig:
    """Everything that changes the numbers of a run; fields left out follow the model's recipe.

    ``p_drop``, ``p_drop_input`` and ``p_drop_conv`` are probabilities of *dropping* a unit, at the fully
    connected layers, the input and the convolutions. What does not change the meaning of the numbers
    (device, threads, jobs, folders) is no field of this class.

    Raises:
        UsageError: if a value is out of its range or does not fit the model.

    """

    data: str = "mnist5k"
    data_key: str = ""
    """Digest of the images and labels; with it, ``data`` is only their name (see dropbench.data)."""
    train_size: int | None = None
    """Images to train on, stratified; None is all that the validation split leaves."""
    model: str = "lecture-cnn"
    layers: tuple[int, ...] = _FROM_RECIPE
    activation: str = "relu"
    pieces: int = _PIECES
    """Of a maxout unit, the linear functions that it is the largest of (Goodfellow et al. 2013)."""
    p_drop: float = 0.0
    p_drop_input: float = 0.0
    p_drop_conv: float = 0.0
    convention: str = "inverted"
    widened: bool = False
    """Layers have n/(1 − p) units, so that n are kept on average (Srivastava et al. 2014, app. A)."""
    max_norm: float | None = None
    l1: float = 0.0
    """Times the sum of the weights' sizes, added to the mean loss; weight_decay/2 is that of squares."""
    kl_sparsity: float = 0.0
    """Times a divergence of the hidden units' mean activations from sparsity_target (see
    dropbench.engine.penalties)."""
    sparsity_target: float = _SPARSITY_TARGET
    epochs: int = _FROM_RECIPE
    batch_size: int = _FROM_RECIPE
    learning_rate: float = _FROM_RECIPE
    learning_rate_schedule: str = _FROM_RECIPE
    momentum: float = _FROM_RECIPE
    weight_decay: float = _FROM_RECIPE
    precision: str = "fp32"
    seed: int = 0
    member: int = 0
    """Which member of an ensemble: same splits as member 0, its own weights, order, masks, bootstrap."""
    bootstrap: bool = False
    """Train on a bootstrap of the training split: drawn once, with replacement, duplicates kept."""
    dropout: str = "bernoulli"
    """The variant, or ``package.module:Class``; p_drop of those that set nothing to zero stands for their
    variance p/(1 − p), and is where those begin that learn their rate."""
    dropout_key: str = ""
    """Digest of the source of a dropout of the user's own (see dropbench.catalog.own_code)."""
    model_key: str = ""
    """Likewise of a model of the user's own."""
    dropout_schedule: str = "constant"
    """When there is dropout: ``constant``, ``early`` (up to the cutoff epoch, then none), ``late`` (none up
    to it), or ``ramp`` (p rises linearly from 0 to its value in the cutoff epoch)."""
    cutoff_epoch: int | None = None
    """Counted from 1; None is half of the epochs, and the last one for ``ramp``."""
    tied: bool = False
    """Of the autoencoder: the decoder's weights are the encoder's, transposed."""
    mc_samples: int = 0
    """Passes with masks whose mean predictions are kept beside the deterministic one; see mc_ladder."""
    thinned: bool = False
    """One mask for the whole run, in training and at test: a thinned net with weights of its own."""
    joint: bool = False
    """Dropout's noise, trained for the joint likelihood of the averaged prediction: dropout boosting
    (Warde-Farley et al. 2014; see dropbench.engine.boosting)."""
    snapshots: int = 0
    """Cycles of the learning rate; the net at the end of each is a member of a snapshot ensemble (Huang et
    al. 2017). 0 is one schedule and one net."""
    width: float = 1.0
    """What the numbers of hidden units and channels are multiplied by."""

    def __post_init__(self) -> None:
        recipe = recipe_of(self.model)
        for name in _RECIPE_FIELDS:
            if getattr(self, name) is None:
                object.__setattr__(self, name, getattr(recipe, name))
        for field in fields(self):  # 3 and 3.0 are one setting and must give one run_id
            value = getattr(self, field.name)
            if field.type in (float, float | None) and isinstance(value, int):
                object.__setattr__(self, field.name, float(value))
        self._check_choices()
        self._check_ranges()
        self._check_dropout(recipe)
        self._check_units(recipe)
        self._check_schedule()
        if not recipe.layers and self.layers:
            raise UsageError(
                f"The model {self.model} has fixed layers.", "Leave out --layers, or use --model mlp."
            )
        if any(width < 1 for width in self.layers):
            raise UsageError(f"layers = {self.layers}.", "Every layer needs 1 unit or more.")
        if self.tied and self.model != "autoencoder":
            raise UsageError(f"The model {self.model} has no weights to tie.", "Leave out --tied.")
        self._check_member(recipe)

    def _check_choices(self) -> None:
        for name, known in (
            ("convention", CONVENTIONS),
            ("dropout_schedule", DROPOUT_SCHEDULES),
            ("learning_rate_schedule", LEARNING_RATE_SCHEDULES),
            ("activation", ACTIVATIONS),
            ("precision", PRECISIONS),
        ):
            if getattr(self, name) not in known:
                raise unknown_name(name.replace("_", " "), getattr(self, name), known)

    def _check_ranges(self) -> None:
        for name in ("p_drop", "p_drop_input", "p_drop_conv"):
            if not 0 <= getattr(self, name) < 1:  # also catches NaN
                raise UsageError(
                    f"{name} = {getattr(self, name)} is no drop probability.",
                    "p is the probability of dropping a unit: at least 0 and below 1.",
                )
        for name, least in (
            *(("epochs", 1), ("batch_size", 1), ("pieces", 1)),
            *((name, 0) for name in ("seed", "member", "mc_samples", "snapshots")),
        ):
            if getattr(self, name) < least:
                raise UsageError(f"{name} = {getattr(self, name)}.", f"Write {least} or more.")
        if self.train_size is not None and self.train_size < 1:
            raise UsageError(f"train_size = {self.train_size}.", "Write 1 or more.")
        if not 0 < self.learning_rate < float("inf"):
            raise UsageError(f"learning_rate = {self.learning_rate}.", "Write a number above 0.")
        if not 0 <= self.momentum < 1:
            raise UsageError(f"momentum = {self.momentum}.", "Write a number from 0 up to, not including, 1.")
        for name in ("weight_decay", "l1", "kl_sparsity"):
            if not 0 <= getattr(self, name) < float("inf"):
                raise UsageError(f"{name} = {getattr(self, name)}.", "Write 0 or more.")
        if self.max_norm is not None and not 0 < self.max_norm < float("inf"):
            raise UsageError(f"max_norm = {self.max_norm}.", "Write a bound above 0, like 3.")

    def _check_dropout(self, recipe: Recipe) -> None:
        variant = variant_of(self.dropout)
        for site in SITES:
            if self.p_drop_at(site) and site not in recipe.sites:
                flag = {"input": "--p-input", "conv": "--p-conv"}.get(site, "--p")
                raise UsageError(f"The model {self.model} has no {site} dropout site.", f"Leave out {flag}.")
        if self.without_dropout:
            return
        if self.convention != "inverted" and not variant.scaled:
            scaled = " or ".join(name for name, known in VARIANTS.items() if known.scaled)
            raise UsageError(
                f"The dropout {self.dropout} needs no scaling at test: it has no conventions.",
                f"Leave out --convention, or use --dropout {scaled}.",
            )
        if variant.activation not in ("", self.activation):
            raise UsageError(
                f"The dropout {self.dropout} is made for {variant.activation.upper()} units.",
                f"Add --activation {variant.activation}.",
            )
        if self.dropout == "standout" and self.activation == "maxout":
            raise UsageError("Standout wants one input of each unit; maxout units have several.")

    def _check_units(self, recipe: Recipe) -> None:
        """What depends on what the hidden units are."""
        if self.activation == "maxout" and not recipe.maxout:
            raise UsageError(f"The model {self.model} has no maxout units.", "Use --model mlp.")
        if self.activation != "maxout" and self.pieces != _PIECES:
            raise UsageError(f"{self.activation} units have no pieces.", "Add --activation maxout.")
        if self.sparsity_target != _SPARSITY_TARGET and not self.kl_sparsity:
            raise UsageError("A sparsity target alone does nothing.", "Add --kl-sparsity.")
        if self.kl_sparsity:
            if self.activation not in ("relu", "logistic") or not recipe.factory:
                raise UsageError(
                    "KL sparsity is for units that are never below 0: relu or logistic ones.",
                    "Leave out --kl-sparsity, or take one of dropbench's models with such units.",
                )
            most = 1.0 if self.activation == "logistic" else float("inf")
            if not 0 < self.sparsity_target < most:
                raise UsageError(f"sparsity_target = {self.sparsity_target}.", f"Above 0, below {most:g}.")
        if self.widened and not recipe.scales:
            raise UsageError(f"The model {self.model} cannot be widened.", "Leave out --widen.")

    def _check_schedule(self) -> None:
        if self.dropout_schedule == "constant":
            if self.cutoff_epoch is not None:
                raise UsageError(
                    "A constant schedule has no cutoff epoch.", "Add --schedule early, late or ramp."
                )
            return
        switches = self.dropout_schedule in ("early", "late")
        if switches and self.epochs < 2:
            raise UsageError(f"A schedule {self.dropout_schedule!r} needs 2 epochs or more.", "Add --epochs.")
        if self.cutoff_epoch is None:
            object.__setattr__(self, "cutoff_epoch", self.epochs // 2 if switches else self.epochs)
        last = self.epochs - 1 if switches else self.epochs
        if not 1 <= (self.cutoff_epoch or 0) <= last:
            raise UsageError(
                f"cutoff_epoch = {self.cutoff_epoch} leaves nothing to switch in {self.epochs} epochs.",
                f"Write 1 to {last}.",
            )
        if self.mc_samples and self.dropout_schedule == "early":
            raise UsageError(
                "With early dropout the net ends without masks, so there are none to average over.",
                "Leave out the Monte-Carlo samples, or use another --schedule.",
            )

    def _check_member(self, recipe: Recipe) -> None:
        """What only members of ensembles are told."""
        if self.snapshots > self.epochs:
            raise UsageError(
                f"{self.snapshots} snapshots need {self.snapshots} epochs or more, not {self.epochs}.",
                "A cycle of the learning rate takes an epoch at least; add --epochs.",
            )
        if not 0 < self.width < float("inf"):
            raise UsageError(f"width = {self.width}.", "Write a number above 0.")
        if self.width != 1 and not recipe.scales:
            raise UsageError(f"The model {self.model} cannot be made narrower.", "Use lecture-cnn or mlp.")
        if (self.joint or self.snapshots) and recipe.task != "classify":
            raise UsageError(f"The model {self.model} does not classify.", "Leave out joint and snapshots.")
        if self.thinned and not self.without_dropout:
            if self.dropout != "bernoulli" or self.dropout_schedule != "constant":
                raise UsageError(
                    "A thinned net has one Bernoulli mask for the whole run.",
                    "Leave out --dropout and --schedule, or the arm untied.",
                )
            if self.mc_samples or self.joint:
                raise UsageError("A thinned net has one mask: there is nothing to average over.")

    def p_drop_at(self, site: str) -> float:
        """The probability of dropping a unit at ``site``, one of SITES."""
        return {"input": self.p_drop_input, "conv": self.p_drop_conv, "hidden": self.p_drop}[site]

    @property
    def p_keep(self) -> float:
        """Probability of *keeping* a hidden unit, 1 − p_drop as an exact decimal (the 2014 paper's p)."""
        return float(1 - Decimal(repr(self.p_drop)))

    @property
    def without_dropout(self) -> bool:
        """Whether no unit is ever dropped anywhere."""
        return self.p_drop == self.p_drop_input == self.p_drop_conv == 0

    @cached_property
    def run_id(self) -> str:
        """Twelve hexadecimal digits of the SHA-256 of the canonical JSON.

        A field at its default is left out of the JSON, so a field added later changes no recorded
        run_id; therefore a default of this class may never change. With nothing dropped, all variants,
        conventions and schedules are the same run.
        """
        identity = {
            field.name: getattr(self, field.name)
            for field in fields(self)
            if field.default is MISSING or getattr(self, field.name) != field.default
        }
        if self.data_key:
            identity.pop("data", None)  # the same images under another name are the same run
        if self.without_dropout:
            for name in _OF_DROPOUT:
                identity.pop(name, None)
        canonical = json.dumps(identity, sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(canonical.encode()).hexdigest()[:12]

    def row(self) -> dict[str, Any]:
        """The fields as CSV cells: None is empty, layers are joined by commas, p_keep stands by p_drop."""
        cells: dict[str, Any] = {}
        for field in fields(self):
            value = getattr(self, field.name)
            cells[field.name] = ",".join(map(str, value)) if isinstance(value, tuple) else value
            if field.name == "p_drop":
                cells["p_keep"] = self.p_keep
        return cells
