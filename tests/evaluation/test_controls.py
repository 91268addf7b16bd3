"""The report's section on shortcuts, with nothing but a table, and with the dataset beside it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from finished_run import make_dataset

from deadlib.evaluation import assess
from deadlib.evaluation.controls import controls
from deadlib.evaluation.report import evaluate

Tables = Callable[..., pd.DataFrame]
Write = Callable[..., Path]


def test_a_table_alone_gives_the_controls_that_need_no_images(table: Tables, write: Write) -> None:
    frame = table(separation=2.0, groups=40, per_group=3)
    section = controls(assess(write(frame, name="theirs.csv"), bootstrap=200))
    told = {found["key"]: found for found in section.numbers["controls"]}
    assert section.numbers["model"]["verdict"] == "itself"
    assert told["batch"]["verdict"] == "nothing"
    assert told["intensity"]["verdict"] == "unmeasured"
    assert "no dataset" in told["intensity"]["reason"]
    assert "Not measured" in section.html


def test_a_model_that_knows_the_plate_raises_an_alarm(table: Tables, write: Write) -> None:
    frame = table(groups=80, per_group=2)
    rng = np.random.default_rng(0)
    dead = frame["label"] == "dead"
    well = frame["group"].factorize()[0]
    follows = (rng.random(80) < 0.85)[well]
    frame["plate"] = np.where(dead == follows, "plate1", "plate2")
    score = np.clip(0.3 + 0.4 * (frame["plate"] == "plate1") + rng.normal(0, 0.05, 160), 0, 1)
    frame["probability_dead"], frame["probability_living"] = score, 1 - score
    section = controls(assess(write(frame), bootstrap=200))
    assert section.remarks[0].level == "alarm"
    assert "has learnt the plate, and nothing shows" in section.remarks[0].text


def test_one_class_has_nothing_to_tell(table: Tables, write: Write) -> None:
    frame = table()
    section = controls(assess(write(frame[frame["label"] == "dead"]), bootstrap=200))
    assert "one class" in section.numbers["missing"]


def test_images_and_embedding_are_looked_at_where_they_are(
    tmp_path: Path, full_metadata: dict[str, object]
) -> None:
    dataset = make_dataset(tmp_path, count=20)
    frame = dataset.manifest.copy()
    rng = np.random.default_rng(0)
    frame["split"] = "test"
    frame["plate"] = [f"plate{i % 2}" for i in range(40)]
    frame["probability_dead"] = rng.random(40)
    frame["probability_living"] = 1 - frame["probability_dead"]
    frame["embedding"] = list(rng.normal(0, 1, (40, 6)).astype(np.float32))
    # rows that are not evaluated must not shift the others
    frame.loc[frame.index[:3], "label"] = None
    told = {
        **full_metadata,
        "classes": dataset.classes,
        "dataset": str(dataset.folder),
        "fingerprint": dataset.fingerprint,
    }
    found = pa.Table.from_pandas(frame, preserve_index=False)
    path = tmp_path / "predictions.parquet"
    pq.write_table(found.replace_schema_metadata({b"deadlib": json.dumps(told).encode()}), path)
    page = evaluate(path, tmp_path / "report", bootstrap=200, controls=True)
    numbers = json.loads((page.parent / "report.json").read_text())["controls"]
    assert all(control["verdict"] != "unmeasured" for control in numbers["controls"][:5])
    assert [probe["key"] for probe in numbers["probes"]] == ["plate"]
    assert (page.parent / "figures" / "controls.png").is_file()
    assert "pairs ranked rightly" in page.read_text()
