"""The studies of docs/celldeathpred.md, laid over a tiny screen in the published layout."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from deadlib.data.view import view_of
from deadlib.plates.settings import read_table_settings
from deadlib.plates.table import plate_table, write_table
from deadlib.recipe import load_recipe
from deadlib.simulation import simulate
from deadlib.study import load_study
from deadlib.study.cells import Cell, cells_of
from tfrecords_tools import ConversionSettings, Dataset, convert, open_dataset
from tfrecords_tools.settings_file import read_settings
from tfrecords_tools.view import viewed

CONFIGS = Path(__file__).parents[2] / "configs"
CLASSES = ["apoptosis", "ferroptosis", "healthy"]


@pytest.fixture(scope="module")
def screen(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two experiments of two plates, from raw plate table and folders to a dataset."""
    folder = tmp_path_factory.mktemp("celldeathpred")
    images = simulate(
        "painting", folder / "screen", layout="published", experiments=2, plates=2, inducers=3,
        fields=1, width=32, height=32, seed=1,
    )  # fmt: skip
    wells = folder / "wells.csv"
    settings = read_table_settings("celldeathpred", viability_range=(0.3, 0.8))
    write_table(plate_table(images / "viability.csv", settings), wells)
    read = {**read_settings(CONFIGS / "celldeathpred_data.yaml"), "table": str(wells)}
    return Path(convert(images / "images", folder / "dataset", ConversionSettings(**read)).folder)


def cells(name: str, screen: Path) -> list[Cell]:
    study = load_study(CONFIGS / "studies" / f"celldeathpred_{name}.yaml")
    return cells_of(study.model_copy(update={"recipe": {**study.recipe, "dataset": str(screen)}}))


def seen(cell: Cell, screen: Path) -> Dataset:
    return viewed(open_dataset(screen), view_of(cell.recipes[0]))


def rows(dataset: Dataset, split: str) -> pd.DataFrame:
    return dataset.manifest[dataset.manifest["split"] == split]


def test_only_wells_in_the_range_of_viability_are_learnt_from(screen: Path) -> None:
    found = open_dataset(screen).manifest
    treated = found[found["label"] != "healthy"]["viability"].astype(float)
    assert treated.between(0.3, 0.8).all()
    assert sorted(found["label"].unique()) == CLASSES


@pytest.mark.parametrize(("name", "column"), [("plate", "plate"), ("experiment", "experiment")])
def test_what_is_left_out_is_the_test_and_nothing_else(
    name: str, column: str, screen: Path
) -> None:
    found = cells(f"leave_{name}_out", screen)
    values = sorted(open_dataset(screen).manifest[column].unique())
    assert len(found) == len(values)
    for value, cell in zip(values, found, strict=True):
        dataset = seen(cell, screen)
        assert set(rows(dataset, "test")[column]) == {value}
        assert value not in set(rows(dataset, "train")[column])
        assert set(rows(dataset, "train")["label"]) == set(CLASSES)


def test_a_compound_that_is_left_out_is_tested_on_all_plates(screen: Path) -> None:
    found = cells("leave_compound_out", screen)
    assert len(found) == 6
    for cell in found:
        dataset = seen(cell, screen)
        (compound,) = set(rows(dataset, "test")["treatment"])
        assert compound not in set(rows(dataset, "train")["treatment"])
        assert {"DMSO"} < set(rows(dataset, "train")["treatment"])


def test_the_trainings_that_are_compared_differ_in_loss_and_sampling_alone(screen: Path) -> None:
    found = cells("contrast", screen)
    plain, sampled, contrasted, both = (cell.recipes[0] for cell in found)
    assert [recipe.seed for recipe in found[0].recipes] == [0, 1, 2, 3, 4]
    assert [r.sampling.name for r in (plain, sampled, contrasted, both)] == [
        "random", "plates_and_classes", "random", "plates_and_classes",
    ]  # fmt: skip
    assert [r.metric_loss.name for r in (plain, sampled, contrasted, both)] == [
        "none", "none", "supervised_contrastive", "supervised_contrastive",
    ]  # fmt: skip
    same = ("split", "model", "input", "augment", "optimiser", "schedule", "training")
    for recipe in (plain, sampled, contrasted):
        for section in same:
            assert getattr(recipe, section) == getattr(both, section)
    dataset = seen(found[0], screen)
    assert set(rows(dataset, "test")["plate"]) == {"4"}
    assert set(rows(dataset, "train")["plate"]) == {"1", "2", "3"}


def test_the_released_recipe_is_the_released_run() -> None:
    recipe = load_recipe(CONFIGS / "celldeathpred_released.yaml")
    sampling = recipe.sampling
    assert sampling.plates * sampling.samples * len(CLASSES) == recipe.training.batch == 42
    assert (recipe.loss.weight, recipe.metric_loss.weight) == (0.5, 0.5)
    assert recipe.metric_loss.temperature == 0.1
    optimiser = recipe.optimiser
    assert (optimiser.name, optimiser.learning_rate, optimiser.epsilon) == ("adam", 1.25e-5, 1e-8)
    assert (optimiser.beta_1, optimiser.beta_2) == (0.9, 0.999)
    assert optimiser.weight_decay == 1e-3
    assert optimiser.multipliers["*"].decay == 1
    assert recipe.metric_loss.pairs == "classes"
    assert (recipe.model.name, recipe.model.stem) == ("efficientnetb0", "extra_mean")
    assert (recipe.model.embedder, recipe.model.classifier, recipe.model.dropout) == ((), (), 0)
    assert (recipe.input.size_px, recipe.input.crops) == ((512, 512), 5)
    assert recipe.input.equalise
    assert [step.name for step in recipe.augment] == ["dihedral", "gain_offset"]
    assert (recipe.split.by, recipe.split.fractions) == (("example",), (0.8, 0.2, 0.0))
    assert (recipe.validation.metric, recipe.training.epochs) == ("map_at_r", 300)
    assert recipe.freeze.batch_norm
    assert recipe.validation.patience_epochs == 50
    right = load_recipe(CONFIGS / "celldeathpred.yaml")
    assert right.split.by == ("well",)
    assert right.validation.group_by == "well"
