"""A whole study, really trained: one cell of it fails."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from deadlib.errors import RecipeError, RunError
from deadlib.evaluation.table import read_predictions
from deadlib.inference import read_metadata
from deadlib.recipe import parse_recipe
from deadlib.runs import DATASET, Run, start
from deadlib.study import Study, StudyResult, parse_study, run_study
from deadlib.study.cells import Training
from deadlib.study.training import Task, work

Tree = dict[str, Any]
Ended = dict[str, str | None]


def study(recipe: Tree, **changes: Any) -> Study:
    tree = {
        "recipe": recipe,
        "title": "Lines left out",
        "axes": [
            {"name": "rate", "cells": {"sound": {}, "broken": {"optimiser.learning_rate": 1e30}}},
            {"leave_out": "cell_line"},
        ],
        "group_by": "well",
    }
    return parse_study(tree | changes)


def run(found: Study, out: Path, **options: Any) -> tuple[StudyResult, Ended]:
    ended: Ended = {}

    def on_end(training: Training, problem: str | None) -> None:
        ended[training.name] = problem

    return run_study(found, out, bootstrap=200, on_end=on_end, **options), ended


@pytest.fixture(scope="module")
def finished(
    recipe: Tree, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, StudyResult, Ended]:
    out = tmp_path_factory.mktemp("study")
    return out, *run(study(recipe), out)


def test_a_failed_cell_hinders_no_other_and_is_marked(
    finished: tuple[Path, StudyResult, Ended],
) -> None:
    out, result, ended = finished
    assert [name for name, problem in ended.items() if problem is None] == [
        "sound, without MCF7",
        "sound, without PC3",
    ]
    assert set(result.failed) == {"broken, without MCF7", "broken, without PC3"}
    assert "diverged" in result.failed["broken, without PC3"]
    by_name = {row.name: row for row in result.rows}
    assert by_name["broken, without PC3"].repeats == 0
    assert by_name["broken, without PC3"].failed == {
        "broken, without PC3": result.failed["broken, without PC3"]
    }
    page = (out / "table.html").read_text()
    assert "2 of the trainings failed" in page
    assert result.failed["broken, without PC3"] in page


def test_each_cell_is_tested_on_what_was_left_out(
    finished: tuple[Path, StudyResult, Ended],
) -> None:
    out, _, _ = finished
    for line in ("MCF7", "PC3"):
        frame = pd.read_parquet(out / "cells" / f"sound-without-{line}" / "predictions.parquet")
        assert set(frame["cell_line"]) == {line}
        assert len(frame) == 48


def test_the_row_says_what_the_run_and_its_predictions_say(
    finished: tuple[Path, StudyResult, Ended],
) -> None:
    out, result, _ = finished
    row = next(row for row in result.rows if row.name == "sound, without PC3")
    folder = out / "cells" / "sound-without-PC3"
    trained = Run.open(folder / "run")
    kept = trained.history.iloc[trained.kept_round - 1]
    assert row.spreads["train_loss"].mean == pytest.approx(kept["train_loss"])
    assert row.spreads["validation_accuracy"].mean == pytest.approx(
        kept["validation_example_accuracy"]
    )
    frame = pd.read_parquet(folder / "predictions.parquet")
    right = np.mean(frame["predicted"] == frame["label"])
    assert row.spreads["accuracy"].mean == pytest.approx(right)
    assert row.groups == frame["well"].nunique() * frame["experiment"].nunique()


def test_values_left_out_in_turn_are_one_test_of_everything(
    finished: tuple[Path, StudyResult, Ended],
) -> None:
    out, result, _ = finished
    (together,) = [row for row in result.rows if row.pools]
    assert together.name == "sound, all together"
    assert together.images == 96
    pooled = read_predictions(out / "predictions.parquet")
    assert len(pooled.frame) == 96
    assert not pooled.frame["example_id"].duplicated().any()
    assert set(pooled.frame["study_cell"]) == {"sound, without MCF7", "sound, without PC3"}
    assert set(pooled.frame["study_seed"]) == {0}
    assert pooled.metadata["split"]["proof"][0].endswith("none in two splits")
    assert pooled.metadata["card"]["confounding"] == []
    assert pooled.metadata["seen_in_training"] == 0
    right = np.mean(pooled.predicted_index == pooled.class_index)
    assert together.spreads["accuracy"].mean == pytest.approx(right)


def test_study_json_holds_the_numbers_of_the_table(
    finished: tuple[Path, StudyResult, Ended],
) -> None:
    out, result, _ = finished
    told = json.loads((out / "study.json").read_text())
    assert [row["name"] for row in told["rows"]] == [row.name for row in result.rows]
    assert told["failed"] == result.failed
    assert told["cells"]["sound, without PC3"] == "cells/sound-without-PC3"


def test_what_is_finished_stays_and_the_rest_is_done(
    finished: tuple[Path, StudyResult, Ended], recipe: Tree
) -> None:
    out, _, _ = finished
    record = out / "cells" / "sound-without-PC3" / "cell.json"
    before = record.stat().st_mtime_ns
    mended = [{"name": "rate", "cells": {"sound": {}}}, {"leave_out": "cell_line"}]
    # a training that was stopped after its last checkpoint
    (out / "cells" / "sound-without-MCF7" / "cell.json").unlink()
    result, ended = run(study(recipe, axes=mended), out)
    assert ended == {"sound, without MCF7": None}
    assert result.failed == {}
    assert record.stat().st_mtime_ns == before


def test_trainings_of_another_recipe_are_not_mixed_in(
    finished: tuple[Path, StudyResult, Ended], recipe: Tree
) -> None:
    out, _, _ = finished
    with pytest.raises(RunError, match=r"sound-without-MCF7: holds a training of another recipe"):
        run(study(recipe, set={"training.epochs": 1}), out)


def test_a_stopped_training_of_another_dataset_is_replaced_when_asked(
    recipe: Tree, tmp_path: Path
) -> None:
    task = Task("one", parse_recipe(recipe), tmp_path / "one", calibrate=False)
    start(task.run_folder, task.recipe)
    (task.run_folder / DATASET).write_text('{"fingerprint": "another"}')
    with pytest.raises(RunError, match="was trained on another dataset"):
        task.is_finished()
    assert not task.is_finished(overwrite=True)
    assert not task.folder.exists()


def test_a_training_without_a_test_is_refused_before_it_begins(
    recipe: Tree, tmp_path: Path
) -> None:
    task = Task("one", parse_recipe(recipe), tmp_path / "one", calibrate=False)
    with pytest.raises(RecipeError, match=r"no test split.*hold_out"):
        work(task, lambda share: None, lambda sentence: None)
    assert not task.run_folder.exists()


def test_a_calibration_that_is_no_longer_asked_for_is_taken_back(
    recipe: Tree, tmp_path: Path
) -> None:
    tree = {**recipe, "split": {"by": ["experiment"], "hold_out": ["experiment=N4"]}}
    task = Task("one", parse_recipe(tree), tmp_path / "one", calibrate=True)
    work(task, lambda share: None, lambda sentence: None)
    assert read_metadata(task.predictions)["calibration"]
    plain = replace(task, calibrate=False)
    assert not plain.is_finished()
    work(plain, lambda share: None, lambda sentence: None)
    assert plain.is_finished()
    assert read_metadata(task.predictions)["calibration"] is None


def test_a_study_is_refused_before_anything_is_trained(recipe: Tree, tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=r"model\.widht"):
        run(study(recipe, set={"model.widht": 4}), tmp_path / "out")
    assert not (tmp_path / "out").exists()
