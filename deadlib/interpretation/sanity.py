"""Do the maps say anything about the network? Adebayo's test.

Adebayo et al., Sanity Checks for Saliency Maps (2018): the weights are randomised layer by layer,
from the head downwards. Maps that stay the same come from the image, as an edge detector's would,
and explain nothing of what was learned.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray
from scipy.stats import spearmanr

from deadlib.inputs import ProgressCallback
from deadlib.interpretation.question import Question

IMAGES = 8
STAGES = 5
DRAWS = 3
THRESHOLD = 0.5
"""Rank correlation of maps before and after all weights were randomised. At 0.5 the two still
share a quarter of the order of places (its square); maps that ignore the weights have 1."""
SSIM_FILTER_PX = 11

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Stage:
    """The network randomised from its head down to a layer, compared with itself as trained."""

    layer: str
    correlation: float
    """Spearman's, over the places of a map; mean over images and draws."""
    ssim: float
    """Structural similarity of the maps, each scaled to its strongest place; the same mean."""


@dataclass(frozen=True)
class Sanity:
    """What became of the maps."""

    images: int
    """With any heat as trained; others have nothing to compare."""
    draws: int
    stages: tuple[Stage, ...]
    """From the head alone to all layers."""

    @property
    def depend(self) -> bool | None:
        """Whether the maps depend on the weights; None: there was no heat to compare."""
        return self.stages[-1].correlation < THRESHOLD if self.stages else None

    def sentence(self) -> str:
        """The verdict, in words."""
        if self.depend is None:
            return "the maps hold no heat: there is nothing to test, and nothing to interpret"
        left = f"rank correlation {self.stages[-1].correlation:.2f}, limit {THRESHOLD:g}"
        if self.depend:
            return f"the maps depend on the weights: randomised, they are others ({left})"
        return (
            "the maps do NOT depend on the weights: do not interpret them; a network that learned "
            f"nothing gives nearly the same ({left})"
        )

    def to_json(self) -> dict[str, Any]:
        return {
            "maps_depend_on_the_weights": self.depend,
            "sentence": self.sentence(),
            "threshold": THRESHOLD,
            **asdict(self),
        }


@dataclass(frozen=True)
class Cascade:
    """The verdict, and maps to look at: of the network as trained, and of each stage's first draw.

    trained: (B, h, w); stages: as many of them as `sanity.stages`.
    """

    sanity: Sanity
    trained: Floats
    stages: tuple[Floats, ...]


def check(
    question: Question,
    images: Floats,
    class_index: Sequence[int],
    *,
    seed: int = 0,
    progress: ProgressCallback | None = None,
) -> Cascade:
    """Ask the same of the network with more and more of its weights randomised.

    images: (B, H, W, C) float32, preprocessed; class_index: (B,). Feature maps are weighted by
    each image's own gradient: class weights are those of the trained network alone.
    """
    question = question.with_own_weights()
    trained = question.heat(images, class_index)
    usable = [i for i, heat in enumerate(trained) if np.ptp(heat) > 0]
    if not usable:
        return Cascade(Sanity(0, 0, ()), trained, ())
    measured: dict[str, list[tuple[float, float]]] = {}
    shown: list[Floats] = []
    for draw in range(DRAWS):
        for layer, network in randomised(question.network, (seed, draw)):
            heat = replace(question, network=network).heat(images, class_index)
            pairs = [(trained[i], heat[i]) for i in usable]
            measured.setdefault(layer, []).extend(similarity(*pair) for pair in pairs)
            if draw == 0:
                shown.append(heat)
        if progress is not None:
            progress("sanity", draw + 1, DRAWS)
    stages = [
        Stage(layer, *(float(value) for value in np.mean(values, axis=0)))
        for layer, values in measured.items()
    ]
    return Cascade(Sanity(len(usable), DRAWS, tuple(stages)), trained, tuple(shown))


def similarity(trained: Floats, other: Floats) -> tuple[float, float]:
    """Rank correlation and structural similarity of two maps (h, w), the first one not constant.

    A constant map has nothing in common with one that is not: 0.
    """
    if np.ptp(other) == 0:
        return (0.0, 0.0)
    correlation = float(spearmanr(trained.ravel(), other.ravel()).statistic)
    size = min(SSIM_FILTER_PX, *trained.shape)
    one, two = (
        tf.constant(each / max(float(each.max()), 1e-12))[..., None] for each in (trained, other)
    )
    return (correlation, float(tf.image.ssim(one, two, 1.0, filter_size=size)))


def randomised(network: keras.Model, seed: Any) -> Iterator[tuple[str, keras.Model]]:
    """The network with its weights randomised from the head down to a layer, that layer named.

    Kernels become normal noise of the same root mean square; biases and the values of batch
    normalisation are shuffled: activations keep their size. Up to `STAGES` layers, the head first,
    the input's last. It is one network throughout: ask it before the next one is taken.
    """
    copy = keras.models.clone_model(network)
    copy.set_weights(network.get_weights())
    generator = np.random.default_rng(seed)
    weighted = [layer for layer in reversed(copy.layers) if layer.weights]
    kernels = [i for i, layer in enumerate(weighted) if _has_kernel(layer)]
    ends = {kernels[round(place)] for place in np.linspace(0, len(kernels) - 1, STAGES)}
    for i, layer in enumerate(weighted):
        layer.set_weights([_noise(value, generator) for value in layer.get_weights()])
        if i in ends:
            yield layer.name, copy


def _has_kernel(layer: Any) -> bool:
    return any(len(weight.shape) > 1 for weight in layer.weights)


def _noise(value: NDArray[Any], generator: np.random.Generator) -> NDArray[Any]:
    if value.ndim > 1:
        size = float(np.sqrt(np.mean(np.square(value, dtype=np.float64))))
        return generator.normal(0, size, value.shape).astype(value.dtype)
    return generator.permutation(value)
