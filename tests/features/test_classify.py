"""Classifiers on features answer for the same splits as a network, in the same table."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.ensemble import RandomForestClassifier
from sklearn.preprocessing import StandardScaler

from deadlib.errors import InputError
from deadlib.evaluation import evaluate
from deadlib.evaluation.table import read_predictions
from deadlib.features import MODELS, FeatureTable, classify, measure, open_features
from deadlib.features.splits import well_name
from deadlib.predictions import open_predictions
from tfrecords_tools import Dataset
from tfrecords_tools.view import View, viewed

PLATES = ("P1", "P2", "P3")


def made_up(rows_per_plate: int = 40, shift: float = 0.0) -> FeatureTable:
    """Wells of three plates, the last for the test; one feature tells the class, one nothing."""
    generator = np.random.default_rng(0)
    frames = []
    for number, plate in enumerate(PLATES):
        label = np.resize(["healthy", "apoptosis", "ferroptosis"], rows_per_plate)
        told = np.select([label == "healthy", label == "apoptosis"], [0.0, 3.0], 6.0)
        frames.append(
            pd.DataFrame(
                {
                    "example_id": [f"{plate}/{row:03}" for row in range(rows_per_plate)],
                    "plate": plate,
                    "treatment": np.where(label == "healthy", "DMSO", "drug"),
                    "split": "test" if plate == "P3" else "train",
                    "label": label,
                    "telling": told + generator.normal(0, 0.5, rows_per_plate) + shift * number,
                    "noise": generator.normal(0, 1, rows_per_plate),
                }
            )
        )
    frame = pd.concat(frames, ignore_index=True)
    return FeatureTable(Path("made_up.parquet"), frame, ("telling", "noise"), "well")


@pytest.mark.parametrize("model", MODELS)
def test_every_model_learns_and_writes_a_prediction_table(model: str, tmp_path: Path) -> None:
    out = tmp_path / "predictions.parquet"
    found = classify(made_up(), out, model=model)
    table = open_predictions(out, heavy=("embedding",))
    assert (found.training, found.predicted) == (80, 40)
    assert table.classes == ("apoptosis", "ferroptosis", "healthy")
    assert set(table.frame["split"]) == {"test"}
    assert (table.frame["predicted"] == table.frame["label"]).mean() > 0.9
    assert table.embeddings.shape == (40, 2)
    assert table.metadata["seen_in_training"] == 0
    assert table.metadata["seen_in_training_by_split"] == {}
    assert table.metadata["features"]["model"] == model


def test_the_forest_is_scikit_learns_on_z_scores_of_the_training_rows(tmp_path: Path) -> None:
    given = made_up()
    classify(given, tmp_path / "p.parquet", seed=7)
    training = (given.frame["split"] == "train").to_numpy()
    scaler = StandardScaler().fit(given.values[training])
    labels = given.frame["label"].to_numpy(str)
    forest = RandomForestClassifier(random_state=7)
    forest.fit(scaler.transform(given.values[training]), labels[training])
    expected = forest.predict_proba(scaler.transform(given.values[~training]))
    found = open_predictions(tmp_path / "p.parquet").probabilities
    np.testing.assert_allclose(found, expected, atol=1e-12)


def test_the_same_seed_gives_the_same_table(tmp_path: Path) -> None:
    one, other, third = (
        classify(made_up(), tmp_path / f"{n}.parquet", seed=seed).path
        for n, seed in enumerate((1, 1, 2))
    )
    pd.testing.assert_frame_equal(pd.read_parquet(one), pd.read_parquet(other))
    assert not pd.read_parquet(one).equals(pd.read_parquet(third))


def test_labels_of_the_test_rows_are_never_looked_at(tmp_path: Path) -> None:
    given = made_up()
    swapped = given.frame.copy()
    test = swapped["split"] == "test"
    swapped.loc[test, "label"] = np.roll(swapped.loc[test, "label"], 1)
    one = classify(given, tmp_path / "one.parquet").path
    other = classify(replace(given, frame=swapped), tmp_path / "other.parquet").path
    probabilities = [f"probability_{name}" for name in ("apoptosis", "ferroptosis", "healthy")]
    pd.testing.assert_frame_equal(
        pd.read_parquet(one)[probabilities], pd.read_parquet(other)[probabilities]
    )


@pytest.mark.parametrize("controls", [None, "treatment == DMSO"])
def test_the_scale_of_each_plate_takes_its_shift_away(controls: str | None, tmp_path: Path) -> None:
    given = made_up(shift=4.0)
    right = {}
    for scale in ("training", "plate"):
        out = tmp_path / f"{scale}.parquet"
        classify(given, out, scale=scale, controls=controls if scale == "plate" else None)
        frame = pd.read_parquet(out)
        right[scale] = (frame["predicted"] == frame["label"]).mean()
    assert right["training"] < 0.5
    assert right["plate"] > 0.9


def test_a_well_without_cells_is_a_mean_well_and_costs_no_feature(tmp_path: Path) -> None:
    given = made_up()
    frame = given.frame.assign(cells=50.0)
    frame.loc[[3, 100], ["telling", "noise"]] = np.nan
    frame.loc[[3, 100], "cells"] = 0
    table = replace(given, frame=frame, features=("cells", "telling", "noise"))
    found = classify(table, tmp_path / "p.parquet")
    assert found.cleaning.unknown == ()
    embedding = open_predictions(tmp_path / "p.parquet", heavy=("embedding",)).embeddings
    # row 100 of all is the 21st of the test plate
    np.testing.assert_array_equal(embedding[20], 0)


def test_splits_of_a_view_are_those_of_the_dataset(dataset: Dataset, tmp_path: Path) -> None:
    table = measure(dataset, tmp_path / "images.parquet", whole_images=True)
    view = View(hold_out=("plate=P1",), fractions=(1, 0, 0), by=("well",))
    seen = viewed(dataset, view)
    classify(table, tmp_path / "p.parquet", dataset=seen)
    frame = pd.read_parquet(tmp_path / "p.parquet")
    assert set(frame["plate"]) == {"P1"}
    expected = seen.manifest[seen.manifest["split"] == "test"]
    assert set(frame["example_id"]) == set(expected["example_id"])
    assert set(frame["group"]) == set(expected["group"])


def test_the_table_is_evaluated_as_a_networks(dataset: Dataset, tmp_path: Path) -> None:
    wells = measure(dataset, tmp_path / "wells.parquet", whole_images=True, per="well")
    for model in ("random_forest", "logistic_regression"):
        classify(wells, tmp_path / f"{model}.parquet", model=model, dataset=dataset)
    predictions = read_predictions(tmp_path / "random_forest.parquet")
    assert predictions.groups == 6
    page = evaluate(
        tmp_path / "random_forest.parquet",
        tmp_path / "report",
        against=tmp_path / "logistic_regression.parquet",
    )
    assert "random_forest" in page.read_text(encoding="utf-8")


def test_a_well_in_two_splits_is_refused(dataset: Dataset, tmp_path: Path) -> None:
    wells = measure(dataset, tmp_path / "wells.parquet", whole_images=True, per="well")
    crossing = viewed(dataset, View(by=("field",), hold_out=("field=2",), fractions=(1, 0, 0)))
    with pytest.raises(InputError, match=r"with different splits .*split by well or wider"):
        classify(wells, tmp_path / "p.parquet", dataset=crossing)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"split": "train"}, "no rows of split test; it has train"),
        ({"split": None}, "no column split: nothing says what to learn from"),
        ({"label": "healthy"}, "the training rows are of healthy; expected at least two"),
        ({"telling": np.nan, "noise": 1.0}, "no feature is left: 1 have values that are not num"),
        ({"example_id": "P1/001"}, "P1/001 stands in it more than once"),
    ],
)
def test_a_table_that_cannot_be_used_is_refused(
    changes: dict[str, object], message: str, tmp_path: Path
) -> None:
    given = made_up()
    with pytest.raises(InputError, match=message):
        classify(replace(given, frame=given.frame.assign(**changes)), tmp_path / "p.parquet")
    assert not list(tmp_path.iterdir())


def test_a_class_that_no_training_row_has_is_refused(tmp_path: Path) -> None:
    given = made_up()
    frame = given.frame.copy()
    frame.loc[frame["split"] == "test", "label"] = "necrosis"
    with pytest.raises(InputError, match="no training row is labelled necrosis"):
        classify(replace(given, frame=frame), tmp_path / "p.parquet")


def test_a_plate_without_controls_is_refused(tmp_path: Path) -> None:
    given = made_up()
    frame = given.frame.copy()
    frame.loc[frame["plate"] == "P3", "treatment"] = "drug"
    table = replace(given, frame=frame)
    with pytest.raises(InputError, match="plate P3 has no row with treatment == DMSO"):
        classify(table, tmp_path / "p.parquet", scale="plate", controls="treatment == DMSO")
    with pytest.raises(InputError, match="no column dose, asked for by --controls"):
        classify(table, tmp_path / "p.parquet", scale="plate", controls="dose == 0")


@pytest.mark.parametrize(
    ("text", "well"),
    [("B3", "B03"), ("b03", "B03"), ("B-12", "B12"), ("2-3", "B03"), ("AA1", "AA01"), ("x", "x")],
)
def test_wells_are_written_in_one_way(text: str, well: str) -> None:
    assert well_name(text) == well


def test_features_are_read_back(dataset: Dataset, tmp_path: Path) -> None:
    table = open_features(measure(dataset, tmp_path / "w.parquet", whole_images=True, per="well"))
    assert "cells" in table.known
    assert "image_mean_DNA" not in table.known
