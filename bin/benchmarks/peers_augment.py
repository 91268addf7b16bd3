"""A thin-plate-spline warp of the same batches by others.

    python peers_augment.py {addons,addons_xla,albumentations,remap} BATCH HEIGHT WIDTH CHANNELS

For every line on standard input: one pass over the batch, then its seconds on standard output.
Runs in environments of their own, see peers.txt and tfa.txt.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable

import numpy as np

SPACING_PX = 128
DEVIATION_PX = 10.0


def addons(images: np.ndarray, jit_compile: bool = False) -> Callable[[], object]:
    """tfa.image.sparse_image_warp, in a graph."""
    import tensorflow as tf
    import tensorflow_addons as tfa

    axes = [np.arange(0, size - 1 + SPACING_PX, SPACING_PX) for size in images.shape[1:3]]
    grid = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(1, -1, 2)
    grid = tf.constant(np.repeat(grid, len(images), axis=0), tf.float32)
    moves = DEVIATION_PX * tf.random.stateless_normal(grid.shape, (1, 2))
    tensor = tf.constant(images)

    @tf.function(jit_compile=jit_compile)
    def warp(images: tf.Tensor, moves: tf.Tensor) -> tf.Tensor:
        return tfa.image.sparse_image_warp(images, grid + moves, grid)[0]

    return lambda: warp(tensor, moves).numpy()


def addons_xla(images: np.ndarray) -> Callable[[], object]:
    return addons(images, jit_compile=True)


def albumentations(images: np.ndarray) -> Callable[[], object]:
    """As many control points along the longer side."""
    import albumentations

    points = -(-max(images.shape[1:3]) // SPACING_PX) + 1
    warp = albumentations.ThinPlateSpline(
        scale_range=(0.04, 0.04), num_control_points=points, p=1.0
    )
    return lambda: [warp(image=image)["image"] for image in images]


def remap(images: np.ndarray) -> Callable[[], object]:
    """cv2.remap by a map that is ready: only the sampling."""
    import cv2

    height, width = images.shape[1:3]
    rows, columns = np.meshgrid(np.arange(height), np.arange(width), indexing="ij")
    rows = (rows + DEVIATION_PX * np.sin(columns / 50)).astype(np.float32)
    columns = (columns + DEVIATION_PX * np.sin(rows / 50)).astype(np.float32)
    border = cv2.BORDER_REPLICATE
    return lambda: [
        cv2.remap(image, columns, rows, cv2.INTER_LINEAR, borderMode=border) for image in images
    ]


def main() -> None:
    peer, *shape = sys.argv[1:]
    images = np.random.default_rng(0).random([int(size) for size in shape], dtype=np.float32)
    warp = {
        "addons": addons,
        "addons_xla": addons_xla,
        "albumentations": albumentations,
        "remap": remap,
    }[peer](images)
    warp()
    print("ready", flush=True)
    for _ in sys.stdin:
        started = time.perf_counter()
        warp()
        print(time.perf_counter() - started, flush=True)


if __name__ == "__main__":
    main()
