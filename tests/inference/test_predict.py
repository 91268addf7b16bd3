"""A prediction table holds what the network says, for every example once, with all metadata."""

from __future__ import annotations

import json
import shutil
import warnings
from pathlib import Path

import keras
import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
import tifffile
import yaml
from finished_run import make_dataset, make_run, write_images

from deadlib import runs
from deadlib.errors import InputError, PredictionError, RunError
from deadlib.inference import predict, read_metadata
from deadlib.models import embedding_network
from deadlib.recipe import recipe_text
from deadlib.runs import Run
from tfrecords_tools import ConversionSettings, DatasetError, ImageError, WriteError, convert
from tfrecords_tools.dataset import Dataset


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return make_dataset(tmp_path_factory.mktemp("grey"))


@pytest.fixture(scope="module")
def run(dataset: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Run:
    return make_run(tmp_path_factory.mktemp("run"), dataset, {"fit": "crop"})


@pytest.fixture(scope="module")
def table(run: Run, dataset: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Predictions for all splits."""
    out = tmp_path_factory.mktemp("predicted") / "all.parquet"
    return predict(run, dataset.folder, out, split="all", batch=7, warn=lambda sentence: None)


def directly(run: Run, dataset: Dataset) -> tuple[np.ndarray, np.ndarray]:
    """Probabilities and embedding of every example, by numpy and the network alone."""
    images = np.stack([dataset.read_example(row) for row in range(len(dataset.manifest))])
    images = images[:, 4:20, 7:23, :] / 65535
    centred = images - images.mean(axis=(1, 2), keepdims=True)
    seen = centred / centred.std(axis=(1, 2), keepdims=True)
    logits, embedding = embedding_network(run.network()).predict(seen, verbose=0)
    return np.asarray(keras.ops.softmax(logits)), embedding


def test_the_table_holds_what_the_network_says(run: Run, dataset: Dataset, table: Path) -> None:
    probabilities, embedding = directly(run, dataset)
    frame = pd.read_parquet(table)
    found = frame[["probability_dead", "probability_living"]].to_numpy()
    np.testing.assert_allclose(found, probabilities, atol=1e-5)
    np.testing.assert_allclose(np.stack(frame["embedding"]), embedding, atol=1e-4)
    assert frame["predicted"].tolist() == [run.classes[i] for i in probabilities.argmax(axis=1)]
    np.testing.assert_allclose(found.sum(axis=1), 1, atol=1e-12)
    assert np.ptp(found[:, 0]) > 0.01, "constant predictions would prove nothing"


@pytest.mark.parametrize("views", [4, 8])
def test_views_are_averaged_as_probabilities_and_recorded(
    views: int, run: Run, dataset: Dataset, tmp_path: Path
) -> None:
    out = predict(run, dataset.folder, tmp_path / "x.parquet", views=views)
    frame = pd.read_parquet(out)
    rows = np.flatnonzero((dataset.manifest["split"] == "test").to_numpy())
    images = np.stack([dataset.read_example(int(row)) for row in rows])[:, 4:20, 7:23, :] / 65535
    centred = images - images.mean(axis=(1, 2), keepdims=True)
    seen = centred / centred.std(axis=(1, 2), keepdims=True)
    turned = [np.rot90(seen, turns, axes=(1, 2)) for turns in range(4)]
    expected = {
        4: [seen, seen[:, ::-1], seen[:, :, ::-1], seen[:, ::-1, ::-1]],
        8: [*turned, *(view[:, ::-1] for view in turned)],
    }[views]
    network = embedding_network(run.network())
    answers = [network.predict(np.ascontiguousarray(view), verbose=0) for view in expected]
    probabilities = np.mean([keras.ops.softmax(logits) for logits, _ in answers], axis=0)
    found = frame[["probability_dead", "probability_living"]].to_numpy()
    np.testing.assert_allclose(found, probabilities, atol=1e-5)
    embedding = np.mean([embedding for _, embedding in answers], axis=0)
    np.testing.assert_allclose(np.stack(frame["embedding"]), embedding, atol=1e-4)
    assert read_metadata(out)["views"] == views


def test_eight_views_of_an_oblong_input_are_refused_with_advice(
    run: Run, dataset: Dataset, tmp_path: Path
) -> None:
    folder = Path(shutil.copytree(run.folder, tmp_path / "run"))
    section = run.recipe.input.model_copy(update={"size_px": (16, 24)})
    recipe = run.recipe.model_copy(update={"input": section})
    (folder / runs.RECIPE).write_text(recipe_text(recipe))
    with pytest.raises(InputError, match=r"takes 16 x 24 px.*use 4 views"):
        predict(folder, dataset.folder, tmp_path / "x.parquet", views=8)


def test_every_manifest_column_is_kept_in_order(dataset: Dataset, table: Path) -> None:
    manifest = pq.read_table(dataset.folder / "manifest.parquet")
    found = pq.read_table(table)
    assert found.select(manifest.column_names).equals(manifest)
    added = found.column_names[len(manifest.column_names) :]
    assert added == ["predicted", "probability_dead", "probability_living", "embedding"]


def test_the_same_call_gives_the_same_bytes(
    run: Run, dataset: Dataset, table: Path, tmp_path: Path
) -> None:
    again = predict(
        run,
        dataset.folder,
        tmp_path / "x.parquet",
        split="all",
        batch=7,
        warn=lambda sentence: None,
    )
    assert again.read_bytes() == table.read_bytes()


def test_sizes_of_batches_and_row_groups_change_nothing_that_matters(
    run: Run, dataset: Dataset, table: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("deadlib.inference.table.ROWS_PER_GROUP", 4)
    out = tmp_path / "x.parquet"
    predict(run.folder, dataset.folder, out, split="all", batch=5, warn=lambda sentence: None)
    assert pq.ParquetFile(out).num_row_groups > 1
    pd.testing.assert_frame_equal(pd.read_parquet(out), pd.read_parquet(table), atol=1e-5)


def test_by_default_only_the_test_split_of_the_training_dataset(
    run: Run, dataset: Dataset, tmp_path: Path
) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        frame = pd.read_parquet(predict(run, dataset.folder, tmp_path / "x.parquet"))
    wanted = dataset.manifest[dataset.manifest["split"] == "test"]
    assert frame["example_id"].tolist() == wanted["example_id"].tolist()


def test_a_split_that_is_not_there_is_named(run: Run, dataset: Dataset, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no examples in split holdout; it has test, train"):
        predict(run, dataset.folder, tmp_path / "x.parquet", split="holdout")


def test_a_folder_of_images_is_predicted_as_its_dataset_is(
    run: Run, dataset: Dataset, table: Path, tmp_path: Path
) -> None:
    images = dataset.folder.parent / "images"
    out = predict(run, images, tmp_path / "new.parquet", warn=lambda sentence: None)
    assert (tmp_path / "new-dataset" / "deadlib.json").is_file()
    found = pd.read_parquet(out).set_index("example_id").sort_index()
    wanted = pd.read_parquet(table).set_index("example_id").sort_index()
    columns = ["label", "predicted", "probability_dead", "probability_living"]
    pd.testing.assert_frame_equal(found[columns], wanted[columns], atol=1e-6)
    assert set(found["split"]) == {"test"}


def test_a_dataset_that_was_made_to_be_kept_is_not_overwritten(
    run: Run, dataset: Dataset, tmp_path: Path
) -> None:
    images = dataset.folder.parent / "images"
    kept = convert(images, tmp_path / "cells-dataset")
    with pytest.raises(InputError, match="no earlier prediction made"):
        predict(run, images, tmp_path / "cells.parquet")
    kept.verify_checksums()


def test_new_images_need_no_labels(run: Run, tmp_path: Path) -> None:
    source = write_images(tmp_path / "labelled", count=2, seed=7)
    flat = tmp_path / "flat"
    flat.mkdir()
    for path in source.rglob("*.png"):
        shutil.copy(path, flat)
    frame = pd.read_parquet(predict(run, flat, tmp_path / "new.parquet"))
    assert len(frame) == 4
    assert frame["label"].isna().all()
    assert frame["predicted"].isin(run.classes).all()


def test_the_table_tells_how_it_came_about(run: Run, dataset: Dataset, table: Path) -> None:
    metadata = read_metadata(table)
    assert metadata["run"] == str(run.folder.resolve())
    assert metadata["dataset"] == str(dataset.folder.resolve())
    assert metadata["fingerprint"] == metadata["trained_on_fingerprint"] == dataset.fingerprint
    assert metadata["classes"] == ["dead", "living"]
    assert metadata["predicted_split"] == "all"
    assert metadata["history"][1] == {"epoch": 2, "loss": 0.5, "validation_loss": None}
    assert metadata["recipe"]["input"]["fit"] == "crop"
    assert metadata["split"] == dataset.info["split"]
    assert {"card", "versions", "command"} <= set(metadata)


@pytest.mark.parametrize(("keep", "epoch"), [("best", 1), ("last", 3)])
def test_the_table_tells_which_epoch_the_network_is_of(
    dataset: Dataset, tmp_path: Path, keep: str, epoch: int
) -> None:
    run = make_run(tmp_path / "run", dataset)
    validation = run.recipe.validation.model_copy(update={"keep": keep})
    recipe = run.recipe.model_copy(update={"validation": validation})
    (run.folder / runs.RECIPE).write_text(recipe_text(recipe))
    history = f"epoch,validation_{validation.metric}\n1,0.9\n2,0.7\n3,0.8\n"
    (run.folder / runs.HISTORY).write_text(history)
    out = predict(run.folder, dataset.folder, tmp_path / "x.parquet")
    assert read_metadata(out)["kept_epoch"] == epoch


def test_labelled_images_of_another_experiment_are_audited(run: Run, tmp_path: Path) -> None:
    source = write_images(tmp_path / "new", count=12, seed=5)
    shutil.rmtree(source / "dead")
    shallow = write_images(tmp_path / "shallow", count=12, seed=6, dtype=np.uint8)
    shutil.copytree(shallow / "dead", source / "dead")
    out = predict(run, source, tmp_path / "new.parquet")
    (found,) = read_metadata(out)["card"]["confounding"]
    assert found["column"] == "bit_depth"


def test_confounding_of_the_training_dataset_goes_with_foreign_images_only(
    dataset: Dataset, tmp_path: Path
) -> None:
    told = make_run(tmp_path / "run", dataset)
    described = json.loads((told.folder / runs.DATASET).read_text())
    described["card"]["confounding"] = [{"column": "plate", "sentence": "plate tells the label."}]
    (told.folder / runs.DATASET).write_text(json.dumps(described))
    foreign = write_images(tmp_path / "new", count=1, seed=5)
    own = predict(told.folder, dataset.folder, tmp_path / "own.parquet")
    other = predict(told.folder, foreign, tmp_path / "other.parquet")
    assert read_metadata(own)["trained_on_confounding"] == []
    assert read_metadata(other)["trained_on_confounding"] == described["card"]["confounding"]


def test_a_column_of_the_source_is_not_taken_for_the_probability_of_a_class(
    tmp_path: Path,
) -> None:
    named = ConversionSettings(
        labels="pattern", pattern="{label}/{probability_dead}.png", fractions=(0.5, 0.25, 0.25)
    )
    dataset = make_dataset(tmp_path, named)
    assert "source_probability_dead" in dataset.manifest
    out = predict(make_run(tmp_path / "run", dataset), dataset.folder, tmp_path / "x.parquet")
    assert pq.read_schema(out).names.count("probability_dead") == 1


def test_images_seen_in_training_are_counted_and_told(
    run: Run, dataset: Dataset, tmp_path: Path
) -> None:
    """The same pixels under another name, in another folder."""
    source = write_images(tmp_path / "new", count=1, seed=11)
    seen = dataset.manifest[dataset.manifest["split"] == "train"].iloc[0]
    original = dataset.folder.parent / "images" / seen["source_paths"][0]
    shutil.copy(original, source / "dead" / "renamed.png")
    with pytest.warns(UserWarning, match="1 of 3 images also stand in the training"):
        out = predict(run, source, tmp_path / "new.parquet")
    assert read_metadata(out)["seen_in_training"] == 1
    out = predict(
        run, dataset.folder, tmp_path / "all.parquet", split="all", warn=lambda text: None
    )
    counts = dataset.manifest["split"].value_counts()
    assert read_metadata(out)["seen_in_training_by_split"] == {
        name: counts[name] for name in ("train", "validation")
    }


@pytest.mark.parametrize("file", ["model.keras", "snapshots/00000200.keras"])
def test_images_that_the_network_it_started_from_was_trained_on_are_counted_too(
    file: str, run: Run, dataset: Dataset, tmp_path: Path
) -> None:
    later = make_run(tmp_path / "run", make_dataset(tmp_path / "other", count=4, seed=5))
    of_earlier = dataset.manifest["split"].value_counts()

    def seen(weights: Path, split: str) -> int | None:
        recipe = yaml.safe_load((later.folder / runs.RECIPE).read_text())
        recipe["model"]["weights"] = str(weights)
        (later.folder / runs.RECIPE).write_text(yaml.safe_dump(recipe))
        out = tmp_path / "p.parquet"
        predict(later.folder, dataset.folder, out, split=split, warn=lambda sentence: None)
        found: int | None = read_metadata(out)["seen_in_training"]
        return found

    assert seen(run.folder / file, "train") == of_earlier["train"]
    assert seen(run.folder / file, "test") == 0
    assert seen(later.folder / file, "train") == 0
    assert seen(tmp_path / "elsewhere" / file, "train") is None


def test_without_the_training_dataset_nothing_is_claimed_of_it(
    dataset: Dataset, tmp_path: Path
) -> None:
    moved = make_run(tmp_path / "run", dataset)
    described = json.loads((moved.folder / runs.DATASET).read_text())
    described["path"] = str(tmp_path / "gone")
    (moved.folder / runs.DATASET).write_text(json.dumps(described))
    out = predict(Run.open(moved.folder), dataset.folder, tmp_path / "x.parquet")
    assert read_metadata(out)["seen_in_training"] is None


def test_wrong_channels_are_refused_by_name(run: Run, tmp_path: Path) -> None:
    colour = make_dataset(tmp_path, channels=3, dtype=np.uint8, count=4)
    with pytest.raises(InputError, match=r"red, green, blue \(3\).*trained on intensity \(1\)"):
        predict(run, colour.folder, tmp_path / "x.parquet")
    assert list(tmp_path.glob("*.parquet")) == []


def test_channels_in_another_order_are_put_right(tmp_path: Path) -> None:
    def named(folder: str, channels: str, first: int) -> Dataset:
        settings = ConversionSettings(channels=tuple(channels), fractions=(0.5, 0.25, 0.25))
        return make_dataset(tmp_path / folder, settings, channels=3, count=4, first_channel=first)

    straight = named("straight", "abc", 0)
    run = make_run(tmp_path / "run", straight)
    turned = named("turned", "bca", 1)
    mistaken = named("mistaken", "bca", 0)
    answers = [
        pd.read_parquet(predict(run, each.folder, tmp_path / "x.parquet", split="test"))
        for each in (straight, turned, mistaken)
    ]
    first, same, other = (answer["probability_dead"].to_numpy() for answer in answers)
    np.testing.assert_allclose(first, same, atol=1e-6)
    assert not np.allclose(first, other, atol=1e-6)


def test_new_time_lapses_are_read_as_those_of_the_training(tmp_path: Path) -> None:
    def write_stacks(folder: Path, count: int) -> Path:
        generator = np.random.default_rng(count)
        for label in ("dead", "living"):
            (folder / label).mkdir(parents=True)
            for number in range(count):
                pixels = generator.integers(0, 60000, (2, 3, 20, 24)).astype(np.uint16)
                axes = {"axes": "TZYX"}
                tifffile.imwrite(
                    folder / label / f"{number}.tif", pixels, imagej=True, metadata=axes
                )
        return folder

    settings = ConversionSettings(z="max", fractions=(0.5, 0.25, 0.25))
    old = convert(write_stacks(tmp_path / "old", 6), tmp_path / "dataset", settings)
    run = make_run(tmp_path / "run", old)
    new = write_stacks(tmp_path / "new", 2)
    frame = pd.read_parquet(predict(run, new, tmp_path / "x.parquet"))
    assert frame["source_id"].tolist() == [
        f"{label}/{number}.tif#t={time}"
        for label in ("dead", "living")
        for number in range(2)
        for time in range(2)
    ]
    assert frame["source_paths"][0].tolist() == ["dead/0.tif#t=0,z=max"]


def test_labels_that_the_run_does_not_know_are_refused(run: Run, tmp_path: Path) -> None:
    source = write_images(tmp_path / "images", count=2)
    (source / "dead").rename(source / "dying")
    other = convert(source, tmp_path / "dataset", ConversionSettings(fractions=(0, 0, 1)))
    with pytest.raises(InputError, match="does not know: dying; it knows dead, living"):
        predict(run, other.folder, tmp_path / "x.parquet")


def test_images_smaller_than_the_window_are_refused(run: Run, tmp_path: Path) -> None:
    small = make_dataset(tmp_path, shape=(24, 15), count=4)
    with pytest.raises(InputError, match="smaller than the 16 x 16 px window"):
        predict(run, small.folder, tmp_path / "x.parquet")


def test_intensities_of_another_depth_are_refused_where_they_matter(
    dataset: Dataset, tmp_path: Path
) -> None:
    shallow = make_dataset(tmp_path / "shallow", dtype=np.uint8, count=4)
    relative = make_run(tmp_path / "relative", dataset)
    predict(relative, shallow.folder, tmp_path / "x.parquet")
    absolute = make_run(tmp_path / "absolute", dataset, {"normalise": "dataset"})
    with pytest.raises(InputError, match=r"uint8.*trained on uint16"):
        predict(absolute, shallow.folder, tmp_path / "x.parquet")


def test_a_source_that_is_not_there_is_named(run: Run, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="not found; give a dataset directory or a folder"):
        predict(run, tmp_path / "nowhere", tmp_path / "x.parquet")
    (tmp_path / "stack.tif").touch()
    with pytest.raises(InputError, match="a file; give a dataset directory or a folder"):
        predict(run, tmp_path / "stack.tif", tmp_path / "x.parquet")


@pytest.mark.parametrize("name", ["p.csv", "code.py", "plain"])
def test_a_table_under_another_kind_of_name_is_refused(
    run: Run, dataset: Dataset, tmp_path: Path, name: str
) -> None:
    (tmp_path / name).write_text("mine")
    with pytest.raises(InputError, match=r"expected \.parquet"):
        predict(run, dataset.folder, tmp_path / name)
    assert (tmp_path / name).read_text() == "mine"


def test_labels_of_new_images_that_the_run_does_not_know_are_told(run: Run, tmp_path: Path) -> None:
    source = write_images(tmp_path / "new", count=2, seed=5)
    (source / "dead").rename(source / "dying")
    told: list[str] = []
    frame = pd.read_parquet(predict(run, source, tmp_path / "x.parquet", warn=told.append))
    assert frame["label"].isna().sum() == 2
    assert told == [
        "2 images have labels that the run does not know (dying); they count as unlabelled; "
        "it knows dead, living"
    ]
    (source / "living").rename(source / "well")
    with pytest.warns(UserWarning, match=r"4 images .* \(dying, well\)"):
        predict(run, source, tmp_path / "x.parquet")


def test_bad_images_are_refused_or_left_out_and_counted(run: Run, tmp_path: Path) -> None:
    source = write_images(tmp_path / "new", count=2, seed=5)
    (source / "dead" / "broken.png").write_bytes(b"no picture")
    with pytest.raises(ImageError, match="--on-bad-image skip"):
        predict(run, source, tmp_path / "x.parquet")
    told: list[str] = []
    out = predict(run, source, tmp_path / "x.parquet", on_bad_image="skip", warn=told.append)
    assert len(pd.read_parquet(out)) == 4
    assert [item["path"] for item in read_metadata(out)["card"]["skipped"]] == ["dead/broken.png"]
    assert len(told) == 1
    assert told[0].startswith("left out, as they cannot be used: 1 of the images")


def test_an_edited_shard_is_named_and_nothing_is_left(
    run: Run, dataset: Dataset, tmp_path: Path
) -> None:
    copy = Path(shutil.copytree(dataset.folder, tmp_path / "copy"))
    shard = dataset.shard_paths("test")[0].name
    data = bytearray((copy / shard).read_bytes())
    data[len(data) // 2] ^= 1
    (copy / shard).write_bytes(bytes(data))
    with pytest.raises(DatasetError, match=shard):
        predict(run, copy, tmp_path / "x.parquet")
    assert [path.name for path in tmp_path.iterdir()] == ["copy"]


def test_a_network_that_answers_nan_is_refused(dataset: Dataset, tmp_path: Path) -> None:
    broken = make_run(tmp_path / "run", dataset)
    network = broken.network()
    network.set_weights([weights * np.nan for weights in network.get_weights()])
    network.save(broken.folder / runs.MODEL)
    with pytest.raises(RunError, match="not a finite number"):
        predict(broken, dataset.folder, tmp_path / "x.parquet")


def test_a_place_that_cannot_be_written_is_named(
    run: Run, dataset: Dataset, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(WriteError, match="cannot be written"):
        predict(run, dataset.folder, tmp_path / "file" / "x.parquet")


def test_the_metadata_of_a_table_from_elsewhere_is_empty(tmp_path: Path) -> None:
    pd.DataFrame({"label": ["dead"]}).to_parquet(tmp_path / "x.parquet")
    assert read_metadata(tmp_path / "x.parquet") == {}
    (tmp_path / "y.parquet").write_text("no Parquet")
    with pytest.raises(PredictionError, match="not a prediction table"):
        read_metadata(tmp_path / "y.parquet")


def test_answers_by_the_batch_are_those_of_batches_mixed_by_chance(
    run: Run, dataset: Dataset, tmp_path: Path
) -> None:
    """Against numpy: which images meet follows from the seed, and neither from labels nor from
    `batch`."""
    sections = {"model": {"bn_at_test": "batch"}, "training": {"batch": 10}}
    updates = {
        name: getattr(run.recipe, name).model_copy(update=keys) for name, keys in sections.items()
    }
    folder = shutil.copytree(run.folder, tmp_path / "run")
    (folder / runs.RECIPE).write_text(recipe_text(run.recipe.model_copy(update=updates)))
    said: list[str] = []
    tables = [
        predict(folder, dataset.folder, tmp_path / f"{batch}.parquet", split="train", batch=batch,
                warn=said.append)
        for batch in (3, 64)
    ]  # fmt: skip
    frames = [pd.read_parquet(table) for table in tables]
    pd.testing.assert_frame_equal(*frames)
    assert read_metadata(tables[0])["bn_at_test"] == "batch"
    assert any("depends on the images that it is shown with" in sentence for sentence in said)
    rows = frames[0]["example_id"].map(
        dict(zip(dataset.manifest["example_id"], range(len(dataset.manifest)), strict=True))
    )
    assert not rows.is_monotonic_increasing
    size = -(-len(rows) // -(-len(rows) // 10))
    first = np.stack([dataset.read_example(row) for row in rows[:size]])[:, 4:20, 7:23] / 65535
    centred = first - first.mean(axis=(1, 2), keepdims=True)
    network = embedding_network(run.network())
    logits = network(centred / centred.std(axis=(1, 2), keepdims=True), training=True)[0]
    found = frames[0][["probability_dead", "probability_living"]].to_numpy()[:size]
    np.testing.assert_allclose(found, keras.ops.softmax(logits), atol=1e-4)
    moving = pd.read_parquet(
        predict(run, dataset.folder, tmp_path / "moving.parquet", split="train", warn=said.append)
    ).set_index("example_id")
    assert set(moving.index) == set(frames[0]["example_id"])
    other = moving.loc[frames[0]["example_id"][:size], "probability_dead"].to_numpy()
    assert np.abs(other - found[:, 0]).max() > 0.01
