"""On what and how exactly the step is computed: devices, precision, XLA, determinism."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import keras
import tensorflow as tf

from deadlib.recipe import TrainingSection


def choose_strategy(choice: str) -> tf.distribute.Strategy:
    """TensorFlow's default strategy for one device, or MirroredStrategy over several.

    auto: mirrored where there are two GPUs or more. mirrored: over all GPUs, or without any over
    all logical CPUs; with a single device the same as one.
    """
    gpus, cpus = (tf.config.list_logical_devices(kind) for kind in ("GPU", "CPU"))
    devices = gpus if choice == "auto" else gpus or cpus
    if choice == "one" or len(devices) < 2:
        return tf.distribute.get_strategy()
    return tf.distribute.MirroredStrategy([device.name for device in devices])


def compiles_step(section: TrainingSection, replicas: int) -> bool:
    """Whether XLA compiles the whole step.

    On CPUs it slows convolutions down, so auto leaves it off there. Over several devices the step
    is never compiled as one, because the exchange of gradients stands inside it.
    """
    if replicas > 1 or section.jit == "off":
        return False
    return section.jit == "on" or has_gpu()


@contextmanager
def precision(section: TrainingSection) -> Iterator[None]:
    """Layers built inside compute in the recipe's precision; the former policy comes back after."""
    former = keras.config.dtype_policy()
    if section.mixed_precision:
        keras.config.set_dtype_policy("mixed_float16" if has_gpu() else "mixed_bfloat16")
    else:
        keras.config.set_dtype_policy("float32")
    try:
        yield
    finally:
        keras.config.set_dtype_policy(former)


def scales_loss(section: TrainingSection) -> bool:
    """float16 needs the loss scaled, so that small gradients do not become 0; bfloat16 does not."""
    return section.mixed_precision and has_gpu()


def make_repeatable(seed: int, deterministic: bool) -> None:
    """Seed what is still random, and, if asked, allow only operations that repeat bit for bit.

    TensorFlow cannot leave that mode again in the same process.
    """
    keras.utils.set_random_seed(seed)
    if deterministic:
        tf.config.experimental.enable_op_determinism()


def has_gpu() -> bool:
    return bool(tf.config.list_logical_devices("GPU"))
