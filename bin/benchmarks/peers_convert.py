"""The conversion as users of other libraries write it; run by the peers' own Python.

`peers_convert.py {tfds,webdataset} SOURCE OUT TILE_ROWS TILE_COLUMNS` prints the seconds from after
the imports until everything is on the disk.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

CLASSES = ["dying", "healthy"]
EXAMPLES_PER_SHARD = 512


def examples(source: Path, rows: int, columns: int) -> Iterator[tuple[str, np.ndarray, str]]:
    """Id, pixels and class of every tile, read with the fastest reader for its format."""
    for path in sorted(source.rglob("*.*")):
        if path.suffix == ".tif":
            image = tifffile.imread(path)
        else:
            image = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
        height, width = image.shape[0] // rows, image.shape[1] // columns
        for row in range(rows):
            for column in range(columns):
                tile = image[row * height :, column * width :][:height, :width, None]
                yield f"{path.stem}_{row}_{column}", tile, path.parent.name


def convert_tfds(source: Path, out: Path, rows: int, columns: int) -> None:
    first = next(examples(source, rows, columns))[1]

    class Cells(tfds.core.GeneratorBasedBuilder):
        VERSION = tfds.core.Version("1.0.0")

        def _info(self) -> Any:
            image = tfds.features.Tensor(shape=first.shape, dtype=first.dtype, encoding="bytes")
            features = {
                "image": image,
                "label": tfds.features.ClassLabel(names=CLASSES),
                "example_id": tfds.features.Text(),
            }
            return tfds.core.DatasetInfo(
                builder=self, features=tfds.features.FeaturesDict(features)
            )

        def _split_generators(self, dl_manager: Any) -> Any:
            return {"train": self._generate_examples()}

        def _generate_examples(self) -> Any:
            for name, tile, label in examples(source, rows, columns):
                yield name, {"image": tile, "label": label, "example_id": name}

    Cells(data_dir=str(out), file_format="tfrecord").download_and_prepare()


def convert_webdataset(source: Path, out: Path, rows: int, columns: int) -> None:
    out.mkdir()
    with webdataset.ShardWriter(
        str(out / "cells-%06d.tar"), maxcount=EXAMPLES_PER_SHARD, verbose=0
    ) as writer:
        for name, tile, label in examples(source, rows, columns):
            writer.write(
                {
                    "__key__": name,
                    "bin": tile.tobytes(),
                    "cls": CLASSES.index(label),
                    "json": {"example_id": name, "shape": tile.shape, "dtype": tile.dtype.name},
                }
            )


if __name__ == "__main__":
    peer, source, out, rows, columns = sys.argv[1:]
    import cv2
    import tifffile

    if peer == "tfds":
        import tensorflow_datasets as tfds

        tfds.disable_progress_bar()
        convert = convert_tfds
    else:
        import webdataset

        convert = convert_webdataset
    started = time.perf_counter()
    convert(Path(source), Path(out), int(rows), int(columns))
    os.sync()
    print(time.perf_counter() - started)
