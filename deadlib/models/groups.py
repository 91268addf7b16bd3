"""Which part of a network a variable is of: the early body, the late body, or the head.

The ResNets and DenseNet-121 are divided as fastai 1.0 divides them, the others about in the
middle of their body.
"""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import Any

import keras

from deadlib.models.parts import EMBEDDING, HEAD, LOGITS
from deadlib.recipe import ModelSection

GROUPS = ("early body", "late body", "head")

_RESNET = ("stage[34]_*",)
_LATE = {
    "deadnet": ("conv[34]_*",),
    "resnet34": _RESNET,
    "resnet50": _RESNET,
    "resnet101": _RESNET,
    "densenet121": ("pool3_*", "conv4_*", "pool4_*", "conv5_*", "bn/*"),
    "efficientnetb0": ("block[4567]*", "top_*"),
}
_HEAD = (f"{HEAD}*", f"{EMBEDDING}/*", f"{LOGITS}/*", "fc[12]*")

Patterns = list[tuple[str, int]]
"""Patterns of variable names as in conv1/kernel, and the place in GROUPS; the first that fits."""


def group_patterns(model: ModelSection) -> Patterns:
    """The groups of the network of a recipe; the last pattern fits everything."""
    if model.name == "small_cnn":
        half = model.blocks // 2
        late = tuple(f"block{block}_*" for block in range(half + 1, model.blocks + 1))
    else:
        late = _LATE[model.name]
    return [*((name, 2) for name in _HEAD), *((name, 1) for name in late), ("*", 0)]


def group_of(path: str, patterns: Patterns) -> int:
    """The place in GROUPS of the variable `path`."""
    return next(group for pattern, group in patterns if fnmatchcase(path, pattern))


def learning_with_the_body_frozen(network: keras.Model, model: ModelSection) -> list[Any]:
    """The trainable variables of the head, and of batch normalisation wherever it stands."""
    norms = {
        id(variable)
        for layer in network.layers
        if isinstance(layer, keras.layers.BatchNormalization)
        for variable in layer.trainable_variables
    }
    patterns = group_patterns(model)
    return [
        variable
        for variable in network.trainable_variables
        if id(variable) in norms or GROUPS[group_of(variable.path, patterns)] == "head"
    ]
