"""From a recipe to a run directory: it learns, says so, and refuses what would mix runs."""

from __future__ import annotations

import json
import shutil
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from deadlib import runs
from deadlib.data.pipeline import batches
from deadlib.data.preprocess import preprocess_for
from deadlib.errors import RecipeError, ResultsChangedWarning, RunError
from deadlib.metrics import METRICS, average_by_group
from deadlib.recipe import Recipe
from deadlib.runs import Run
from deadlib.training import build, train
from deadlib.training.state import HistoryRow
from deadlib.training.step import example_seeds
from tfrecords_tools import Dataset, DatasetError

RecipeMaker = Callable[..., Recipe]

LEARNS = {
    "model": {"width": 8},
    "training": {"epochs": 12, "batch": 10},
    "augment": [{"name": "flip"}],
    "schedule": {"name": "one_cycle"},
}


@pytest.fixture(scope="module")
def history() -> list[HistoryRow]:
    return []


@pytest.fixture(scope="module")
def run(
    toy_recipe: RecipeMaker, tmp_path_factory: pytest.TempPathFactory, history: list[HistoryRow]
) -> Run:
    folder = tmp_path_factory.mktemp("runs") / "learnt"
    return train(toy_recipe(**LEARNS), folder, on_round=history.append, command="deadlib-train x")


def predict(run: Run, dataset: Dataset, split: str) -> tuple[np.ndarray, ...]:
    """row, class_index, probabilities, by the saved model alone."""
    part = next(iter(batches(dataset, split, run.recipe.input, batch=1000)))
    images = preprocess_for(run.recipe.input, run.dataset)(part["image"])
    probabilities = keras.ops.softmax(run.network()(images))
    return np.asarray(part["row"]), np.asarray(part["class_index"]), np.asarray(probabilities)


def test_it_learns_what_can_be_learnt(run: Run, toy_dataset: Dataset) -> None:
    _, class_index, probabilities = predict(run, toy_dataset, "test")
    assert (probabilities.argmax(axis=1) == class_index).mean() >= 0.9


def test_the_saved_model_is_the_best_epoch(run: Run, toy_dataset: Dataset) -> None:
    row, class_index, probabilities = predict(run, toy_dataset, "validation")
    groups = toy_dataset.manifest["group"].to_numpy()[row]
    found = average_by_group(groups, class_index, probabilities)
    recorded = run.history.iloc[run.kept_epoch - 1]
    assert (
        recorded["validation_balanced_accuracy"]
        == run.history["validation_balanced_accuracy"].max()
    )
    for name, metric in METRICS.items():
        expected = recorded[f"validation_{name}"]
        assert metric.function(*found) == pytest.approx(expected, abs=1e-4, nan_ok=True), name
    right = (probabilities.argmax(axis=1) == class_index).mean()
    assert recorded["validation_example_accuracy"] == pytest.approx(right)


def test_history_has_a_row_per_epoch(run: Run, history: list[HistoryRow]) -> None:
    assert run.history["epoch"].tolist() == list(range(1, 13))
    assert run.history["steps"].tolist() == list(range(5, 65, 5))
    assert run.history.columns.tolist() == list(history[0])
    assert len(history) == 12
    assert run.history["input_wait_share"].between(0, 1).all()
    assert (run.history["images_per_second"] > 0).all()
    assert run.history["train_loss"].iloc[-1] < run.history["train_loss"].iloc[0] / 2


def test_the_learning_rate_column_is_the_schedule(run: Run) -> None:
    rates = run.history["learning_rate"]
    assert rates.max() <= run.recipe.optimiser.learning_rate
    assert rates.iloc[-1] < rates.max() / 100


def test_the_run_directory_says_all(run: Run, toy_dataset: Dataset) -> None:
    assert run.classes == ["dead", "living"]
    assert run.channels == toy_dataset.channels
    assert run.dataset["fingerprint"] == toy_dataset.fingerprint
    assert run.dataset["image_shape"] == [16, 16]
    assert run.dataset["statistics"] is None
    assert run.dataset["settings"] == toy_dataset.info["settings"]
    assert run.versions["command"] == "deadlib-train x"
    assert run.versions["tensorflow"] == tf.__version__
    assert list((run.folder / "tensorboard").glob("events*"))
    assert not [path for path in run.folder.rglob("*") if "part" in path.name]


def test_a_network_that_answers_as_before_is_loaded_quietly(run: Run) -> None:
    with np.load(run.folder / runs.GOLDEN) as golden:
        assert golden["images"].shape[0] == runs.GOLDEN_EXAMPLES
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        run.network()


def test_a_network_that_answers_otherwise_is_told_with_both_versions(
    run: Run, tmp_path: Path
) -> None:
    folder = shutil.copytree(run.folder, tmp_path / "run")
    network = run.network()
    head = network.get_layer("logits")
    head.set_weights([-weight for weight in head.get_weights()])
    network.save(folder / runs.MODEL)
    versions = json.loads((folder / runs.VERSIONS).read_text()) | {"keras": "3.0.0"}
    (folder / runs.VERSIONS).write_text(json.dumps(versions))
    here = f"stored with keras 3.0.0, answered with keras {keras.__version__}"
    with pytest.warns(ResultsChangedWarning, match=here):
        Run.open(folder).network()


