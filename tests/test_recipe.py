"""The recipe: what it accepts, what it refuses and in which words."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from deadlib.errors import RecipeError
from deadlib.recipe import (
    ModelSection,
    Recipe,
    explained_text,
    load_recipe,
    parse_recipe,
    recipe_text,
    reference_text,
)

ROOT = Path(__file__).parent.parent


@pytest.fixture
def recipe_file(tmp_path: Path) -> Path:
    path = tmp_path / "recipe.yaml"
    path.write_text("dataset: cells\ntraining: {epochs: 3}\n")
    return path


def test_everything_but_the_dataset_has_a_default() -> None:
    recipe = parse_recipe({"dataset": "cells"})
    assert recipe.model == ModelSection()
    assert recipe.training.epochs == 20


def test_a_recipe_cannot_be_changed_after_it_was_checked() -> None:
    recipe = parse_recipe({"dataset": "cells"})
    with pytest.raises(ValueError, match="frozen"):
        recipe.training.epochs = 5


@pytest.mark.parametrize(
    ("tree", "message"),
    [
        ({"dataset": "d", "modle": {}}, "modle: unknown key; did you mean model?"),
        ({"dataset": "d", "model": {"widht": 8}}, "model.widht: unknown key; did you mean width?"),
        (
            {"dataset": "d", "model": {"name": "resnet5"}},
            "model.name: 'resnet5' is unknown; did you mean resnet50?",
        ),
        (
            {"dataset": "d", "validation": {"metric": "f1_macro"}},
            "validation.metric: 'f1_macro' is unknown; did you mean macro_f1?",
        ),
        ({"model": {}}, "dataset: missing"),
        ({"dataset": "d", "training": {"epochs": 0}}, "training.epochs: "),
        ({"dataset": "d", "training": {"epochs": "many"}}, "found 'many'"),
        ({"dataset": "d", "input": {"size_px": [64]}}, "input.size_px"),
        ({"dataset": "d", "augment": [{"sigma": 1}]}, "augment.0.name: missing"),
    ],
)
def test_a_mistake_is_named_by_its_path(tree: dict[str, Any], message: str) -> None:
    with pytest.raises(RecipeError) as refused:
        parse_recipe(tree, origin="my.yaml")
    assert str(refused.value).startswith("my.yaml:")
    assert message in str(refused.value)


def test_all_mistakes_are_named_at_once() -> None:
    with pytest.raises(RecipeError) as refused:
        parse_recipe({"dataset": "d", "modle": {}, "training": {"epochs": 0}})
    assert "modle" in str(refused.value)
    assert "training.epochs" in str(refused.value)


def test_parameters_of_an_augmentation_pass_through() -> None:
    recipe = parse_recipe({"dataset": "d", "augment": [{"name": "blur", "sigma_px": [1, 2]}]})
    assert recipe.augment[0].parameters == {"sigma_px": [1, 2]}


def test_overrides_are_yaml_and_may_make_sections(recipe_file: Path) -> None:
    recipe = load_recipe(
        recipe_file,
        ["training.epochs=5", "input.size_px=[32, 48]", "optimiser.clip_norm=null", "seed=7"],
    )
    assert recipe.training.epochs == 5
    assert recipe.input.size_px == (32, 48)
    assert recipe.optimiser.clip_norm is None
    assert recipe.seed == 7


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("training.epochs", "expected key=value"),
        ("=5", "expected key=value"),
        ("dataset.path=x", "dataset is not a section"),
        ("training.epochs=[1", "not valid YAML"),
        ("training.epoch=5", "did you mean epochs?"),
    ],
)
def test_a_wrong_override_is_refused(recipe_file: Path, override: str, message: str) -> None:
    with pytest.raises(RecipeError) as refused:
        load_recipe(recipe_file, [override])
    assert message in str(refused.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("dataset: [", "not valid YAML"),
        ("- dataset", "a recipe is a mapping of sections, found list"),
        ("", "found NoneType"),
    ],
)
def test_a_file_that_is_no_recipe_is_refused(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "recipe.yaml"
    path.write_text(text)
    with pytest.raises(RecipeError) as refused:
        load_recipe(path)
    assert str(path) in str(refused.value)
    assert message in str(refused.value)


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="cannot read the recipe"):
        load_recipe(tmp_path / "none.yaml")


words = st.text(st.characters(codec="utf-8", exclude_categories=("Cs", "Cc")), min_size=1)
recipes = st.builds(
    lambda dataset, seed, size, rate, weights, step: parse_recipe(
        {
            "dataset": dataset,
            "seed": seed,
            "input": {"size_px": size},
            "optimiser": {"learning_rate": rate},
            "loss": {"class_weights": weights},
            "augment": [{"name": "blur", **step}],
        }
    ),
    words,
    st.integers(0, 2**31 - 1),
    st.lists(st.integers(1, 512), min_size=2, max_size=2),
    st.floats(1e-8, 10),
    st.dictionaries(words, st.floats(0, 100), min_size=1, max_size=3),
    st.dictionaries(words.filter(lambda word: word != "name"), st.floats(-5, 5), max_size=2),
)


@settings(max_examples=50, deadline=None)
@given(recipe=recipes)
def test_a_written_recipe_reads_back_the_same(recipe: Recipe) -> None:
    for text in (recipe_text(recipe), explained_text(recipe)):
        assert parse_recipe(yaml.safe_load(text)) == recipe


def test_the_explained_recipe_describes_every_key() -> None:
    text = explained_text(parse_recipe({"dataset": "d"}))
    unwrapped = " ".join(line.strip().removeprefix("# ") for line in text.splitlines())
    for field in ModelSection.model_fields.values():
        assert str(field.description) in unwrapped


def test_the_reference_of_all_keys_is_up_to_date() -> None:
    assert (ROOT / "docs" / "recipe.md").read_text(encoding="utf-8") == reference_text()


def test_reading_a_recipe_starts_no_deep_learning_library() -> None:
    script = "import sys, deadlib.recipe; print({'tensorflow', 'keras', 'pandas'} & {*sys.modules})"
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "set()"


def test_patience_and_keeping_the_last_epoch_contradict_each_other() -> None:
    with pytest.raises(RecipeError, match="patience_epochs needs keep: best"):
        parse_recipe({"dataset": "d", "validation": {"keep": "last", "patience_epochs": 3}})


CONFIGS = sorted((Path(__file__).parent.parent / "configs").glob("*.yaml"))
# The others are settings of conversions.
RECIPES = [path for path in CONFIGS if not path.stem.endswith("_data")]


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_every_recipe_of_the_project_is_valid_and_its_steps_are_known(path: Path) -> None:
    from deadlib.augment import build_augmenter

    recipe = load_recipe(path)
    build_augmenter(recipe.augment, input=recipe.input, normalise=lambda images: images)


def test_on_and_off_are_words_and_true_and_false_are_not(tmp_path: Path) -> None:
    path = tmp_path / "recipe.yaml"
    path.write_text("dataset: d\ninput: {cache: off, equalise: true}\ntraining: {jit: on}\n")
    found = load_recipe(path, ["training.mixed_precision=yes", "input.illumination=false"])
    assert (found.input.cache, found.training.jit) == ("off", "on")
    assert found.input.equalise is True
    assert found.training.mixed_precision is True
    assert found.input.illumination is False
    assert load_recipe(path, ["training.jit=off"]).training.jit == "off"
    path.write_text(recipe_text(found))
    assert load_recipe(path) == found
