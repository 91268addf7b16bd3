"""Optimisers that decay kernels only: never biases, never batch normalisation."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from deadlib.errors import RecipeError
from deadlib.recipe import OptimiserSection

# Keras excludes variables whose name matches: all that are no kernels.
_NO_KERNEL = "^(?!.*kernel)"


@keras.saving.register_keras_serializable(package="deadlib")
class CaffeSGD(keras.optimizers.SGD):
    """SGD with L2 in Caffe's convention: gradient += decay x weight, after any clipping.

    Caffe's Nesterov step is Keras' own. Kernels only decay.
    """

    def __init__(self, learning_rate: Any, *, decay: float = 0.0, **options: Any) -> None:
        super().__init__(learning_rate, **options)
        self.decay = decay

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        if self.decay and "kernel" in variable.name:
            gradient = ops.add(gradient, self.decay * ops.convert_to_tensor(variable))
        super().update_step(gradient, variable, learning_rate)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "decay": self.decay}


def build_optimiser(section: OptimiserSection, schedule: Any) -> keras.optimizers.Optimizer:
    """The optimiser of a recipe, with its learning rate from `schedule` (see build_schedule).

    Raises RecipeError for weight decay with Adam, where it would be neither L2 nor decoupled.
    """
    if section.name == "sgd":
        return CaffeSGD(
            schedule,
            decay=section.weight_decay,
            momentum=section.momentum,
            nesterov=section.nesterov,
            global_clipnorm=section.clip_norm,
        )
    if section.name == "adam":
        if section.weight_decay:
            raise RecipeError(
                f"optimiser.weight_decay: {section.weight_decay} with adam; set it to 0, or use "
                "optimiser.name: adamw, which decays weights apart from the gradient"
            )
        return keras.optimizers.Adam(schedule, global_clipnorm=section.clip_norm)
    optimiser = keras.optimizers.AdamW(
        schedule, weight_decay=section.weight_decay, global_clipnorm=section.clip_norm
    )
    optimiser.exclude_from_weight_decay(var_names=[_NO_KERNEL])
    return optimiser
