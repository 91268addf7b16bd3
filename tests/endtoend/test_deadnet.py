"""The published recipes run as they are shipped, but for their length."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

import deadlib
from deadlib.errors import RunError
from deadlib.inference import read_metadata
from deadlib.recipe import Recipe, load_recipe
from deadlib.runs import Run

CONFIGS = Path(__file__).parent.parent.parent / "configs"
SHORT = {"steps": 4, "snapshot_every_steps": 2, "batch": 4, "jit": "off"}
SHORT_VALIDATION = {"every_steps": 3, "examples": 6}


def command(name: str, *arguments: object, folder: Path) -> subprocess.CompletedProcess[str]:
    start = f"from deadlib.cli.{name} import main; main()"
    return subprocess.run(
        [sys.executable, "-c", start, *map(str, arguments)],
        cwd=folder,
        capture_output=True,
        text=True,
        env={**os.environ, "CUDA_VISIBLE_DEVICES": ""},
    )


def recipe(name: str) -> Recipe:
    return load_recipe(CONFIGS / f"deadnet_{name}.yaml")


@pytest.mark.parametrize("name", ["a", "b"])
def test_the_recipes_are_the_published_systems(name: str) -> None:
    found = recipe(name)
    assert (found.model.name, found.model.pooling, found.model.dense_batch_norm) == (
        "deadnet",
        "ceil",
        False,
    )
    assert found.input.size_px == (220, 220)
    assert (found.input.fit, found.input.normalise) == ("crop", "per_image_16bit")
    optimiser = found.optimiser
    assert (optimiser.name, optimiser.momentum, optimiser.nesterov) == ("sgd", 0.9, True)
    assert optimiser.weight_decay == {"a": 1e-4, "b": 1e-5}[name]
    assert (found.training.batch, found.training.steps) == (20, 500_000)
    assert found.training.snapshot_every_steps == 20_000
    assert found.validation.every_steps == 2000
    assert found.validation.examples == {"a": 20 * 20, "b": 5 * 20}[name]


@pytest.mark.parametrize("name", ["a", "b"])
def test_the_learning_rates_are_the_published_ones(name: str) -> None:
    from deadlib.training.schedules import build_schedule, learning_rate_at

    found = recipe(name)
    schedule = build_schedule(found.schedule, found.optimiser.learning_rate, 1_000_000)
    published = {
        0: "3.000e-04",
        10_000: "2.793e-04",
        100_000: "1.784e-04",
        200_000: "1.316e-04",
        500_000: "7.825e-05",
        1_000_000: "4.967e-05",
    }
    assert {step: f"{learning_rate_at(schedule, step):.3e}" for step in published} == published


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small experiment in phase contrast, converted."""
    found = tmp_path_factory.mktemp("deadnet")
    size = ["--positions", 16, "--frames", 2, "--positions-per-well", 1]
    frames = ["--width", 64, "--height", 64, *size, "--doses", "0,200"]
    done = command("simulate", "phase", "images", *frames, folder=found)
    assert done.returncode == 0, done.stderr
    table = ["--table", "images.csv", "--fractions", "0.5,0.3,0.2"]
    done = command("convert", "images", "dataset", *table, folder=found)
    assert done.returncode == 0, done.stderr
    return found


def overrides(**sections: dict[str, Any]) -> list[str]:
    """The shipped recipe on windows of 48 px, a few steps of it."""
    changed = {
        "input": {"size_px": [48, 48]},
        "training": SHORT,
        "validation": SHORT_VALIDATION,
        **sections,
    }
    return [
        f"{section}.{key}={json.dumps(value)}"
        for section, keys in changed.items()
        for key, value in keys.items()
    ]


def test_recipe_a_trains_and_its_snapshots_predict(folder: Path) -> None:
    # Here, where other tests run too, and so not deterministic: that could not be undone.
    options = overrides(training={**SHORT, "deterministic": False})
    found = load_recipe(
        CONFIGS / "deadnet_a.yaml", [f"dataset={json.dumps(str(folder / 'dataset'))}", *options]
    )
    run = deadlib.train(found, folder / "run-a")
    assert run.history["steps"].tolist() == [3, 4]
    assert run.kept_round == 2
    snapshot = Run.open(run.folder, 2)
    table = deadlib.predict(snapshot, folder / "dataset", folder / "a.parquet")
    metadata = read_metadata(table)
    assert (metadata["snapshot"], metadata["bn_at_test"]) == (2, "moving")
    assert pd.read_parquet(table)["probability_sick"].between(0, 1).all()
    with pytest.raises(RunError, match="no snapshot of step 3; there are those of steps 2, 4"):
        Run.open(run.folder, 3)


def test_recipe_b_trains_to_the_letter_of_the_files(folder: Path) -> None:
    """With Caffe's multipliers and the statistics of the batch, of which prediction tells."""
    changes = overrides(model={"bn_at_test": "batch"}, optimiser={"multipliers": "caffe"})
    options = [part for change in ["dataset=dataset", *changes] for part in ("--set", change)]
    recipe_path = CONFIGS / "deadnet_b.yaml"
    done = command("train", recipe_path, "--run", "run-b", *options, folder=folder)
    assert done.returncode == 0, done.stderr
    assert "step 3 of 4: loss" in done.stderr
    run = Run.open(folder / "run-b")
    assert run.recipe.optimiser.multipliers["*conv*/bias"].learning_rate == 2
    chosen = ["--split", "all", "--snapshot", 4]
    done = command("predict", "run-b", "dataset", *chosen, folder=folder)
    assert done.returncode == 0, done.stderr
    assert "each answer depends on the images that it is shown with" in done.stderr
    table = run.folder / "predictions-00000004.parquet"
    assert read_metadata(table)["bn_at_test"] == "batch"
    found = pd.read_parquet(table)
    assert len(found) == 32
    assert found["example_id"].is_unique
