"""Optimisers that decay kernels only: never biases, never batch normalisation."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from deadlib.recipe import OptimiserSection

# Keras excludes variables whose name matches: all that are no kernels.
_NO_KERNEL = "^(?!.*kernel)"


class _KernelL2:
    """L2 as part of the gradient, after any clipping: gradient += decay x weight; kernels only."""

    def __init__(self, learning_rate: Any, *, decay: float = 0.0, **options: Any) -> None:
        super().__init__(learning_rate, **options)  # type: ignore[call-arg]
        self.decay = decay

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        if self.decay and "kernel" in variable.name:
            gradient = ops.add(gradient, self.decay * ops.convert_to_tensor(variable))
        super().update_step(gradient, variable, learning_rate)  # type: ignore[misc]

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "decay": self.decay}  # type: ignore[misc]


@keras.saving.register_keras_serializable(package="deadlib")
class CaffeSGD(_KernelL2, keras.optimizers.SGD):
    """SGD with L2 in Caffe's convention. Caffe's Nesterov step is Keras' own."""


@keras.saving.register_keras_serializable(package="deadlib")
class L2Adam(_KernelL2, keras.optimizers.Adam):
    """Adam with L2, as PyTorch's Adam and CellDeathPred have it; AdamW decays apart from it."""


def build_optimiser(section: OptimiserSection, schedule: Any) -> keras.optimizers.Optimizer:
    """The optimiser of a recipe, with its learning rate from `schedule` (see build_schedule)."""
    if section.name == "sgd":
        return CaffeSGD(
            schedule,
            decay=section.weight_decay,
            momentum=section.momentum,
            nesterov=section.nesterov,
            global_clipnorm=section.clip_norm,
        )
    if section.name == "adam":
        return L2Adam(schedule, decay=section.weight_decay, global_clipnorm=section.clip_norm)
    optimiser = keras.optimizers.AdamW(
        schedule, weight_decay=section.weight_decay, global_clipnorm=section.clip_norm
    )
    optimiser.exclude_from_weight_decay(var_names=[_NO_KERNEL])
    return optimiser
