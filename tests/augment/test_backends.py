"""The augmentations give under JAX what they give under TensorFlow: all of them, in one process."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from deadlib.augment import AUGMENTATIONS

NAMES = [*AUGMENTATIONS, "one reading", "bicubic reading", "bfloat16 reading", "crop", "warp"]


def results(images: np.ndarray, seed: np.ndarray) -> dict[str, np.ndarray]:
    """What the backend at hand makes of the images: one entry per augmentation, and some more."""
    from keras import ops

    from deadlib.augment import AUGMENTATIONS, control_grid, thin_plate_spline_warp
    from deadlib.augment.geometry import Geometric, RandomCrop, move
    from deadlib.augment.randomness import derive, per_image

    seeds = per_image(seed, len(images))
    chain: list[Any] = [
        (kind(), derive(seeds, position))
        for position, kind in enumerate(AUGMENTATIONS.values())
        if issubclass(kind, Geometric)
    ]
    displacements = np.random.default_rng(3).normal(0, 1, (6, *control_grid((24, 24), 8).shape))
    rounded = ops.cast(ops.convert_to_tensor(images), "bfloat16")
    found = {name: kind()(images, seed) for name, kind in AUGMENTATIONS.items()}
    found["one reading"] = move(ops.convert_to_tensor(images), chain)
    found["bicubic reading"] = move(ops.convert_to_tensor(images), chain, "bicubic")
    found["bfloat16 reading"] = ops.cast(move(rounded, chain), "float32")
    found["crop"] = RandomCrop(size_px=(10, 12))(images, seed)
    found["warp"] = thin_plate_spline_warp(images, displacements.astype(np.float32), 8)
    return {name: np.asarray(ops.convert_to_numpy(value)) for name, value in found.items()}


@pytest.fixture(scope="module")
def under_both(
    tmp_path_factory: pytest.TempPathFactory, images: np.ndarray, seed: np.ndarray
) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    pytest.importorskip("jax")
    folder = tmp_path_factory.mktemp("jax")
    np.savez(folder / "in.npz", images=images, seed=seed)
    settings = {"KERAS_BACKEND": "jax", "JAX_PLATFORMS": "cpu"}
    subprocess.run(
        [sys.executable, __file__, str(folder / "in.npz"), str(folder / "out.npz")],
        env={**os.environ, **settings, "PYTHONPATH": str(Path(__file__).parent.parent.parent)},
        check=True,
    )
    return results(images, seed), dict(np.load(folder / "out.npz"))


@pytest.mark.parametrize("name", NAMES)
def test_jax_agrees_with_tensorflow(
    name: str, under_both: tuple[dict[str, np.ndarray], dict[str, np.ndarray]]
) -> None:
    tensorflow, jax = under_both
    # One unit in the last place of bfloat16, where the two round differently.
    atol = 2**-8 if name.startswith("bfloat16") else 1e-5
    np.testing.assert_allclose(jax[name], tensorflow[name], rtol=1e-5, atol=atol)


if __name__ == "__main__":
    import keras

    assert keras.backend.backend() == "jax"
    given = np.load(sys.argv[1])
    np.savez(sys.argv[2], **results(given["images"], given["seed"]))  # type: ignore[arg-type]
