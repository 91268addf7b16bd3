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
from deadlib.models.groups import GROUPS, Patterns
from deadlib.recipe import Multipliers, OptimiserSection
from deadlib.training.schedules import MomentumCycle

Pattern = tuple[str, float, float | None]
"""A pattern of variable names, times the learning rate, times the decay (None: as usual)."""


class _PerVariable:
    """Finds the multipliers of each variable when the optimiser is built, and cycles momentum.

    multipliers: of the recipe. rates: of the groups of the network, (pattern, times the learning
    rate); both multiply. cycle: (high, low, steps) of a MomentumCycle.
    """

    def __init__(
        self,
        learning_rate: Any,
        *,
        decay: float = 0.0,
        multipliers: Sequence[Pattern] = (),
        rates: Sequence[tuple[str, float]] = (),
        cycle: Sequence[float] | None = None,
        **options: Any,
    ) -> None:
        super().__init__(learning_rate, **options)  # type: ignore[call-arg]
        self.decay = decay
        self.rates = [(name, rate) for name, rate in rates]
        self.cycle = None if cycle is None else list(cycle)
        self.multipliers = [(name, rate, decay) for name, rate, decay in multipliers]
        self._shares: list[tuple[float, float]] = []

    def build(self, variables: Any) -> None:
        super().build(variables)  # type: ignore[misc]
        self._shares = []
        for variable in variables:
            rate, decay = shares_of(variable.path, self.multipliers)
            group = _first_that_fits(variable.path, self.rates) if self.rates else 1.0
            self._shares.append((rate * group, self.decay * decay))

    def shares(self, variable: Any) -> tuple[float, float]:
        """Times the learning rate, and the decay, of a variable."""
        return self._shares[self._get_variable_index(variable)]  # type: ignore[attr-defined]

    def cycled(self, constant: float) -> Any:
        """The momentum of the step at hand: of the cycle, or the constant one."""
        if self.cycle is None:
            return constant
        high, low, steps = self.cycle
        return MomentumCycle(high, low, int(steps))(self.iterations)  # type: ignore[attr-defined]

    def get_config(self) -> dict[str, Any]:
        own = {
            "decay": self.decay,
            "multipliers": self.multipliers,
            "rates": self.rates,
            "cycle": self.cycle,
        }
        return {**super().get_config(), **own}  # type: ignore[misc]


class _L2(_PerVariable):
    """L2 as part of the gradient, after any clipping: gradient += decay x weight."""

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        rate, decay = self.shares(variable)
        if decay:
            gradient = ops.add(gradient, decay * ops.convert_to_tensor(variable))
        super().update_step(gradient, variable, rate * learning_rate)  # type: ignore[misc]


class _CycledSGD(_PerVariable, keras.optimizers.SGD):
    """SGD whose momentum may change from step to step."""

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        if self.cycle is None:
            super().update_step(gradient, variable, learning_rate)
            return
        history = self.momentums[self._get_variable_index(variable)]
        momentum = ops.cast(self.cycled(self.momentum), variable.dtype)
        moved = ops.cast(learning_rate, variable.dtype) * ops.cast(gradient, variable.dtype)
        self.assign(history, momentum * history - moved)
        step = momentum * history - moved if self.nesterov else history
        self.assign_add(variable, step)


class _CycledAdam(_PerVariable, keras.optimizers.Adam):
    """Adam whose beta_1 may change from step to step; the bias is corrected by the one at hand."""

    @property
    def beta_1(self) -> Any:
        return self.cycled(self._constant_beta_1)

    @beta_1.setter
    def beta_1(self, value: float) -> None:
        self._constant_beta_1 = value

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "beta_1": self._constant_beta_1}


@keras.saving.register_keras_serializable(package="deadlib")
class CaffeSGD(_L2, _CycledSGD):
    """SGD with L2 in Caffe's convention. Caffe's Nesterov step is Keras' own."""


@keras.saving.register_keras_serializable(package="deadlib")
class L2Adam(_L2, _CycledAdam):
    """Adam with L2, as PyTorch's Adam and CellDeathPred have it; AdamW decays apart from it."""


@keras.saving.register_keras_serializable(package="deadlib")
class DecoupledAdam(_CycledAdam):
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


def build_optimiser(
    section: OptimiserSection,
    schedule: Any,
    *,
    momentum: MomentumCycle | None = None,
    groups: Patterns | None = None,
) -> keras.optimizers.Optimizer:
    """The optimiser of a recipe, with its learning rate from `schedule` (see build_schedule).

    groups: those of the network, which learn at different rates where the section has a
    lowest_learning_rate.
    """
    common: dict[str, Any] = {
        "decay": section.weight_decay,
        "multipliers": _patterns(section.multipliers),
        "rates": group_rates(section, groups or []),
        "cycle": None if momentum is None else list(momentum.options.values()),
        "global_clipnorm": section.clip_norm,
    }
    if section.name == "sgd":
        common |= {"momentum": section.momentum, "nesterov": section.nesterov}
        return CaffeSGD(schedule, **common)
    common |= {name: getattr(section, name) for name in ("beta_1", "beta_2", "epsilon")}
    return {"adam": L2Adam, "adamw": DecoupledAdam}[section.name](schedule, **common)


def group_rates(section: OptimiserSection, groups: Patterns) -> list[tuple[str, float]]:
    """Times the learning rate of each group: in equal ratios from the lowest rate to the peak."""
    if section.lowest_learning_rate is None:
        return []
    ratio = section.lowest_learning_rate / section.learning_rate
    last = len(GROUPS) - 1
    return [(pattern, ratio ** (1 - place / last)) for pattern, place in groups]


def check_multipliers(section: OptimiserSection, variables: Sequence[Any]) -> None:
    """Raise RecipeError for a pattern that no variable has."""
    paths = [variable.path for variable in variables]
    for pattern in section.multipliers:
        if not any(fnmatchcase(path, pattern) for path in paths):
            raise RecipeError(
                f"optimiser.multipliers: {pattern} fits no variable of the network; it has "
                f"{', '.join(paths)}"
            )


def _first_that_fits(path: str, rates: Sequence[tuple[str, float]]) -> float:
    return next(rate for pattern, rate in rates if fnmatchcase(path, pattern))


def _patterns(multipliers: Mapping[str, Multipliers]) -> list[Pattern]:
    return [(name, found.learning_rate, found.decay) for name, found in multipliers.items()]
