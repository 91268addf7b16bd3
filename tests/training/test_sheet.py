"""The sheet shows every step and the whole recipe, as training would draw them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from deadlib.cli.inspect import main
from deadlib.data.preprocess import preprocess_for
from deadlib.errors import InputError
from deadlib.recipe import Recipe, recipe_text
from deadlib.training.sheet import as_colours, draw_augmentations, sheet_rows
from tfrecords_tools import Dataset

RecipeMaker = Callable[..., Recipe]


def test_there_is_a_row_for_each_step_and_one_for_all(toy_recipe: RecipeMaker) -> None:
    recipe = toy_recipe(
        input={"size_px": [12, 12], "fit": "crop", "normalise": "none"},
        augment=[
            {"name": "flip"},
            {"name": "noise", "sigma": 0.5},
            {"name": "cutmix", "probability": 1.0},
        ],
    )
    examples = list(np.random.default_rng(0).random((4, 16, 16, 1)).astype(np.float32))
    rows = sheet_rows(recipe, preprocess_for(recipe.input, {}), examples)
    titles = [row.title.split("\n")[0] for row in rows]
    assert titles == [
        "random window of 12 x 12 px",
        "flip",
        "noise",
        "cutmix (mixes two)",
        "the whole recipe",
    ]
    window, flip, noise, cutmix, everything = (row.pictures for row in rows)
    for pictures in (window, flip, noise, cutmix, everything):
        assert pictures.shape == (9, 12, 12, 1)
        np.testing.assert_array_equal(pictures[0], examples[0][2:14, 2:14])
    assert np.isin(window, examples[0]).all()
    np.testing.assert_array_equal(
        np.sort(flip.reshape(9, -1)), np.sort(flip[:1].ravel())[None] * np.ones((9, 1), "f4")
    )
    assert 0.4 < (noise[1:] - noise[0]).std() < 0.6
    foreign = ~np.isin(cutmix, examples[0])
    assert foreign.any()
    assert np.isin(cutmix[foreign], np.stack(examples[1:])).all()


def test_a_row_has_one_contrast() -> None:
    pictures = np.zeros((3, 4, 4, 1), np.float32)
    pictures[1], pictures[2] = 0.5, 1.0
    found = as_colours(pictures, ["phase"])
    np.testing.assert_allclose(found[:, 0, 0, 0], [0, 0.5, 1], atol=1e-6)
    assert found.shape == (3, 4, 4, 3)


def test_channels_are_told_apart_by_colour() -> None:
    pictures = np.zeros((1, 2, 2, 2), np.float32)
    pictures[0, 0, 0, 0], pictures[0, 1, 1, 1] = 1, 1
    found = as_colours(pictures, ["dna", "actin"])
    assert found[0, 0, 0].max() == found[0, 1, 1].max() == 1
    assert not np.allclose(found[0, 0, 0], found[0, 1, 1])


def test_the_command_writes_a_picture_of_a_recipe(toy_recipe: RecipeMaker, tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(recipe_text(toy_recipe(augment=["deadnet_b"])))
    done = CliRunner().invoke(main, [str(path), "--augmentations"])
    assert done.exit_code == 0, done.output
    out = tmp_path / "mine-augmentations.png"
    assert f"augmentations: {out}" in done.stdout
    with Image.open(out) as picture:
        assert picture.format == "PNG"
        assert picture.width > 1000


def test_options_of_the_sheet_are_refused_without_it(toy_dataset: Dataset) -> None:
    done = CliRunner().invoke(main, [str(toy_dataset.folder), "--image", __file__])
    assert done.exit_code == 2
    assert "--image goes with --augmentations" in done.stderr


def test_an_image_of_other_channels_is_refused(toy_recipe: RecipeMaker, tmp_path: Path) -> None:
    Image.fromarray(np.zeros((16, 16, 3), np.uint8)).save(tmp_path / "red.png")
    with pytest.raises(InputError, match="has 3 channels, the dataset 1"):
        draw_augmentations(toy_recipe(), tmp_path / "x.png", image=tmp_path / "red.png")