def test_tensorboard_shows_numbers_pictures_and_the_recipe(run: Run) -> None:
    found: set[str] = set()
    for path in (run.folder / "tensorboard").glob("events*"):
        for event in tf.compat.v1.train.summary_iterator(str(path)):
            found |= {value.tag for value in event.summary.value}
    assert found >= {
        "recipe",
        "loss/train",
        "loss/validation",
        "learning rate",
        "speed/images per second",
        "speed/share of time waiting for input",
        "validation groups/balanced accuracy",
        "validation confusion",
        "training batch, augmented",
    }


def test_a_run_is_not_trained_into_twice(run: Run) -> None:
    with pytest.raises(RunError, match="a run already stands here"):
        train(run.recipe, run.folder)


def test_resuming_a_finished_run_changes_nothing(run: Run) -> None:
    before = (run.folder / runs.MODEL).stat().st_mtime_ns
    assert train(run.recipe, run.folder, resume=True).folder == run.folder
    assert (run.folder / runs.MODEL).stat().st_mtime_ns == before


def test_resuming_with_another_recipe_is_refused(run: Run, toy_recipe: RecipeMaker) -> None:
    with pytest.raises(RunError, match=r"another recipe \(differs in seed, model"):
        train(toy_recipe(**{**LEARNS, "seed": 1, "model": {"width": 4}}), run.folder, resume=True)


def test_a_folder_with_other_things_is_left_alone(tmp_path: Path, toy_recipe: RecipeMaker) -> None:
    (tmp_path / "thesis.txt").write_text("my thesis")
    for overwrite in (False, True):
        with pytest.raises(RunError, match="not empty and not a run"):
            train(toy_recipe(), tmp_path, overwrite=overwrite)
    assert (tmp_path / "thesis.txt").read_text() == "my thesis"


def test_nothing_to_resume_is_refused(tmp_path: Path, toy_recipe: RecipeMaker) -> None:
    with pytest.raises(RunError, match="no run to resume"):
        train(toy_recipe(), tmp_path / "none", resume=True)


