"""TensorFlow Datasets opens the directory, and hands on what deadlib does."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import tensorflow_datasets as tfds

from tfrecords_tools.dataset import Dataset
from tfrecords_tools.write import write_dataset

LEAST = float(np.finfo(np.float32).min)


def _examples(dataset: Dataset, split: str) -> list[tuple[int, dict]]:
    """What TFDS reads of a split, beside the rows of the manifest."""
    builder = tfds.builder_from_directory(str(dataset.folder))
    read = list(tfds.as_numpy(builder.as_dataset(split=split, shuffle_files=False)))
    rows = dataset.manifest.index[dataset.manifest["split"] == split]
    assert builder.info.splits[split].num_examples == len(rows)
    return list(zip(rows, read, strict=True))


@pytest.mark.parametrize("encoding", ["raw", "png"])
def test_every_example_is_the_same(make_small_plan, tmp_path, encoding):
    dataset = write_dataset(make_small_plan(encoding=encoding, shard_size=3), tmp_path / "out")
    names = tfds.builder_from_directory(str(dataset.folder)).info.features["label"]
    for split in dataset.splits:
        for row, example in _examples(dataset, split):
            columns = dataset.manifest.loc[row]
            np.testing.assert_array_equal(example["image"], dataset.read_example(row))
            assert example["image"].dtype == np.uint16
            assert names.int2str(int(example["label"])) == columns["label"]
            assert example["example_id"].decode() == columns["example_id"]
            assert int(example["row"]) == row
            found = example["metadata"]
            assert found["well"].decode() == columns["well"]
            assert int(found["left_px"]) == columns["left_px"]
            absent = pd.isna(columns["time_hours"])
            assert found["time_hours"] == (LEAST if absent else columns["time_hours"])
            treatment = columns["treatment"]
            assert found["treatment"].decode() == ("" if pd.isna(treatment) else treatment)
            assert [path.decode() for path in found["source_paths"]] == list(
                columns["source_paths"]
            )


def test_splits_can_be_cut_and_supervised(make_small_plan, tmp_path):
    dataset = write_dataset(make_small_plan(shard_size=2), tmp_path / "out")
    builder = tfds.builder_from_directory(str(dataset.folder))
    image, label = next(iter(builder.as_dataset(split="train[1:2]", as_supervised=True)))
    np.testing.assert_array_equal(image, dataset.read_example(1))
    assert builder.info.features["label"].int2str(int(label)) == dataset.manifest["label"].iloc[1]


def test_raw_images_of_several_sizes_are_their_bytes(make_small_plan, tmp_path):
    plan = make_small_plan()
    plan.examples.loc[plan.examples.index[:2], ["height_px", "width_px"]] = 5, 7
    dataset = write_dataset(plan, tmp_path / "out")
    for row, example in _examples(dataset, "train"):
        shape = [int(example[name]) for name in ("height", "width", "channels")]
        pixels = np.frombuffer(example["image"], example["dtype"].decode()).reshape(shape)
        np.testing.assert_array_equal(pixels, dataset.read_example(row))


def test_without_classes_the_label_is_a_number(make_small_plan, tmp_path):
    plan = make_small_plan()
    plan.examples["label"], plan.examples["class_index"] = None, -1
    object.__setattr__(plan, "classes", ())
    dataset = write_dataset(plan, tmp_path / "out")
    assert {int(example["label"]) for _, example in _examples(dataset, "train")} == {-1}


def test_the_manifest_opens_in_pandas(make_small_plan, tmp_path):
    dataset = write_dataset(make_small_plan(), tmp_path / "out")
    manifest = pd.read_parquet(dataset.folder / "manifest.parquet")
    assert list(manifest["example_id"]) == list(dataset.manifest["example_id"])
    assert manifest["time_hours"].isna().sum() == 2
