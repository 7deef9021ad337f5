"""All blocks of a run together, as the rules between them see it."""

from dataclasses import dataclass

from dropbench.catalog.models import recipe_of
from dropbench.catalog.user_code import is_user_code, library_of
from dropbench.run.blocks.data import REGRESSION, DataSettings
from dropbench.run.blocks.dropout import DropoutSettings
from dropbench.run.blocks.model import ModelSettings
from dropbench.run.blocks.optimizer import OptimizerSettings
from dropbench.run.blocks.penalty import PenaltySettings
from dropbench.run.blocks.repetition import RepetitionSettings


@dataclass(frozen=True)
class Blocks:
    """Every block of a run."""

    data: DataSettings
    model: ModelSettings
    dropout: DropoutSettings
    optimizer: OptimizerSettings
    penalty: PenaltySettings
    repetition: RepetitionSettings

    @property
    def without_dropout(self) -> bool:
        """Whether no unit is ever dropped anywhere."""
        return not self.dropout.drops

    @property
    def task(self) -> str:
        """The task of the net: ``classify``, ``regress`` or, of autoencoders, ``reconstruct``."""
        of_model = recipe_of(self.model.name).task
        return "regress" if of_model == "classify" and self.data.task == REGRESSION else of_model

    @property
    def with_user_code(self) -> bool:
        """Whether the model or the dropout is code of the user's own."""
        return is_user_code(self.model.name) or is_user_code(self.dropout.variant)

    @property
    def with_foreign_code(self) -> bool:
        """Whether the model or the dropout is code of the user's own, or the model a library's."""
        return self.with_user_code or bool(library_of(self.model.name))
