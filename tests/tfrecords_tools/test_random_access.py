"""Any image of a split by its number: as it was stored, or an error that names its record."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from tfrecords_tools import (
    ConversionSettings,
    Dataset,
    DatasetError,
    convert,
    random_access,
    wire,
)
from tfrecords_tools.random_access import SplitReader, aligned_empty

SHAPE = (6, 5, 1)


def make_dataset(folder: Path, encoding: str) -> Dataset:
    """Fourteen 16-bit images of 6 x 5 px, shards of three."""
    generator = np.random.default_rng(1)
    for number in range(14):
        path = folder / "images" / ("dead" if number % 2 else "living") / f"{number:02}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(generator.integers(0, 2**16, SHAPE[:2], dtype=np.uint16)).save(path)
    settings = ConversionSettings(examples_per_shard=3, encoding=encoding)
    return convert(folder / "images", folder / "dataset", settings)


@pytest.fixture(scope="module", params=["raw", "png"])
def dataset(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return make_dataset(tmp_path_factory.mktemp(request.param), request.param)


@pytest.fixture
def copied(tmp_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """A dataset of raw records to be damaged."""
    return make_dataset(tmp_path, "raw")


def rewrite(path: Path, position: int, value: int) -> None:
    data = bytearray(path.read_bytes())
    data[position] = value
    path.write_bytes(data)


@given(chosen=st.lists(st.integers(0, 100), min_size=1, max_size=20))
def test_images_come_in_the_order_asked_for(dataset: Dataset, chosen: list[int]) -> None:
    reader = SplitReader(dataset, "train")
    numbers = [number % len(reader) for number in chosen]
    expected = np.stack([dataset.read_example(int(reader.rows[number])) for number in numbers])
    np.testing.assert_array_equal(reader.read_batch(numbers, SHAPE, "uint16"), expected)
    np.testing.assert_array_equal(reader.read(numbers[0]), expected[0])


def test_a_record_whose_image_begins_late_is_found(
    dataset: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = SplitReader(dataset, "train").read_batch([0, 5], SHAPE, "uint16")
    monkeypatch.setattr(random_access, "_BEGINNING_BYTES", 21)
    found = SplitReader(dataset, "train").read_batch([0, 5], SHAPE, "uint16")
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("open_files", [0, 1])
def test_more_shards_than_may_be_open(
    dataset: Dataset, monkeypatch: pytest.MonkeyPatch, open_files: int
) -> None:
    # 0: as if another thread let the cache drop each file at once.
    monkeypatch.setattr(random_access, "OPEN_FILES", open_files)
    reader = SplitReader(dataset, "train")
    assert len(dataset.shard_paths("train")) > 2
    found = reader.read_batch(range(len(reader)), SHAPE, "uint16")
    expected = np.stack([dataset.read_example(int(row)) for row in reader.rows])
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("from_end", [5, 100, 250])
def test_a_damaged_byte_is_found_wherever_it_is(copied: Dataset, from_end: int) -> None:
    path = copied.shard_paths("train")[1]
    # The third record of the shard: its checksum, its features, its pixels.
    position = path.stat().st_size - from_end
    reader = SplitReader(copied, "train")
    rewrite(path, position, path.read_bytes()[position] ^ 1)
    with pytest.raises(DatasetError, match=rf"{path.name}: record 2 is damaged"):
        reader.read_batch(range(len(reader)), SHAPE, "uint16")
    reader.read_batch(range(3), SHAPE, "uint16")


def test_a_shard_cut_after_it_was_indexed_is_refused(copied: Dataset) -> None:
    path = copied.shard_paths("train")[0]
    reader = SplitReader(copied, "train")
    with path.open("r+b") as file:
        file.truncate(path.stat().st_size - 30)
    with pytest.raises(DatasetError, match="record 2 is damaged: the file ends after"):
        reader.read_batch([2], SHAPE, "uint16")
    with pytest.raises(DatasetError, match="record 2 is damaged: the file ends after"):
        SplitReader(copied, "train")


def test_a_shard_with_fewer_records_than_the_manifest_says_is_refused(copied: Dataset) -> None:
    first, *_, last = copied.shard_paths("train")
    shutil.copy(last, first)
    with pytest.raises(DatasetError, match=r"ends before the record that manifest.* lists"):
        SplitReader(copied, "train")


def test_an_image_of_another_size_or_type_is_refused(dataset: Dataset) -> None:
    reader = SplitReader(dataset, "train")
    with pytest.raises(DatasetError, match=r"record 0 is an image of \(6, 5, 1\) uint16"):
        reader.read_batch([0], (6, 6, 1), "uint16")
    with pytest.raises(DatasetError, match=r"record 0 is an image of \(6, 5, 1\) uint16"):
        reader.read_batch([0], SHAPE, "uint8")


def test_a_shard_that_is_gone_is_named(copied: Dataset) -> None:
    path = copied.shard_paths("train")[0]
    path.unlink()
    with pytest.raises(DatasetError, match=f"{path.name}: cannot be read"):
        SplitReader(copied, "train")


def test_batches_are_where_tensorflow_takes_them_over() -> None:
    for size in (1, 7, 1000):
        assert aligned_empty((size, 3), "uint16").ctypes.data % 64 == 0


names = st.text(min_size=1, max_size=9)
values = st.one_of(
    st.lists(st.binary(max_size=300), min_size=1, max_size=3),
    st.lists(st.integers(-(2**63), 2**63 - 1), min_size=1, max_size=3),
    st.lists(st.floats(width=32, allow_nan=False), min_size=1, max_size=3),
)


@given(features=st.dictionaries(names, values, min_size=1, max_size=6), kept=st.floats(0, 1))
def test_the_bytes_of_a_feature_are_found_without_decoding(
    features: dict[str, list[bytes]], kept: float
) -> None:
    data = b"".join(bytes(piece) for piece in wire.encode(features))
    texts = {name: each for name, each in features.items() if isinstance(each[0], bytes)}
    spans = wire.byte_spans(data)
    assert spans.keys() == texts.keys()
    for name, (start, length) in spans.items():
        assert data[start : start + length] == texts[name][0]
    beginning = data[: int(kept * len(data))]
    try:
        found = wire.byte_spans(beginning)
    except ValueError:
        return
    assert found.items() <= spans.items()
