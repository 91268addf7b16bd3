"""celldeath's recipes: what was published, and the same done right, from file names to a run."""

from __future__ import annotations

from pathlib import Path

import keras
import numpy as np
import pytest
from PIL import Image

from deadlib.data.view import open_viewed
from deadlib.models import build_network
from deadlib.models.groups import group_patterns, learning_with_the_body_frozen
from deadlib.recipe import ModelSection, Recipe, load_recipe
from deadlib.training import train
from deadlib.training.optimisers import group_rates
from tfrecords_tools import ConversionSettings, Dataset, convert

CONFIGS = Path(__file__).parent.parent.parent / "configs"
NAMES = ("published", "imagenet", "scratch", "all")


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """Photographs of 32 x 32 px under the published names, in tiles: 2 lines, 4 experiments."""
    source = tmp_path_factory.mktemp("images")
    generator = np.random.default_rng(0)
    for line in ("U2", "PC3"):
        for treatment, bright in (("CPT", 90), ("DMSO", 110)):
            for well in (1, 2):
                for experiment in (1, 2, 3, 4):
                    pixels = generator.normal(bright, 10, (32, 32)).clip(0, 255)
                    name = f"{line}_{treatment}{well}_1H_RGB_{well:04}_N{experiment}.png"
                    Image.fromarray(pixels.astype(np.uint8)).save(source / name)
    settings = ConversionSettings(
        labels="pattern", pattern="celldeath", tile=(2, 2), fractions=(0.6, 0.2, 0.2)
    )
    return convert(source, tmp_path_factory.mktemp("dataset"), settings)


def recipe(name: str, *changes: str) -> Recipe:
    return load_recipe(CONFIGS / f"celldeath_{name}.yaml", changes)


@pytest.mark.parametrize("name", NAMES)
def test_the_recipe_is_fastais_call(name: str) -> None:
    found = recipe(name)
    assert found.schedule.momentum == (0.95, 0.85)
    assert found.schedule.name == "one_cycle"
    optimiser = found.optimiser
    assert (optimiser.name, optimiser.beta_2, optimiser.epsilon) == ("adamw", 0.99, 1e-8)
    assert optimiser.weight_decay == 0.01
    assert optimiser.multipliers["*"].decay == 1
    assert (found.training.batch, found.training.drop_last) == (16, True)
    assert found.model.dropout == 0.5
    assert found.validation.metric == "loss"
    assert found.input.size_px == (480, 640)


def test_the_published_rates_are_those_of_a_slice_from_1e_4_to_1e_3() -> None:
    found = recipe("published")
    rates = sorted({rate for _, rate in group_rates(found.optimiser, group_patterns(found.model))})
    np.testing.assert_allclose(np.array(rates) * 1e-3, [1e-4, 3.1623e-4, 1e-3], rtol=1e-4)


def test_what_the_publication_calls_from_scratch_is_a_frozen_body() -> None:
    published, scratch = (
        recipe(name).model_copy(update={"model": recipe(name).model})
        for name in ("published", "scratch")
    )
    assert (published.freeze.body, published.model.weights) == ("always", "imagenet")
    assert (scratch.freeze.body, scratch.model.weights) == ("never", "random")
    network = build_network(published.model, size_px=(32, 32), channels=3, classes=2)
    learning = learning_with_the_body_frozen(network, published.model)
    counted = sum(int(np.prod(variable.shape)) for variable in learning)
    assert counted == 2_107_906 + 53_120


def test_tiles_of_a_photograph_meet_in_the_published_split_and_not_in_the_corrected_one(
    dataset: Dataset,
) -> None:
    torn = {}
    for name in ("published", "scratch"):
        found = open_viewed(recipe(name, f"dataset={dataset.folder}")).manifest
        test = found["split"] == "test"
        assert set(found.loc[test, "experiment"]) == {"N4"}
        assert "N4" not in set(found.loc[~test, "experiment"])
        torn[name] = (found.loc[~test].groupby("source_id")["split"].nunique() > 1).any()
    assert torn == {"published": True, "scratch": False}


def test_all_against_all_has_a_class_for_every_line_and_treatment(dataset: Dataset) -> None:
    found = open_viewed(recipe("all", f"dataset={dataset.folder}"))
    assert found.classes == ["PC3 CPT", "PC3 DMSO", "U2 CPT", "U2 DMSO"]


@pytest.mark.parametrize(("name", "epochs"), [("published", 1), ("imagenet", 2)])
def test_it_trains(dataset: Dataset, tmp_path: Path, name: str, epochs: int) -> None:
    small = ModelSection(name="small_cnn", width=4, blocks=2, head="concat")
    weights = tmp_path / "weights.keras"
    build_network(small, size_px=(16, 16), channels=1, classes=3).save(weights)
    changes = [
        *("model.name=small_cnn", "model.width=4", "model.blocks=2", "model.stride_in=1x1"),
        *(f"dataset={dataset.folder}", "input.size_px=[16, 16]", f"training.epochs={epochs}"),
        *("training.deterministic=false", "training.jit=off", "validation.keep=last"),
        f"model.weights={weights}",
    ]
    run = train(recipe(name, *changes), tmp_path / "run")
    assert len(run.history) == epochs
    moved = {
        layer.name
        for layer, former in zip(
            run.network().layers,
            keras.models.load_model(weights, compile=False).layers,
            strict=True,
        )
        if isinstance(layer, keras.layers.Conv2D)
        and not np.array_equal(layer.kernel.numpy(), former.kernel.numpy())
    }
    assert (moved == set()) == (name == "published")
