"""However a run is stopped, it ends with the weights of an undisturbed one, bit for bit."""

from __future__ import annotations

import json
import os
import shlex
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from deadlib.recipe import Recipe, recipe_text
from deadlib.runs import Run

RecipeMaker = Callable[..., Recipe]
TIMES = {"images_per_second", "input_wait_share", "seconds"}
INTERRUPTED = {
    "Ctrl-C in a round and at its last step, SIGTERM in validation": [130, 130, 143],
    "SIGKILL some steps after a checkpoint": [137],
}


@pytest.fixture(scope="module")
def folder(toy_recipe: RecipeMaker, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Holds a recipe with everything that is random, and then the runs."""
    found = tmp_path_factory.mktemp("resume")
    recipe = toy_recipe(
        model={"dropout": 0.3},
        augment=[{"name": "flip"}, {"name": "noise"}],
        # Ten steps an epoch, which rounds do not end with.
        training={
            "epochs": None,
            "steps": 36,
            "batch": 5,
            "checkpoint_every_steps": 4,
            "snapshot_every_steps": 17,
            "deterministic": True,
        },
        validation={"every_steps": 8, "examples": 13},
        optimiser={"multipliers": {"logits/*": {"learning_rate": 2, "decay": 0.5}}},
    )
    (found / "recipe.yaml").write_text(recipe_text(recipe))
    return found


@pytest.fixture(scope="module")
def exit_codes(folder: Path, run_script: Callable[..., Any]) -> dict[str, list[int]]:
    codes: dict[str, list[int]] = run_script("stop_and_resume.py", folder / "recipe.yaml", folder)
    return codes


def state_of(run: Path, checkpoint: str) -> dict[str, bytes]:
    """Every array of a checkpoint, and the history but for its times."""
    stored = json.loads((run / "checkpoints" / checkpoint / "state.json").read_text())
    arrays = np.load(run / "checkpoints" / checkpoint / stored["arrays"])
    found = {name: arrays[name].tobytes() for name in arrays.files}
    history = [
        {name: value for name, value in row.items() if name not in TIMES}
        for row in stored["state"].get("history", [])
    ]
    return {**found, "history": json.dumps(history).encode()}


def snapshots(run: Path) -> dict[str, list[bytes]]:
    """The weights of every snapshot, by file name."""
    return {
        path.name: [
            weight.tobytes() for weight in Run.open(run, int(path.stem)).network().get_weights()
        ]
        for path in (run / "snapshots").iterdir()
    }


def assert_same_run(found: Path, expected: Path) -> None:
    for checkpoint in ("latest", "kept"):
        states = [state_of(run, checkpoint) for run in (found, expected)]
        assert set(states[0]) == set(states[1])
        assert [name for name in states[0] if states[0][name] != states[1][name]] == []
    assert (found / "model.keras").is_file()
    assert snapshots(found) == snapshots(expected) != {}


@pytest.mark.parametrize("name", INTERRUPTED)
def test_an_interrupted_run_ends_like_an_undisturbed_one(
    folder: Path, exit_codes: dict[str, list[int]], name: str
) -> None:
    assert exit_codes["undisturbed"] == []
    assert exit_codes[name] == INTERRUPTED[name]
    assert_same_run(folder / name, folder / "undisturbed")


def test_the_command_stops_at_sigterm_and_goes_on_where_it_says(
    folder: Path, exit_codes: dict[str, list[int]]
) -> None:
    run = folder / "command"
    command = [sys.executable, "-m", "deadlib.cli.train"]
    environment = {**os.environ, "CUDA_VISIBLE_DEVICES": ""}
    with subprocess.Popen(
        [*command, str(folder / "recipe.yaml"), "--run", str(run)],
        stderr=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=environment,
    ) as process:
        assert process.stderr is not None
        for line in process.stderr:
            if line.startswith("step 8 of 36"):
                assert "% of the time waiting for input" in line
                process.send_signal(signal.SIGTERM)
                break
        said = process.stderr.read().splitlines()
    assert process.returncode == 143
    assert not (run / "model.keras").exists()
    resume = shlex.split(said[-1])
    assert resume[0] == "deadlib-train"
    done = subprocess.run(
        [*command, *resume[1:]], capture_output=True, text=True, env=environment, check=True
    )
    assert "next:" in done.stdout
    assert "Traceback" not in done.stderr
    assert_same_run(run, folder / "undisturbed")
