"""How the steps of a training are counted: in all, from validation to validation, in an epoch."""

from __future__ import annotations

from dataclasses import dataclass

from deadlib.recipe import Recipe


@dataclass(frozen=True)
class Rounds:
    """A training is a row of rounds, each ended by a validation; the last may be shorter."""

    total: int
    """Steps of the whole training."""
    every: int
    """Steps from one validation to the next."""
    epoch: int
    """Steps of one pass over the training split."""
    frozen: int = 0
    """The first of these steps, in which the body stays as it is."""

    def end(self, number: int) -> int:
        """The step after which round `number`, counted from 0, is validated."""
        return min((number + 1) * self.every, self.total)

    def epochs(self, steps: int) -> float:
        """Passes over the training split in so many steps."""
        return steps / self.epoch


def rounds_of(recipe: Recipe, steps_per_epoch: int) -> Rounds:
    """Without validation.every_steps each epoch is a round."""
    training = recipe.training
    total = training.steps or (training.epochs or 0) * steps_per_epoch
    every = recipe.validation.every_steps or steps_per_epoch
    first = recipe.freeze.epochs * steps_per_epoch if recipe.freeze.body == "first" else 0
    return Rounds(total=total, every=every, epoch=steps_per_epoch, frozen=first)
