"""How the learning rate goes: Keras schedules from step (0-based) to rate."""

from __future__ import annotations

import math
from typing import Any

import keras
from keras import ops
from keras.optimizers.schedules import LearningRateSchedule

from deadlib.recipe import ScheduleSection


class _Schedule(LearningRateSchedule):
    """A schedule that is its keyword arguments: saved, loaded and shown by them."""

    def __init__(self, **options: float) -> None:
        super().__init__()
        self.options = options

    def get_config(self) -> dict[str, float]:
        return dict(self.options)


@keras.saving.register_keras_serializable(package="deadlib")
class Constant(_Schedule):
    """The same rate at every step."""

    def __init__(self, peak: float) -> None:
        super().__init__(peak=peak)
        self.peak = peak

    def __call__(self, step: Any) -> Any:
        return ops.full_like(ops.cast(step, "float32"), self.peak)


@keras.saving.register_keras_serializable(package="deadlib")
class Inverse(_Schedule):
    """Caffe's "inv": peak x (1 + gamma x step)^-power."""

    def __init__(self, peak: float, gamma: float, power: float) -> None:
        super().__init__(peak=peak, gamma=gamma, power=power)
        self.peak, self.gamma, self.power = peak, gamma, power

    def __call__(self, step: Any) -> Any:
        return self.peak * ops.power(1 + self.gamma * ops.cast(step, "float32"), -self.power)


@keras.saving.register_keras_serializable(package="deadlib")
class Cosine(_Schedule):
    """Up linearly from 0 in warmup_steps, then down by half a cosine to final x peak."""

    def __init__(
        self, peak: float, total_steps: int, warmup_steps: int = 0, final_fraction: float = 0.0
    ) -> None:
        super().__init__(
            peak=peak,
            total_steps=total_steps,
            warmup_steps=warmup_steps,
            final_fraction=final_fraction,
        )
        self.peak, self.final_fraction = peak, final_fraction
        self.total_steps, self.warmup_steps = total_steps, warmup_steps

    def __call__(self, step: Any) -> Any:
        step = ops.cast(step, "float32")
        rising = self.peak * step / max(self.warmup_steps, 1)
        falling = _half_cosine(
            self.peak,
            self.peak * self.final_fraction,
            (step - self.warmup_steps) / max(self.total_steps - self.warmup_steps, 1),
        )
        return ops.where(step < self.warmup_steps, rising, falling)


@keras.saving.register_keras_serializable(package="deadlib")
class OneCycle(_Schedule):
    """One cycle with cosines, as in fastai: from peak / 25 up in 30 % of the steps, then down.

    After total_steps the rate is peak / 250,000. Smith and Topin 2018 (arXiv:1708.07120).
    """

    START, END = 25.0, 2.5e5

    def __init__(self, peak: float, total_steps: int) -> None:
        super().__init__(peak=peak, total_steps=total_steps)
        self.peak, self.total_steps = peak, total_steps

    def __call__(self, step: Any) -> Any:
        values = (self.peak / self.START, self.peak, self.peak / self.END)
        return _cycle(step, self.total_steps, values)


@keras.saving.register_keras_serializable(package="deadlib")
class MomentumCycle(_Schedule):
    """The momentum beside OneCycle: from high to low while the rate rises, then back to high."""

    def __init__(self, high: float, low: float, total_steps: int) -> None:
        super().__init__(high=high, low=low, total_steps=total_steps)
        self.high, self.low, self.total_steps = high, low, total_steps

    def __call__(self, step: Any) -> Any:
        return _cycle(step, self.total_steps, (self.high, self.low, self.high))


@keras.saving.register_keras_serializable(package="deadlib")
class Geometric(_Schedule):
    """From first to last in total_steps, each step by the same factor."""

    def __init__(self, first: float, last: float, total_steps: int) -> None:
        super().__init__(first=first, last=last, total_steps=total_steps)
        self.first, self.last, self.total_steps = first, last, total_steps

    def __call__(self, step: Any) -> Any:
        share = ops.cast(step, "float32") / max(self.total_steps - 1, 1)
        return self.first * ops.power(self.last / self.first, share)


def build_schedule(section: ScheduleSection, peak: float, total_steps: int) -> LearningRateSchedule:
    """The schedule of a recipe, over `total_steps` steps in all."""
    if section.name == "constant":
        return Constant(peak)
    if section.name == "inverse":
        return Inverse(peak, section.gamma, section.power)
    if section.name == "one_cycle":
        return OneCycle(peak, total_steps)
    return Cosine(peak, total_steps, section.warmup_steps, section.final_fraction)


def build_momentum(section: ScheduleSection, total_steps: int) -> MomentumCycle | None:
    """How the momentum goes beside the learning rate; None where it stays."""
    if section.momentum is None:
        return None
    return MomentumCycle(*section.momentum, total_steps)


def learning_rate_at(schedule: LearningRateSchedule, step: int) -> float:
    """The rate at a step as a plain number, for logs."""
    return float(ops.convert_to_numpy(schedule(step)))


RISE = 0.3
"""The share of a cycle in which the learning rate rises."""


def _cycle(step: Any, total_steps: int, values: tuple[float, float, float]) -> Any:
    """From the first value to the second in the first steps, then to the third, by half cosines."""
    step = ops.cast(step, "float32")
    start, middle, end = values
    rise_steps = int(RISE * total_steps)
    first = _half_cosine(start, middle, step / max(rise_steps, 1))
    second = _half_cosine(middle, end, (step - rise_steps) / max(total_steps - rise_steps, 1))
    return ops.where(step < rise_steps, first, second)


def _half_cosine(start: float, end: float, share: Any) -> Any:
    """From start to end as share goes from 0 to 1; constant outside."""
    share = ops.clip(share, 0.0, 1.0)
    return end + (start - end) / 2 * (ops.cos(math.pi * share) + 1)
