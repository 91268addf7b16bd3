"""Phases: stretches of a training, each with variables that learn and an optimiser of its own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import keras
from keras.optimizers.schedules import LearningRateSchedule

from deadlib.errors import RecipeError
from deadlib.losses import PROXIES
from deadlib.models.groups import GROUPS, group_patterns, learning_with_the_body_frozen
from deadlib.recipe import OptimiserSection, Recipe
from deadlib.training.devices import scales_loss
from deadlib.training.optimisers import build_optimiser, check_multipliers
from deadlib.training.rounds import Rounds
from deadlib.training.schedules import (
    MomentumCycle,
    build_momentum,
    build_schedule,
    learning_rate_at,
)


@dataclass(frozen=True, eq=False)
class Phase:
    """Who learns from step `first` on, and how."""

    first: int
    """The global step with which it begins."""
    variables: list[Any]
    schedule: LearningRateSchedule
    """Over the steps of the phase, counted from 0."""
    optimiser: keras.optimizers.Optimizer

    def learning_rate(self, step: int) -> float:
        """That of a global step."""
        return learning_rate_at(self.schedule, step - self.first)


def phases_of(
    recipe: Recipe,
    network: keras.Model,
    rounds: Rounds,
    learnt: Sequence[Any] = (),
    *,
    replicas: int,
) -> tuple[Phase, ...]:
    """The phases of a training: one, or two where the body is frozen at first.

    learnt: what learns in all of them beside the network, at the rate of its head.
    Raises RecipeError for multipliers of no variable, and where the training has no more steps than
    its first phase.
    """
    check_multipliers(recipe.optimiser, [*network.trainable_variables, *learnt])
    if rounds.frozen >= rounds.total:
        raise RecipeError(
            f"freeze.epochs: the first {rounds.frozen} steps are all that training.steps: "
            f"{rounds.total} has; train longer, or set freeze.body: always"
        )
    section = recipe.optimiser
    found = []
    if rounds.frozen:
        changed = {"learning_rate": recipe.freeze.learning_rate, "lowest_learning_rate": None}
        first = section.model_copy(update=changed)
        head = [*learning_with_the_body_frozen(network, recipe.model), *learnt]
        found.append(_phase(recipe, first, 0, rounds.frozen, head, replicas))
    steps = rounds.total - rounds.frozen
    last = [*_last(recipe, network), *learnt]
    found.append(_phase(recipe, section, rounds.frozen, steps, last, replicas))
    return tuple(found)


def tested_phase(
    recipe: Recipe,
    network: keras.Model,
    schedule: LearningRateSchedule,
    learnt: Sequence[Any],
    *,
    replicas: int,
) -> Phase:
    """The last phase of a training from step 0 on with other learning rates; momentum stays.

    Raises RecipeError for multipliers of no variable.
    """
    check_multipliers(recipe.optimiser, [*network.trainable_variables, *learnt])
    section, variables = recipe.optimiser, [*_last(recipe, network), *learnt]
    return Phase(0, variables, schedule, _optimiser(recipe, section, schedule, variables, replicas))


def phase_at(phases: tuple[Phase, ...], step: int) -> Phase:
    """The phase that the global step belongs to; after the last step the last phase."""
    return next(phase for phase in reversed(phases) if step >= phase.first)


def _last(recipe: Recipe, network: keras.Model) -> list[Any]:
    """What learns in the last phase."""
    if recipe.freeze.body == "always":
        return learning_with_the_body_frozen(network, recipe.model)
    return list(network.trainable_variables)


def _phase(
    recipe: Recipe,
    section: OptimiserSection,
    first: int,
    steps: int,
    variables: list[Any],
    replicas: int,
) -> Phase:
    schedule = build_schedule(recipe.schedule, section.learning_rate, steps)
    momentum = build_momentum(recipe.schedule, steps)
    optimiser = _optimiser(recipe, section, schedule, variables, replicas, momentum)
    return Phase(first, variables, schedule, optimiser)


def _optimiser(
    recipe: Recipe,
    section: OptimiserSection,
    schedule: LearningRateSchedule,
    variables: list[Any],
    replicas: int,
    momentum: MomentumCycle | None = None,
) -> keras.optimizers.Optimizer:
    if replicas > 1:
        # Keras clips before it sums over replicas; the step does it over the sum.
        section = section.model_copy(update={"clip_norm": None})
    groups = [(PROXIES, len(GROUPS) - 1), *group_patterns(recipe.model)]
    optimiser = build_optimiser(section, schedule, momentum=momentum, groups=groups)
    if scales_loss(recipe.training):
        optimiser = keras.optimizers.LossScaleOptimizer(optimiser)
    optimiser.build(variables)
    return optimiser
