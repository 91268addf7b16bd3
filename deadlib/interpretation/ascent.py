"""Images that raise the score of a class: gradient ascent on the network's input.

As published for DeadNet (equation 4): I ← I + ε (∂S/∂I − λ₁ I + λ₂ ΔI), with the score S before
the softmax. In print the last term is subtracted, which roughens the image instead of smoothing
it, the opposite of what the text asks for; `literal_sign` does so nevertheless.

A second way, by tf-keras-vis: the image is shifted a little at random in every step (jitter) and
pays for its total variation, so that what is left does not hang on single pixels.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from deadlib.errors import InputError
from deadlib.interpretation.vis import Compiled, in_float32, quiet

STEP = 10.0
DECAY = 0.01
SMOOTHNESS = 0.001
ITERATIONS = 500
LIMIT = 8.0
JITTER_PX = 4
TOTAL_VARIATION = 5.0
MOMENTS = 40

Floats = NDArray[np.float32]
Advanced = Callable[[int, int], None]


@dataclass(frozen=True)
class Published:
    """The constants of equation 4, on the scale of the network's input.

    Raises InputError where a step would overshoot whatever the network says.
    """

    step: float = STEP
    decay: float = DECAY
    smoothness: float = SMOOTHNESS
    literal_sign: bool = False
    iterations: int = ITERATIONS
    limit: float = LIMIT
    """Values are kept within ± this: the input of a network is seldom further from its mean."""

    def __post_init__(self) -> None:
        _check_common(self.iterations, self.limit)
        if self.step <= 0 or self.decay < 0 or self.smoothness < 0:
            raise InputError(
                f"step {self.step:g}, decay {self.decay:g}, smoothness {self.smoothness:g}: "
                "expected a step above 0, and neither of the others below 0"
            )
        # 8 is the largest eigenvalue of the five-point Laplacian.
        strongest = self.step * (self.decay + 8 * self.smoothness)
        if strongest > 2:
            raise InputError(
                f"step x (decay + 8 smoothness) is {strongest:.3g}: above 2 every step overshoots; "
                "give a smaller step, decay or smoothness"
            )


@dataclass(frozen=True)
class Jittered:
    """Adam on the score less `total_variation` times the mean variation of a pixel."""

    jitter_px: int = JITTER_PX
    """In every step the image is shifted by up to this many pixels, round the edges."""
    total_variation: float = TOTAL_VARIATION
    learning_rate: float = 0.05
    iterations: int = ITERATIONS
    limit: float = LIMIT
    seed: int = 0

    def __post_init__(self) -> None:
        _check_common(self.iterations, self.limit)
        if self.jitter_px < 0 or self.total_variation < 0:
            raise InputError(
                f"jitter of {self.jitter_px} px, total variation {self.total_variation:g}: "
                "expected neither below 0"
            )


@dataclass(frozen=True)
class Climbed:
    """What an ascent went through: F moments of B images."""

    iterations: tuple[int, ...]
    """(F,) the first is 0, the start; the last is the result."""
    images: NDArray[np.float16]
    """(F, B, H, W, C), on the scale of the network's input; for pictures."""
    scores: Floats
    """(F, B) of each image's class, before the softmax."""
    result: Floats
    """(B, H, W, C) the last moment, in full precision."""


@dataclass
class _Record:
    """Moments as they come."""

    iterations: list[int] = field(default_factory=list)
    images: list[Any] = field(default_factory=list)
    scores: list[Any] = field(default_factory=list)

    def add(self, iteration: int, images: Any, scores: Any) -> None:
        self.iterations.append(iteration)
        self.images.append(np.asarray(images, np.float16))
        self.scores.append(np.asarray(scores, np.float32))

    def closed(self, result: Any) -> Climbed:
        return Climbed(
            tuple(self.iterations),
            np.stack(self.images),
            np.stack(self.scores),
            np.asarray(result, np.float32),
        )


def climb(
    network: keras.Model,
    starts: np.ndarray,
    class_index: Sequence[int],
    way: Published | Jittered,
    advanced: Advanced | None = None,
) -> Climbed:
    """Change images until the network is as sure as can be of a class.

    starts: (B, H, W, C) float32, preprocessed; class_index: (B,). Images of a batch do not
    influence each other. `advanced` is told of iterations done and of all.
    """
    images = np.clip(np.asarray(starts, np.float32), -way.limit, way.limit)
    classes = np.asarray(class_index, np.int32)
    tell = advanced or (lambda done, total: None)
    if isinstance(way, Published):
        return _published(network, images, classes, way, tell)
    return _jittered(network, images, classes, way, tell)


