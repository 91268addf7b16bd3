"""Optimisers that know each variable's share: of the learning rate, and of the weight decay.

Without multipliers all variables learn alike and kernels alone decay: never biases, never batch
normalisation.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Any

import keras
from keras import ops

from deadlib.errors import RecipeError
from deadlib.recipe import Multipliers, OptimiserSection

Pattern = tuple[str, float, float | None]
"""A pattern of variable names, times the learning rate, times the decay (None: as usual)."""


class _PerVariable:
    """Finds the multipliers of each variable when the optimiser is built."""

    def __init__(
        self,
        learning_rate: Any,
        *,
        decay: float = 0.0,
        multipliers: Sequence[Pattern] = (),
        **options: Any,
    ) -> None:
        super().__init__(learning_rate, **options)  # type: ignore[call-arg]
        self.decay = decay
        self.multipliers = [(name, rate, decay) for name, rate, decay in multipliers]
        self._shares: list[tuple[float, float]] = []

    def build(self, variables: Any) -> None:
        super().build(variables)  # type: ignore[misc]
        shares = [shares_of(variable.path, self.multipliers) for variable in variables]
        self._shares = [(rate, self.decay * decay) for rate, decay in shares]

    def shares(self, variable: Any) -> tuple[float, float]:
        """Times the learning rate, and the decay, of a variable."""
        return self._shares[self._get_variable_index(variable)]  # type: ignore[attr-defined]

    def get_config(self) -> dict[str, Any]:
        own = {"decay": self.decay, "multipliers": self.multipliers}
        return {**super().get_config(), **own}  # type: ignore[misc]


class _L2(_PerVariable):
    """L2 as part of the gradient, after any clipping: gradient += decay x weight."""

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        rate, decay = self.shares(variable)
        if decay:
            gradient = ops.add(gradient, decay * ops.convert_to_tensor(variable))
        super().update_step(gradient, variable, rate * learning_rate)  # type: ignore[misc]


@keras.saving.register_keras_serializable(package="deadlib")
class CaffeSGD(_L2, keras.optimizers.SGD):
    """SGD with L2 in Caffe's convention. Caffe's Nesterov step is Keras' own."""


@keras.saving.register_keras_serializable(package="deadlib")
class L2Adam(_L2, keras.optimizers.Adam):
    """Adam with L2, as PyTorch's Adam and CellDeathPred have it; AdamW decays apart from it."""


@keras.saving.register_keras_serializable(package="deadlib")
class DecoupledAdam(_PerVariable, keras.optimizers.Adam):
    """AdamW (Loshchilov and Hutter 2019): weight -= rate x decay x weight, apart from Adam."""

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        rate, decay = self.shares(variable)
        learning_rate = rate * ops.cast(learning_rate, variable.dtype)
        if decay:
            self.assign_sub(variable, ops.convert_to_tensor(variable) * (decay * learning_rate))
        super().update_step(gradient, variable, learning_rate)


def shares_of(path: str, multipliers: Sequence[Pattern]) -> tuple[float, float]:
    """Times the learning rate and times the decay, of the variable `path`, as conv1_1/kernel."""
    usual = float(path.endswith("kernel"))
    for pattern, rate, decay in multipliers:
        if fnmatchcase(path, pattern):
            return rate, usual if decay is None else decay
    return 1.0, usual


def build_optimiser(section: OptimiserSection, schedule: Any) -> keras.optimizers.Optimizer:
    """The optimiser of a recipe, with its learning rate from `schedule` (see build_schedule)."""
    common: dict[str, Any] = {
        "decay": section.weight_decay,
        "multipliers": _patterns(section.multipliers),
        "global_clipnorm": section.clip_norm,
    }
    if section.name == "sgd":
        common |= {"momentum": section.momentum, "nesterov": section.nesterov}
        return CaffeSGD(schedule, **common)
    return {"adam": L2Adam, "adamw": DecoupledAdam}[section.name](schedule, **common)


def check_multipliers(section: OptimiserSection, variables: Sequence[Any]) -> None:
    """Raise RecipeError for a pattern that no variable has."""
    paths = [variable.path for variable in variables]
    for pattern in section.multipliers:
        if not any(fnmatchcase(path, pattern) for path in paths):
            raise RecipeError(
                f"optimiser.multipliers: {pattern} fits no variable of the network; it has "
                f"{', '.join(paths)}"
            )


def _patterns(multipliers: Mapping[str, Multipliers]) -> list[Pattern]:
    return [(name, found.learning_rate, found.decay) for name, found in multipliers.items()]
