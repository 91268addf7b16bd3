from __future__ import annotations

import json
import os
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from deadlib.bootstrap import Estimate, Resampling
from deadlib.errors import PredictionError, RunError
from deadlib.recipe import parse_recipe
from deadlib.runs import Run
from deadlib.study import cheating_gap
from deadlib.study.gap import difference, random_recipe
from deadlib.study.training import Task, work

Tree = dict[str, Any]


@pytest.fixture(scope="module")
def held_out(recipe: Tree, tmp_path_factory: pytest.TempPathFactory) -> Task:
    """A run that was tested on experiments that it has not seen."""
    split = {"by": ["experiment"], "hold_out": ["experiment=N4"], "fractions": [0.6, 0.4, 0]}
    folder = tmp_path_factory.mktemp("gap") / "honest"
    task = Task("honest", parse_recipe({**recipe, "split": split}), folder, calibrate=False)
    work(task, lambda share: None, lambda sentence: None)
    return task


def test_the_random_split_has_as_many_examples_in_each_part(held_out: Task) -> None:
    from deadlib.data.view import open_viewed

    run = Run.open(held_out.run_folder)
    honest = open_viewed(run.recipe).manifest["split"].value_counts()
    random = open_viewed(random_recipe(run)).manifest
    assert random["split"].value_counts().to_dict() == pytest.approx(honest.to_dict(), abs=2)
    experiments = random.groupby("experiment")["split"].nunique()
    assert (experiments == 3).all(), "images of one experiment stand everywhere"


def test_the_section_sets_both_tests_side_by_side(held_out: Task, tmp_path: Path) -> None:
    section = cheating_gap(
        held_out.run_folder, held_out.predictions, tmp_path / "random", resampling=Resampling(200)
    )
    found = section.numbers
    frame = pd.read_parquet(held_out.predictions)
    other = pd.read_parquet(tmp_path / "random" / "predictions.parquet")
    for name, table in (("grouped", frame), ("random", other)):
        accuracy = np.mean(table["predicted"] == table["label"])
        assert found[name]["accuracy"]["value"] == pytest.approx(accuracy)
    assert found["gap"]["accuracy"]["value"] == pytest.approx(
        found["random"]["accuracy"]["value"] - found["grouped"]["accuracy"]["value"]
    )
    assert set(other["experiment"]) == {"N1", "N2", "N3", "N4"}
    assert "The interval of the random split" in section.html
    (remark,) = section.remarks
    assert remark.text.startswith("On a random split the same recipe reaches an accuracy of ")

    model = tmp_path / "random" / "run" / "model.keras"
    before = model.stat().st_mtime_ns
    cheating_gap(None, held_out.predictions, tmp_path / "random", resampling=Resampling(200))
    assert model.stat().st_mtime_ns == before, "a training that stands there is taken"

    with pytest.raises(RunError, match="random split already"):
        random_recipe(Run.open(tmp_path / "random" / "run"))


def test_ctrl_c_leaves_a_checkpoint_that_the_same_call_goes_on_from(
    held_out: Task, tmp_path: Path
) -> None:
    def interrupt(stage: str, done: int, total: int) -> None:
        if done < total:
            os.kill(os.getpid(), signal.SIGINT)

    folder = tmp_path / "random"
    with pytest.raises(KeyboardInterrupt):
        cheating_gap(None, held_out.predictions, folder, progress=interrupt)
    assert (folder / "run" / "checkpoints" / "latest").is_dir()
    assert not (folder / "run" / "model.keras").exists()
    cheating_gap(None, held_out.predictions, folder, resampling=Resampling(200))
    assert (folder / "cell.json").is_file()


def test_a_table_from_elsewhere_has_no_gap(tmp_path: Path) -> None:
    path = tmp_path / "theirs.parquet"
    pd.DataFrame({"label": ["a"], "probability_a": [1.0]}).to_parquet(path)
    with pytest.raises(PredictionError, match="does not name the run"):
        cheating_gap(None, path, tmp_path / "random")


def test_a_table_of_a_snapshot_has_no_gap(tmp_path: Path) -> None:
    told = {
        "run": "run",
        "fingerprint": "same",
        "trained_on_fingerprint": "same",
        "predicted_split": "test",
        "snapshot": 40,
    }
    table = pa.table({"label": ["a"], "probability_a": [1.0]})
    path = tmp_path / "snapshot.parquet"
    pq.write_table(table.replace_schema_metadata({"deadlib": json.dumps(told)}), path)
    with pytest.raises(PredictionError, match="without --snapshot"):
        cheating_gap(None, path, tmp_path / "random")


def test_the_interval_of_a_difference_covers_it() -> None:
    """Of two independent means whose own intervals are exact, against 4000 simulations."""
    rng = np.random.default_rng(0)
    trials, half = 4000, 1.959964
    one, other = rng.normal(0.8, 0.05, trials), rng.normal(0.6, 0.1, trials)
    covered = 0
    for a, b in zip(one, other, strict=True):
        gap = difference(
            Estimate(a, a - half * 0.05, a + half * 0.05),
            Estimate(b, b - half * 0.1, b + half * 0.1),
        )
        assert gap.low is not None
        assert gap.high is not None
        covered += gap.low < 0.2 < gap.high
    assert covered / trials == pytest.approx(0.95, abs=0.01)


def test_skewed_intervals_lend_the_side_that_counts() -> None:
    # as the larger may be smaller by 0.3 and the smaller larger by 0.4, the gap may be 0.5 smaller
    gap = difference(Estimate(0.9, 0.6, 0.95), Estimate(0.5, 0.38, 0.9))
    assert (gap.low, gap.high) == pytest.approx((0.4 - 0.5, 0.4 + 0.13))


def test_without_an_interval_the_gap_has_none() -> None:
    gap = difference(Estimate(0.9, 0.8, 1.0), Estimate(0.5, reason="one group only"))
    assert gap.value == pytest.approx(0.4)
    assert (gap.low, gap.reason) == (None, "one group only")
