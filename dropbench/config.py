"""RunConfig: the whole identity of one training run, and the short hash of it that names the run."""

import hashlib
import json
from dataclasses import MISSING, dataclass, fields
from decimal import Decimal
from functools import cached_property
from typing import Any

from dropbench.errors import UsageError, unknown_name
from dropbench.recipes import RECIPES

CONVENTIONS = ("inverted", "weight-scaling")
VARIANTS = ("bernoulli", "gaussian", "uniform", "spatial")
SCALED_VARIANTS = ("bernoulli", "spatial")  # the others have a mean of 1 and nothing to scale
SCHEDULES = ("one-cycle", "cosine")
ACTIVATIONS = ("relu", "logistic")
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
    p_drop: float = 0.0
    p_drop_input: float = 0.0
    p_drop_conv: float = 0.0
    convention: str = "inverted"
    max_norm: float | None = None
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
    """The variant; p_drop of those that set nothing to zero stands for their variance p/(1 − p)."""
    mc_samples: int = 0
    """Passes with masks whose mean prediction of the test set is kept beside the deterministic one."""

    def __post_init__(self) -> None:
        if self.model not in RECIPES:
            raise unknown_name("model", self.model, RECIPES)
        recipe = RECIPES[self.model]
        for name in _RECIPE_FIELDS:
            if getattr(self, name) is None:
                object.__setattr__(self, name, getattr(recipe, name))
        for field in fields(self):  # 3 and 3.0 are one setting and must give one run_id
            value = getattr(self, field.name)
            if field.type in (float, float | None) and isinstance(value, int):
                object.__setattr__(self, field.name, float(value))
        self._check_choices()
        self._check_ranges()
        self._check_model()

    def _check_choices(self) -> None:
        for name, known in (
            ("convention", CONVENTIONS),
            ("dropout", VARIANTS),
            ("learning_rate_schedule", SCHEDULES),
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
        for name, least in (("epochs", 1), ("batch_size", 1), ("seed", 0), ("member", 0), ("mc_samples", 0)):
            if getattr(self, name) < least:
                raise UsageError(f"{name} = {getattr(self, name)}.", f"Write {least} or more.")
        if self.train_size is not None and self.train_size < 1:
            raise UsageError(f"train_size = {self.train_size}.", "Write 1 or more.")
        if not 0 < self.learning_rate < float("inf"):
            raise UsageError(f"learning_rate = {self.learning_rate}.", "Write a number above 0.")
        if not 0 <= self.momentum < 1:
            raise UsageError(f"momentum = {self.momentum}.", "Write a number from 0 up to, not including, 1.")
        if not 0 <= self.weight_decay < float("inf"):
            raise UsageError(f"weight_decay = {self.weight_decay}.", "Write 0 or more.")
        if self.max_norm is not None and not 0 < self.max_norm < float("inf"):
            raise UsageError(f"max_norm = {self.max_norm}.", "Write a bound above 0, like 3.")

    def _check_model(self) -> None:
        if self.convention != "inverted" and self.dropout not in SCALED_VARIANTS and not self.is_reference:
            raise UsageError(
                f"The dropout {self.dropout} has a mean of 1: there is nothing to scale at test.",
                "Leave out --convention, or use --dropout bernoulli or spatial.",
            )
        recipe = RECIPES[self.model]
        if self.p_drop_conv and "conv" not in recipe.sites:
            raise UsageError(f"The model {self.model} has no convolutions to drop.", "Leave out --p-conv.")
        if not recipe.layers and (self.layers or self.activation != "relu"):
            raise UsageError(
                f"The model {self.model} has fixed layers and ReLU.",
                "Use --layers and --activation with --model mlp.",
            )
        if any(width < 1 for width in self.layers):
            raise UsageError(f"layers = {self.layers}.", "Every layer needs 1 unit or more.")

    @property
    def p_keep(self) -> float:
        """Probability of *keeping* a hidden unit, 1 − p_drop as an exact decimal (the 2014 paper's p)."""
        return float(1 - Decimal(repr(self.p_drop)))

    @property
    def is_reference(self) -> bool:
        """Whether no unit is ever dropped anywhere."""
        return self.p_drop == self.p_drop_input == self.p_drop_conv == 0

    @cached_property
    def run_id(self) -> str:
        """Twelve hexadecimal digits of the SHA-256 of the canonical JSON.

        A field at its default is left out of the JSON, so a field added later changes no recorded
        run_id; therefore a default of this class may never change. With nothing dropped, all variants
        and both scaling conventions are the same run.
        """
        identity = {
            field.name: getattr(self, field.name)
            for field in fields(self)
            if field.default is MISSING or getattr(self, field.name) != field.default
        }
        if self.data_key:
            identity.pop("data", None)  # the same images under another name are the same run
        if self.is_reference:
            identity.pop("convention", None)
            identity.pop("dropout", None)
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
