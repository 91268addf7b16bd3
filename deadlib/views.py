"""Test-time augmentation: one answer from the mirrored and turned views of an image."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from deadlib.errors import InputError

VIEWS = (1, 4, 8)


def check_views(views: int, size_px: tuple[int, int]) -> None:
    """Raise InputError where images of this size do not have so many views."""
    if views not in VIEWS:
        raise InputError(f"{views} views: an image has 1, 4 (mirrored) or 8 (turned as well)")
    if views == 8 and size_px[0] != size_px[1]:
        raise InputError(
            f"8 views need a square input, and the network takes {size_px[0]} x {size_px[1]} px: "
            "a quarter turn would not fit; use 4 views, the mirror images"
        )


def dihedral_views(images: np.ndarray, views: int) -> Iterator[np.ndarray]:
    """The first 1, 4 or 8 of: as it is, mirrored, upside down, both; and the same with the axes
    swapped. images (B, ..., H, W, C), contiguous copies of which come back."""
    for place in range(views):
        view = images.swapaxes(-3, -2) if place & 4 else images
        view = view[..., :: -1 if place & 2 else 1, :: -1 if place & 1 else 1, :]
        yield np.ascontiguousarray(view)


def mean_logits(logits: Sequence[np.ndarray]) -> np.ndarray:
    """Logits (B, K) whose probabilities are the mean of those of V logits (B, K).

    A single view's logits come back as they are; of several, float64 logarithms of the mean.
    """
    if len(logits) == 1:
        return np.asarray(logits[0])
    stacked = np.asarray(logits, np.float64)
    # The largest is taken out twice, so that nothing overflows and no probability becomes 0.
    log_p = stacked - stacked.max(axis=2, keepdims=True)
    log_p -= np.log(np.exp(log_p).sum(axis=2, keepdims=True))
    largest = log_p.max(axis=0)
    return np.asarray(largest + np.log(np.exp(log_p - largest).mean(axis=0)))
