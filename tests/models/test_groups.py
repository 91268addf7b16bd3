"""The parts of a network that learn at different rates, or not at all."""

from __future__ import annotations

from collections import Counter

import keras
import numpy as np
import pytest

from deadlib.models import MODELS, build_network
from deadlib.models.groups import (
    GROUPS,
    group_of,
    group_patterns,
    learning_with_the_body_frozen,
)
from deadlib.recipe import ModelSection


def layers_of(name: str, size_px: int = 32, **options: str) -> dict[str, list[str]]:
    """The layers with variables of each group, in the order of the graph."""
    section = ModelSection.model_validate({"name": name, **options})
    network = build_network(section, size_px=(size_px, size_px), channels=1, classes=2)
    patterns = group_patterns(section)
    found: dict[str, list[str]] = {group: [] for group in GROUPS}
    for variable in network.trainable_variables:
        layer = variable.path.split("/")[0]
        group = found[GROUPS[group_of(variable.path, patterns)]]
        if layer not in group:
            group.append(layer)
    return found


@pytest.mark.parametrize("name", [name for name in MODELS if name != "resnet101"])
def test_every_network_has_all_groups(name: str) -> None:
    found = layers_of(name)
    assert all(found.values())
    assert found["head"][-1] == "logits"
    counts = Counter(layer for group in found.values() for layer in group)
    assert set(counts.values()) == {1}


def test_resnets_are_divided_before_their_third_stage_as_fastai_does() -> None:
    found = layers_of("resnet34", head="concat")
    assert found["early body"][0].startswith("stem_")
    assert {name[:6] for name in found["early body"][2:]} == {"stage1", "stage2"}
    assert {name[:6] for name in found["late body"]} == {"stage3", "stage4"}
    assert found["head"] == ["head_norm", "head_dense", "embedding", "logits"]


def test_densenet_is_divided_before_its_second_transition_as_fastai_does() -> None:
    found = layers_of("densenet121")
    assert found["early body"][0] == "conv1_conv"
    assert found["early body"][-1].startswith("conv3_block12")
    assert found["late body"][0] == "pool3_bn"
    assert found["late body"][-1] == "bn"


def test_with_the_body_frozen_the_head_and_all_norms_learn() -> None:
    section = ModelSection.model_validate({"name": "resnet50", "head": "concat"})
    network = build_network(section, size_px=(32, 32), channels=3, classes=2)
    learning = learning_with_the_body_frozen(network, section)
    norms = [x for x in network.layers if isinstance(x, keras.layers.BatchNormalization)]
    counted = sum(int(np.prod(variable.shape)) for variable in learning)
    # torchvision's ResNet-50 has 53 norms of 26,560 channels; the head is the published one.
    assert len(norms) == 53 + 2
    assert counted == 2 * 26_560 + 2_107_906
