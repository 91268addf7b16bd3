"""Presets are the published recipes: constants as the papers and their code have them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from deadlib.errors import RecipeError
from deadlib.presets import PRESETS
from deadlib.recipe import explained_text, load_recipe, parse_recipe, recipe_text


def steps(name: str) -> dict[str, Any]:
    """The steps of a preset by name; of two alike the last."""
    return {step["name"]: step for step in PRESETS[name].steps}


def names(name: str) -> list[str]:
    return [step["name"] for step in PRESETS[name].steps]


def test_deadnet_a_warps_by_10_px_every_128_turns_and_blurs() -> None:
    assert names("deadnet_a") == ["thin_plate_spline", "dihedral", "blur"]
    found = steps("deadnet_a")
    assert found["thin_plate_spline"]["spacing_px"] == 128
    assert found["thin_plate_spline"]["deviation_px"] == 10
    assert found["blur"]["sigma_px"] == [1.1, 1.5]
    # 3 warps x 8 views x 2 blurs x 54 windows = 2592 copies of a frame; the first is the image.
    copies = [1 / (1 - found[step]["probability"]) for step in ("thin_plate_spline", "blur")]
    assert round(copies[0] * copies[1] * 8 * 54) == 2592


def test_deadnet_b_turns_blurs_and_adds_noise_of_half_a_deviation() -> None:
    assert names("deadnet_b") == ["dihedral", "blur", "noise"]
    found = steps("deadnet_b")
    assert found["blur"]["sigma_px"] == [1.1, 1.5]
    assert found["noise"]["sigma"] == 0.5
    # 8 views x 3 blurs x 10 frames x 3 noises = 720 copies of a sequence.
    copies = [1 / (1 - found[step]["probability"]) for step in ("blur", "noise")]
    assert round(copies[0] * copies[1] * 8 * 10) == 720


def test_celldeath_has_the_transforms_of_its_fastai_call() -> None:
    assert names("celldeath") == ["dihedral", "rotate", "zoom_anywhere", "lighting", "lighting"]
    found = PRESETS["celldeath"].steps
    assert [step.get("probability", 1) for step in found] == [1, 0.75, 0.75, 0.75, 0.75]
    assert found[1]["degrees"] == 10
    assert found[2]["factor"] == [1, 1.1]
    assert (found[3]["scale"], found[3]["change"]) == ([0.9, 1 / 0.9], 0.5)
    assert (found[4]["scale"], found[4]["change"]) == (1, [0.45, 0.55])
    assert PRESETS["celldeath"].input["size_px"] == [480, 640]


def test_celldeathpred_turns_equalised_windows_and_varies_each_channel() -> None:
    assert names("celldeathpred") == ["dihedral", "gain_offset"]
    found = steps("celldeathpred")["gain_offset"]
    assert (found["gain_deviation"], found["offset_deviation"]) == (0.1, 0.1)
    assert found["intensities"] == "stored"
    section = PRESETS["celldeathpred"].input
    assert section["equalise"]
    assert section["crops"] == 5
    assert section["size_px"] == [512, 512]


def test_contrast_then_brightness_is_the_published_formula() -> None:
    from deadlib.augment.intensity import Lighting

    images = np.random.default_rng(0).random((4, 5, 5, 1)).astype(np.float32)
    seed = np.array([1, 2])
    scaled = Lighting(scale=1.1, change=0.5)(images, seed)
    both = Lighting(scale=1.0, change=0.46)(scaled, seed)
    logit = np.log(images / (1 - images))
    expected = 1 / (1 + np.exp(-(1.1 * logit + np.log(0.46 / 0.54))))
    np.testing.assert_allclose(both, expected, atol=1e-5)


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_stands_for_its_steps_and_builds(name: str) -> None:
    from deadlib.augment import build_augmenter

    recipe = parse_recipe({"dataset": "d", "augment": name, "input": dict(PRESETS[name].input)})
    assert [step.name for step in recipe.augment] == names(name)
    # Smaller than published, so that it is quick.
    side = recipe.input.model_copy(update={"size_px": (40, 48), "fit": "resize", "crops": 1})
    augment = build_augmenter(recipe.augment, input=side, normalise=lambda images: images)
    images = np.random.default_rng(0).random((3, 40, 48, 2)).astype(np.float32)
    found = np.asarray(augment(images, np.array([1, 2])))
    assert found.shape == images.shape
    assert np.isfinite(found).all()
    assert PRESETS[name].differences


def test_a_preset_may_stand_among_steps() -> None:
    recipe = parse_recipe({"dataset": "d", "augment": ["deadnet_b", {"name": "gamma"}]})
    assert [step.name for step in recipe.augment] == [*names("deadnet_b"), "gamma"]


def test_a_run_keeps_the_steps_of_its_preset(tmp_path: Any) -> None:
    recipe = parse_recipe({"dataset": "d", "augment": "celldeath"})
    (tmp_path / "recipe.yaml").write_text(recipe_text(recipe))
    assert load_recipe(tmp_path / "recipe.yaml") == recipe
    assert "zoom_anywhere" in explained_text(recipe)
    (tmp_path / "recipe.yaml").write_text(explained_text(recipe))
    assert load_recipe(tmp_path / "recipe.yaml") == recipe


def test_a_name_that_is_no_preset_is_refused_with_the_known_ones() -> None:
    with pytest.raises(RecipeError, match=r"augment: .*robst is no preset \(known: deadnet_a, "):
        parse_recipe({"dataset": "d", "augment": "robst"})
