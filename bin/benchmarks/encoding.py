"""What each encoding costs in space and time, on images of one's own."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import click
from common import cores, seconds

if TYPE_CHECKING:
    import numpy as np

ENCODINGS = ("raw", "png", "jpeg:95", "jpeg:85")
_LEAST_SECONDS = 1.0


@click.command()
@click.argument("folders", nargs=-1, required=True, type=click.Path(path_type=Path, exists=True))
@click.option("--images", default=8, help="of each folder, evenly spread")
def encodings(folders: tuple[Path, ...], images: int) -> None:
    """Size and speed of each encoding on the images in FOLDERS, one core, per MB of pixels."""
    import tensorflow as tf

    from tfrecords_tools.encodings import check_encoding
    from tfrecords_tools.errors import ImageError, PlanError
    from tfrecords_tools.images import IMAGE_SUFFIXES, read_image
    from tfrecords_tools.records import decode_example, decode_image, parse

    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    decode = tf.function(
        lambda record: decode_image(parse(record)), input_signature=[tf.TensorSpec((), tf.string)]
    )
    print(f"1 of {cores()} cores; MB/s of pixels")
    print("| images | encoding | size / raw | encode | decode in tf.data | decode in numpy |")
    print("| --- | --- | --- | --- | --- | --- |")
    for folder in folders:
        paths = sorted(p for p in folder.rglob("*") if p.suffix.lower() in IMAGE_SUFFIXES)
        read: dict[str, list[np.ndarray]] = {}
        for path in paths[:: max(1, len(paths) // images)][:images]:
            try:
                image = read_image(path)
            except ImageError as error:
                print(f"left out: {error}")
                continue
            read.setdefault(image.dtype.name, []).append(image)
        for (dtype, found), encoding in itertools.product(read.items(), ENCODINGS):
            try:
                check_encoding(encoding, [dtype], found[0].shape[2])
            except PlanError:
                continue
            encode = functools.partial(_encoded, found, encoding)
            records = encode()
            pixels = sum(image.nbytes for image in found)
            speeds = (
                _mb_per_second(encode, pixels),
                _mb_per_second(functools.partial(_each, decode, records), pixels),
                _mb_per_second(functools.partial(_each, decode_example, records), pixels),
            )
            figures = " | ".join(f"{speed:.0f}" for speed in speeds)
            size = sum(len(record) for record in records) / pixels
            kind = f"{folder.name}: {len(found)} of {found[0].shape}, {dtype}"
            print(f"| {kind} | {encoding} | {size:.2f} | {figures} |", flush=True)


def _encoded(images: list[np.ndarray], encoding: str) -> list[bytes]:
    from tfrecords_tools.records import encode_example

    return [
        b"".join(encode_example({"example_id": "a"}, image, encoding, row=0, class_index=0))
        for image in images
    ]


def _each(work: Callable[[bytes], object], records: list[bytes]) -> None:
    for record in records:
        work(record)


def _mb_per_second(work: Callable[[], object], pixels_bytes: int) -> float:
    """The best of as many runs as fit into a second, two or more, after one that does not count."""
    work()
    times: list[float] = []
    while len(times) < 2 or sum(times) < _LEAST_SECONDS:
        times.append(seconds(work))
    return pixels_bytes / min(times) / 1e6
