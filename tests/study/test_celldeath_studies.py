"""The studies of docs/celldeath.md, laid over a tiny world of the same design."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from deadlib.data.view import view_of
from deadlib.simulation import simulate
from deadlib.simulation.parameters import CELL_LINES
from deadlib.study import load_study
from deadlib.study.cells import Cell, cells_of
from tfrecords_tools import ConversionSettings, Dataset, convert, open_dataset
from tfrecords_tools.view import viewed

STUDIES = Path(__file__).parents[2] / "configs" / "studies"


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("celldeath")
    images = simulate(
        "transmitted", folder / "world", lines=CELL_LINES, hours=(1, 2, 3), wells=1, fields=1,
        width=32, height=32, density=900.0, seed=1,
    )  # fmt: skip
    settings = ConversionSettings(
        labels="table", table="images.csv", split_by=("well",), tile=(2, 2)
    )
    return Path(convert(images, folder / "world-dataset", settings).folder)


def cells(name: str, world: Path) -> list[Cell]:
    study = load_study(STUDIES / f"celldeath_{name}.yaml")
    return cells_of(study.model_copy(update={"recipe": {**study.recipe, "dataset": str(world)}}))


def seen(cell: Cell, world: Path) -> Dataset:
    return viewed(open_dataset(world), view_of(cell.recipes[0]))


def rows(dataset: Dataset, split: str) -> pd.DataFrame:
    return dataset.manifest[dataset.manifest["split"] == split]


def test_each_hour_is_tested_on_an_experiment_that_training_never_saw(world: Path) -> None:
    found = cells("hours", world)
    assert [len(cell.recipes) for cell in found] == [2, 2, 2]
    for hour, cell in enumerate(found, start=1):
        dataset = seen(cell, world)
        assert dataset.classes == ["CPT", "DMSO"]
        assert set(rows(dataset, "test")["experiment"]) == {"N4"}
        assert "N4" not in set(rows(dataset, "train")["experiment"])
        assert set(rows(dataset, "train")["time_hours"].astype(int)) == {hour}


def test_all_against_all_has_14_classes(world: Path) -> None:
    (cell,) = cells("all", world)
    dataset = seen(cell, world)
    assert len(dataset.classes) == 14
    for split in ("train", "test"):
        assert set(rows(dataset, split)["label"]) == set(dataset.classes)


def test_each_line_is_trained_and_tested_alone(world: Path) -> None:
    found = cells("each_line", world)
    assert sorted(cell.name for cell in found) == sorted(CELL_LINES)
    for cell in found:
        dataset = seen(cell, world)
        for split in ("train", "validation", "test"):
            assert set(rows(dataset, split)["cell_line"]) == {cell.name}


def test_the_line_that_is_left_out_is_all_of_the_test(world: Path) -> None:
    found = cells("leave_line_out", world)
    assert len(found) == 7
    for line, cell in zip(sorted(CELL_LINES), found, strict=True):
        dataset = seen(cell, world)
        assert set(rows(dataset, "test")["cell_line"]) == {line}
        assert len(rows(dataset, "test")) == 4 * 2 * 4, "all experiments, treatments and tiles"
        assert line not in set(rows(dataset, "train")["cell_line"])


def test_the_teacher_of_the_transfer_has_seen_none_of_its_lines(world: Path) -> None:
    scratch, taught = cells("transfer", world)
    assert scratch.recipes[0].model.weights == "random"
    assert taught.recipes[0].model.weights == "runs/cancer_lines/model.keras"
    for cell in (scratch, taught):
        dataset = seen(cell, world)
        assert set(rows(dataset, "train")["cell_line"]) == {"H9", "FN", "DCMWT"}
        assert set(rows(dataset, "train")["experiment"]) == {"N1"}
        assert set(rows(dataset, "test")["experiment"]) == {"N4"}


def test_the_published_network_starts_from_nothing_or_from_imagenet() -> None:
    scratch, imagenet = cells_of(load_study(STUDIES / "celldeath_imagenet.yaml"))
    assert [recipe.seed for recipe in scratch.recipes] == [0, 1, 2, 3, 4]
    before, after = scratch.recipes[0], imagenet.recipes[0]
    assert (before.model.weights, after.model.weights) == ("random", "imagenet")
    assert before.split == after.split
