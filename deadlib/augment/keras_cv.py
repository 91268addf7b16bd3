"""Augmentation layers of KerasCV in a recipe: `- {name: keras_cv.RandomHue, factor: 0.1}`.

KerasCV draws from generators with a state. Here its layers get generators of ours in their place,
whose numbers follow from the seed of each image alone, as everywhere in deadlib; numbers that a
layer draws in other ways (AugMix and RandAugment do) follow TensorFlow's global seed and are others
after a run was taken up again. Layers see one image at a time, in a TensorFlow graph that
XLA cannot always compile, on the device or the host.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Mapping
from typing import Any

import tensorflow as tf

from deadlib.augment.base import Augmentation, CommonSettings, validated
from deadlib.augment.randomness import derive, normal, uniform
from deadlib.errors import RecipeError
from deadlib.recipe import nearest

PREFIX = "keras_cv."
_FIRST_STREAM = 1
_NEED_OTHERS = ("CutMix", "FourierMix", "MixUp", "Mosaic")


class KerasCV(Augmentation):
    """A layer of KerasCV, on images in unit range; parameters are the layer's own."""

    def __init__(self, layer: Any, where: str, **settings: Any) -> None:
        super().__init__(**settings)
        self._inner = layer
        self._where = where
        self._draws = _Draws()
        # A function of its own, because some layers need Python control flow on tensors.
        self._on_one = tf.function(self._one)
        for part in layer._flatten_layers():
            self._draws.serve(part)

    def __call__(self, images: Any, seed: Any) -> Any:
        # Past Keras, which puts words of its own around every error.
        return self.call(images, seed)

    def change(self, images: Any, seeds: Any) -> Any:
        try:
            changed = tf.map_fn(self._on_one, (images, seeds), fn_output_signature=images.dtype)
        except (TypeError, ValueError, NotImplementedError, tf.errors.OpError) as error:
            raise RecipeError(
                f"{self._where}: cannot be applied to images (H, W, C) of "
                f"{tuple(images.shape[1:])}: {_reason(error)}"
            ) from None
        if not changed.shape[1:].is_compatible_with(images.shape[1:]):
            raise RecipeError(
                f"{self._where}: makes images of {tuple(changed.shape[1:])} from "
                f"{tuple(images.shape[1:])}; only layers that keep the shape can be used"
            )
        return tf.ensure_shape(changed, images.shape)

    def _one(self, given: tuple[Any, Any]) -> Any:
        image, seed = given
        self._draws.start(seed[None])
        return tf.cast(self._inner.call(image), tf.float32)


def keras_cv_layer(where: str, name: str, parameters: Mapping[str, Any]) -> KerasCV:
    """The layer `keras_cv.layers.<name>` as an augmentation.

    parameters: `probability`, and those of the layer; its value_range is [0, 1] unless it says
    otherwise. Raises RecipeError where keras-cv is not installed, for unknown layers, for layers
    that need more than one image, and for parameters that the layer refuses.
    """
    kind = _kind(where, name.removeprefix(PREFIX))
    own = {key: value for key, value in parameters.items() if key != "probability"}
    common = {key: value for key, value in parameters.items() if key == "probability"}
    settings = validated(CommonSettings, common, where).model_dump()
    known = list(inspect.signature(kind).parameters)
    for key in own:
        if key not in known or key in ("seed", "kwargs"):
            usable = [*(name for name in known if name not in ("seed", "kwargs")), "probability"]
            raise RecipeError(f"{where}: unknown parameter {key}; {nearest(key, usable)}")
    if "value_range" in known:
        own.setdefault("value_range", (0, 1))
    # A layer takes TensorFlow's global generator when it is made, and there is none in
    # deterministic mode unless one is set; it gives way to ours.
    tf.random.set_global_generator(tf.random.Generator.from_seed(0))
    try:
        return KerasCV(kind(**own), where, **settings)
    except (TypeError, ValueError, NotImplementedError) as error:
        raise RecipeError(f"{where}: {_reason(error)}") from None


def _kind(where: str, name: str) -> type:
    try:
        from keras_cv import layers
    except ImportError:
        raise RecipeError(
            f'{where}: needs keras-cv, which is not installed; pip install "deadlib[keras-cv]"'
        ) from None
    bases = (layers.BaseImageAugmentationLayer, layers.VectorizedBaseImageAugmentationLayer)
    found = {
        key: value
        for key, value in vars(layers).items()
        if isinstance(value, type) and issubclass(value, bases) and value not in bases
    }
    if name not in found:
        raise RecipeError(f"{where}: no augmentation of KerasCV; {nearest(name, sorted(found))}")
    if name in _NEED_OTHERS:
        raise RecipeError(f"{where}: needs several images; use mixup or cutmix of deadlib")
    return found[name]


def _reason(error: Exception) -> str:
    """The one line of an error that says what is wrong, without what Keras puts around it."""
    lines = [re.sub(r"\x1b\[\d*m", "", line).strip() for line in str(error).splitlines()]
    around = ("in user code", "File ", "Exception encountered", "Arguments received", "•")
    told = [line for line in lines if line and not line.startswith(around)]
    return told[-1] if told else type(error).__name__


class _Draws:
    """Stands in for the generators of a layer: numbers that follow from the seed of one image."""

    def __init__(self) -> None:
        self._seed: Any = None
        self._stream = _FIRST_STREAM

    def start(self, seed: Any) -> None:
        """Draw for an image with this seed (1, 2) from now on."""
        self._seed, self._stream = seed, _FIRST_STREAM

    def serve(self, layer: Any) -> None:
        """Take the place of the generator and the factor samplers of a layer."""
        from keras_cv import core

        if hasattr(layer, "_random_generator"):
            layer._random_generator = self
        for name, value in list(vars(layer).items()):
            if isinstance(value, core.UniformFactorSampler):
                setattr(layer, name, _Factor(self.uniform, value.lower, value.upper))

    def uniform(
        self, shape: Any = (), minval: Any = 0, maxval: Any = None, dtype: Any = tf.float32
    ) -> Any:
        """As tf.random.Generator.uniform, whose place it takes."""
        high = 1.0 if maxval is None else maxval
        unit = self._unit(uniform, shape)
        if tf.as_dtype(dtype).is_integer:
            span = tf.cast(high - minval, tf.float32)
            return tf.cast(minval, dtype) + tf.cast(tf.floor(unit * span), dtype)
        return tf.cast(minval + unit * (high - minval), dtype)

    def normal(
        self, shape: Any = (), mean: Any = 0.0, stddev: Any = 1.0, dtype: Any = tf.float32
    ) -> Any:
        """As tf.random.Generator.normal."""
        return tf.cast(mean + stddev * self._unit(normal, shape), dtype)

    random_normal = normal

    def _unit(self, draw: Any, shape: Any) -> Any:
        sides = shape if isinstance(shape, tuple | list) else tf.unstack(shape)
        static = [tf.get_static_value(tf.convert_to_tensor(side)) for side in sides]
        self._stream += 1
        # A count that is not known beforehand is that of the images, of which there is one.
        size = tuple(1 if side is None else int(side) for side in static)
        return draw(derive(self._seed, self._stream), 0, size)[0]


class _Factor:
    """A strength drawn between two numbers, in place of KerasCV's UniformFactorSampler."""

    def __init__(self, draw: Any, lower: float, upper: float) -> None:
        self._draw, self.lower, self.upper = draw, lower, upper

    def __call__(self, shape: Any = (), dtype: Any = tf.float32) -> Any:
        return self._draw(shape, self.lower, self.upper, dtype)
