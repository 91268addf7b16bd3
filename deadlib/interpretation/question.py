"""How a network is asked where it looked: which layer, by which method, with whose weights."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import keras
import numpy as np

from deadlib.errors import InputError
from deadlib.inputs import ProgressCallback, RunInput, Warn
from deadlib.interpretation import gradcam, methods
from deadlib.interpretation.class_weights import class_weights
from deadlib.interpretation.names import WEIGHTS
from deadlib.models import last_convolution

GRADCAM = "gradcam"
OF_EACH_IMAGE = "of each image"
OF_THE_CLASS = "of the class: their mean over its training images"


@dataclass(frozen=True)
class Question:
    """What is asked of a network; the answers are maps of heat."""

    network: keras.Model
    layer: str
    method: str = GRADCAM
    class_weights: np.ndarray | None = None
    """(classes, K) float32: feature maps weighted alike in all images. None: by each image."""

    @property
    def weights(self) -> str:
        return "image" if self.class_weights is None else "class"

    def heat(self, images: np.ndarray, class_index: Sequence[int]) -> np.ndarray:
        """Evidence for one class of each image.

        images: (B, H, W, C) float32, preprocessed; class_index: (B,). Returns (B, h, w) float32.
        """
        if self.class_weights is None:
            return methods.heat_maps(self.network, images, class_index, self.layer, self.method)
        maps = gradcam.feature_maps(self.network, images, self.layer)
        return gradcam.evidence(maps, self.class_weights[list(class_index)][:, None])[..., 0]

    def heat_for_each(self, images: np.ndarray, class_index: Sequence[int]) -> np.ndarray:
        """Evidence for several classes of every image: (B, h, w, classes asked) float32."""
        if self.class_weights is None:
            each = [self.heat(images, [index] * len(images)) for index in class_index]
            return np.stack(each, axis=-1)
        maps = gradcam.feature_maps(self.network, images, self.layer)
        return gradcam.evidence(maps, self.class_weights[None, list(class_index)])

    def with_own_weights(self) -> Question:
        """The same, each image's feature maps weighted by its own gradient."""
        return replace(self, class_weights=None)


def described(given: RunInput, question: Question) -> dict[str, str]:
    """What was asked of what, in words: for the page, and for the files of maps."""
    run = given.run
    return {
        "run": str(run.folder.resolve()),
        "network": run.recipe.model.name,
        "images": str(given.dataset.folder.resolve()),
        "method": question.method,
        "weights": OF_EACH_IMAGE if question.class_weights is None else OF_THE_CLASS,
        "layer": question.layer,
    }


def ask(
    given: RunInput,
    *,
    layer: str | None = None,
    method: str = GRADCAM,
    weights: str = "image",
    progress: ProgressCallback | None = None,
    warn: Warn | None = None,
) -> Question:
    """The question to the network of a run; class weights are found or computed.

    layer: by default the last feature map. Raises InputError on a layer, method or weights that do
    not exist or do not go together, and as `class_weights`.
    """
    methods.check_method(method)
    if weights not in WEIGHTS:
        raise InputError(f"--weights {weights}: unknown; expected one of {', '.join(WEIGHTS)}")
    if weights == "class" and method != GRADCAM:
        raise InputError(
            f"--weights class: belongs to Grad-CAM, and --method {method} weights no feature maps "
            f"by class; use --weights image, or --method {GRADCAM}"
        )
    network = given.run.network()
    layer = layer or last_convolution(network)
    gradcam.check_layer(network, layer)
    found = None
    if weights == "class":
        found = class_weights(given, network, layer, progress=progress, warn=warn).weights
    return Question(network, layer, method, found)