def laplacian(images: Any) -> Any:
    """Five-point Laplacian of (B, H, W, C), mirrored at the border."""
    padded = tf.pad(images, [[0, 0], [1, 1], [1, 1], [0, 0]], "SYMMETRIC")
    along_rows = padded[:, :-2, 1:-1] + padded[:, 2:, 1:-1]
    along_columns = padded[:, 1:-1, :-2] + padded[:, 1:-1, 2:]
    return along_rows + along_columns - 4 * images


def moments(iterations: int) -> tuple[int, ...]:
    """The iterations worth a picture: from 0 to the last, closer at first, where most happens."""
    at = np.round(iterations * np.linspace(0, 1, MOMENTS) ** 2).astype(int)
    return tuple(int(each) for each in np.unique(at))


def _published(
    network: keras.Model, starts: Floats, classes: Any, way: Published, advanced: Advanced
) -> Climbed:
    smoothness = -way.smoothness if way.literal_sign else way.smoothness

    def climbed(images: Any, steps: Any) -> Any:
        for _ in tf.range(steps):
            with tf.GradientTape() as tape:
                tape.watch(images)
                scores = tf.gather(network(images, training=False), classes, batch_dims=1)
            slope = tape.gradient(scores, images)
            change = slope - way.decay * images + smoothness * laplacian(images)
            images = tf.clip_by_value(images + way.step * change, -way.limit, way.limit)
        return images, tf.gather(network(images, training=False), classes, batch_dims=1)

    ascend = tf.function(climbed)
    images, record, done = tf.constant(starts), _Record(), 0
    for moment in moments(way.iterations):
        images, scores = ascend(images, tf.constant(moment - done))
        done = moment
        record.add(done, images, scores)
        advanced(done, way.iterations)
    return record.closed(images)


def _jittered(
    network: keras.Model, starts: Floats, classes: Any, way: Jittered, advanced: Advanced
) -> Climbed:
    with quiet():
        from tf_keras_vis.activation_maximization import ActivationMaximization
        from tf_keras_vis.activation_maximization.callbacks import Callback
        from tf_keras_vis.activation_maximization.regularizers import TotalVariation2D
        from tf_keras_vis.utils.scores import CategoricalScore

    compiled = Compiled(in_float32(network))
    shifts = _Shifts(way.jitter_px, way.limit, way.seed)
    kept, record = set(moments(way.iterations)), _Record()

    def scores_of(images: Any) -> Any:
        return tf.gather(compiled(images), classes, batch_dims=1)

    class Watch(Callback):
        def __call__(self, i: int, values: Any, *args: Any, **kwargs: Any) -> None:
            if i + 1 in kept:
                images = shifts.undone(values[0])
                record.add(i + 1, images, scores_of(images))
                advanced(i + 1, way.iterations)

    record.add(0, starts, scores_of(starts))
    with quiet():
        result = ActivationMaximization(compiled, clone=False)(
            CategoricalScore([int(index) for index in classes]),
            seed_input=starts,
            input_range=(-way.limit, way.limit),
            input_modifiers=[shifts],
            regularizers=[TotalVariation2D(weight=way.total_variation)],
            steps=way.iterations,
            optimizer=keras.optimizers.Adam(way.learning_rate),
            callbacks=[Watch()],
        )
    return record.closed(shifts.undone(result))


class _Shifts:
    """Jitter that knows how far it went, so that the picture can be put back in its place.

    tf-keras-vis clips only what it hands out; here the image itself stays within the limit.
    """

    def __init__(self, jitter_px: int, limit: float, seed: int) -> None:
        self._jitter_px, self._limit = jitter_px, limit
        self._generator = np.random.default_rng(seed)
        self._gone = np.zeros(2, np.int64)

    def __call__(self, images: Any) -> Any:
        shift = self._generator.integers(-self._jitter_px, self._jitter_px, 2, endpoint=True)
        self._gone += shift
        moved = tf.roll(images, shift=shift, axis=(1, 2))
        return tf.clip_by_value(moved, -self._limit, self._limit)

    def undone(self, images: Any) -> Any:
        return tf.roll(images, shift=-self._gone, axis=(1, 2))


def _check_common(iterations: int, limit: float) -> None:
    if iterations < 1 or limit <= 0:
        raise InputError(
            f"{iterations} iterations, values within ±{limit:g}: expected at least one iteration "
            "and a limit above 0"
        )
