"""Makes thin_plate_spline.npz with tensorflow-addons 0.23, which needs an environment of its own:

python3.11 -m venv /tmp/tfa
/tmp/tfa/bin/pip install tensorflow-cpu==2.15.1 tensorflow-addons==0.23.0
/tmp/tfa/bin/python tests/golden/make_thin_plate_spline.py
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import tensorflow as tf
import tensorflow_addons as tfa

# Batch, height, width, channels; spacing and deviation of the control points in px.
CASES = [
    ((2, 64, 64, 1), 32.0, 3.0),
    ((2, 65, 33, 3), 32.0, 4.0),
    ((1, 89, 65, 1), 8.0, 1.0),
    ((1, 65, 89, 1), 8.0, 1.0),
    ((3, 20, 31, 4), 10.0, 2.0),
    ((1, 50, 40, 2), 17.5, 6.0),
    ((1, 12, 16, 1), 128.0, 2.0),
]


def grid(size_px: tuple[int, int], spacing: float) -> np.ndarray:
    """Multiples of the spacing from 0 to the first that is size - 1 or more: (gh, gw, 2)."""
    axes = []
    for size in size_px:
        axis = [0.0]
        while axis[-1] < size - 1:
            axis.append(len(axis) * spacing)
        axes.append(axis)
    return np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1)


def main() -> None:
    rng = np.random.default_rng(0)
    arrays: dict[str, np.ndarray] = {}
    for index, (shape, spacing, deviation) in enumerate(CASES):
        points = grid(shape[1:3], spacing)
        images = rng.integers(0, 256, shape).astype(np.uint8)
        displacements = rng.normal(0, deviation, (shape[0], *points.shape)).astype(np.float32)
        targets = np.repeat(points.reshape(1, -1, 2), shape[0], axis=0).astype(np.float32)
        sources = targets + displacements.reshape(targets.shape)
        warped, _ = tfa.image.sparse_image_warp(
            tf.constant(images / np.float32(255)), tf.constant(sources), tf.constant(targets)
        )
        arrays |= {
            f"images_{index}": images,
            f"spacing_{index}": np.float32(spacing),
            f"displacements_{index}": displacements,
            f"warped_{index}": warped.numpy(),
        }
    np.savez_compressed(Path(__file__).with_name("thin_plate_spline.npz"), **arrays)


if __name__ == "__main__":
    main()