def test_a_missing_dataset_is_refused(tmp_path: Path, toy_recipe: RecipeMaker) -> None:
    recipe = toy_recipe(dataset=str(tmp_path / "none"))
    with pytest.raises(DatasetError, match="none"):
        train(recipe, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_overwriting_starts_anew_and_keeps_what_is_no_run(
    run: Run, tmp_path: Path, toy_recipe: RecipeMaker
) -> None:
    folder = shutil.copytree(run.folder, tmp_path / "run")
    (folder / "notes.txt").write_text("mine")
    recipe = toy_recipe(training={"epochs": 1, "batch": 24}, seed=1)
    again = train(recipe, folder, overwrite=True)
    assert again.recipe.seed == 1
    assert len(again.history) == 1
    assert (folder / "notes.txt").read_text() == "mine"


def test_divergence_is_one_message(tmp_path: Path, toy_recipe: RecipeMaker) -> None:
    recipe = toy_recipe(
        optimiser={"name": "sgd", "learning_rate": 1e30}, schedule={"name": "constant"}
    )
    with pytest.raises(RecipeError, match="training diverged in epoch"):
        train(recipe, tmp_path / "run")


def test_a_mistake_in_the_new_recipe_costs_no_finished_run(
    tmp_path: Path, toy_recipe: RecipeMaker
) -> None:
    found = train(toy_recipe(training={"epochs": 1, "batch": 24}), tmp_path / "run")
    (found.folder / runs.PREDICTIONS).touch()
    for mistake in ({"augment": [{"name": "flipp"}]}, {"model": {"weights": "none.keras"}}):
        with pytest.raises(RecipeError):
            train(toy_recipe(**mistake), found.folder, overwrite=True)
        assert Run.open(found.folder).network() is not None
    train(toy_recipe(training={"epochs": 1, "batch": 24}), found.folder, overwrite=True)
    assert not (found.folder / runs.PREDICTIONS).exists()


@pytest.mark.parametrize(
    "step", [{"name": "flipp"}, {"name": "blur", "sigma": 1}, {"name": "thin_plate_spline"}]
)
def test_a_wrong_step_is_refused_before_images_are_read(
    tmp_path: Path, toy_recipe: RecipeMaker, step: dict[str, Any]
) -> None:
    # Few points on the window, too many on the images.
    step |= {"spacing_px": 0.25} if step["name"] == "thin_plate_spline" else {}
    recipe = toy_recipe(augment=[step], input={"size_px": [8, 8], "fit": "crop"})
    read: list[str] = []
    with pytest.raises(RecipeError, match=step["name"]):
        train(recipe, tmp_path / "run", progress=lambda stage, *_: read.append(stage))
    assert not read
    assert not (tmp_path / "run").exists()


def test_a_full_disk_is_one_message(
    tmp_path: Path, toy_recipe: RecipeMaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(folder: str) -> None:
        raise tf.errors.ResourceExhaustedError(None, None, f"{folder}; No space left on device")

    monkeypatch.setattr(tf.summary, "create_file_writer", refuse)
    with pytest.raises(RunError, match="no space left on the disk; make room"):
        train(toy_recipe(), tmp_path / "run")


def test_patience_ends_training(tmp_path: Path, toy_recipe: RecipeMaker) -> None:
    recipe = toy_recipe(
        optimiser={"learning_rate": 1e-9},
        training={"epochs": 9, "batch": 24},
        validation={"metric": "accuracy", "patience_epochs": 2},
    )
    found = train(recipe, tmp_path / "run")
    assert found.kept_epoch == 1
    assert len(found.history) == 3


def test_the_last_epoch_is_kept_where_the_recipe_says_so(
    tmp_path: Path, toy_recipe: RecipeMaker
) -> None:
    recipe = toy_recipe(training={"epochs": 3, "batch": 24}, validation={"keep": "last"})
    found = train(recipe, tmp_path / "run")
    assert found.kept_epoch == 3
    kept = json.loads((tmp_path / "run" / "checkpoints" / "kept" / "state.json").read_text())
    assert kept["state"]["epoch"] == 3


def test_everything_at_once_trains(tmp_path: Path, toy_recipe: RecipeMaker) -> None:
    """Crop, statistics, mixed precision, XLA, clipping, focal loss, streaming and not holding."""
    recipe = toy_recipe(
        input={"size_px": [12, 12], "fit": "crop", "normalise": "dataset"},
        training={"epochs": 1, "batch": 24, "mixed_precision": True, "jit": "on"},
        augment=[{"name": "noise"}],
        loss={"name": "focal", "class_weights": "balanced", "label_smoothing": 0.1},
        optimiser={"name": "sgd", "clip_norm": 1.0},
        validation={"metric": "roc_auc"},
    )
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(build, "HELD_BYTES", 0)
        found = train(recipe, tmp_path / "run")
    network = found.network()
    assert network.input_shape == (None, 12, 12, 1)
    assert {layer.dtype_policy.name for layer in network.layers} == {"float32"}
    assert keras.config.dtype_policy().name == "float32"
    assert found.dataset["statistics"]["mean"] == pytest.approx([0.42], abs=0.05)


def test_where_images_are_kept_changes_nothing_but_the_speed(
    tmp_path: Path, toy_recipe: RecipeMaker
) -> None:
    losses = {}
    for cache in ("memory", "off", "disk"):
        recipe = toy_recipe(input={"cache": cache}, training={"epochs": 1})
        found = train(recipe, tmp_path / cache)
        losses[cache] = found.history["train_loss"].iloc[0]
    assert losses["off"] == pytest.approx(losses["memory"], rel=1e-5)
    assert losses["disk"] == pytest.approx(losses["memory"], rel=1e-5)
    kept = sorted(path.name.split("-")[1] for path in (tmp_path / "cache").iterdir())
    assert kept == ["train", "validation"]


def test_a_shard_damaged_in_mid_run_is_one_message(
    tmp_path: Path, toy_dataset: Dataset, toy_recipe: RecipeMaker
) -> None:
    folder = shutil.copytree(toy_dataset.folder, tmp_path / "dataset")
    recipe = toy_recipe(input={"cache": "off"}).model_copy(update={"dataset": str(folder)})

    def damage(stage: str, done: int, total: int) -> None:
        if stage == "training" and done == 1:
            for shard in folder.glob("*train*"):
                shard.write_bytes(bytes(shard.stat().st_size))

    with pytest.raises(DatasetError, match="damaged or edited"):
        train(recipe, tmp_path / "run", progress=damage)


def test_a_changed_dataset_cannot_be_resumed(run: Run, tmp_path: Path) -> None:
    folder = shutil.copytree(run.folder, tmp_path / "run")
    (folder / runs.MODEL).unlink()
    described = {**run.dataset, "fingerprint": "another"}
    (folder / runs.DATASET).write_text(json.dumps(described))
    with pytest.raises(RunError, match="another dataset"):
        train(run.recipe, folder, resume=True)


def test_an_example_is_augmented_alike_wherever_it_stands() -> None:
    rows = np.array([5, 900, 17], np.int64)
    seeds = np.asarray(example_seeds(3, 7, rows))
    assert seeds.dtype == np.uint32
    np.testing.assert_array_equal(np.asarray(example_seeds(3, 7, rows[::-1])), seeds[::-1])

    def pairs(seed: int, step: int) -> set[Any]:
        return {tuple(pair) for pair in np.asarray(example_seeds(seed, step, rows)).tolist()}

    assert len(pairs(3, 7) | pairs(3, 8) | pairs(4, 7)) == 9
