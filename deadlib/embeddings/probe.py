"""A linear probe: how well vectors tell a target, by a straight cut alone.

Linear discriminant analysis, each class as likely as the others, whose covariance is drawn towards
a sphere by as much as Ledoit & Wolf (2004) find best for the vectors at hand. Nothing is tuned. A
target enters by the means of its classes alone, so a hundred permuted targets cost little more
than one.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Indices = NDArray[np.intp]
Single = NDArray[np.float32]
Floats = NDArray[np.float64]

LEAST_DEVIATION = 1e-4
"""A feature that varies less than this share of the one that varies most says nothing."""
LEAST_SHRINKAGE = 1e-3
"""Keeps the covariance invertible where vectors outnumber features by far."""
TARGETS_AT_ONCE = 64


def linear_calls(taught: Single, tested: Single, targets: Indices, classes: int) -> Indices:
    """What a probe taught on vectors (n, D) calls others (m, D): (B, m) in 0..K-1.

    targets (B, n) in 0..K-1, B targets of the same vectors. A class that a target lacks is never
    called.
    """
    x, y = standardised(taught, tested)
    width = x.shape[1]
    x, y = rotated(x, y)
    total = (x.T @ x / len(x)).astype(np.float64)
    share = max(shrinkage(x, total, width), LEAST_SHRINKAGE)
    sphere = np.trace(total) / width
    inverse = np.linalg.inv((1 - share) * total + share * sphere * np.eye(len(total)))
    called = [
        _scores(x, y, targets[start : start + TARGETS_AT_ONCE], classes, inverse, 1 - share)
        for start in range(0, len(targets), TARGETS_AT_ONCE)
    ]
    return np.concatenate([scores.argmax(axis=1) for scores in called]).astype(np.intp)


def _scores(
    x: Single, y: Single, targets: Indices, classes: int, inverse: Floats, kept: float
) -> Floats:
    """Discriminants (B, K, m) from the inverse of the covariance of all vectors.

    That within classes is the one of all less that of the class means, of which there are few, so
    its inverse follows from the one at hand (Woodbury). kept: what shrinkage leaves of it.
    """
    centres, sizes = class_means(x, targets, classes)
    turned = centres @ inverse
    weight = kept * sizes / len(x)
    root = np.sqrt(np.maximum(weight, 1e-300))[:, :, None]
    inner = np.eye(classes) - root * (turned @ centres.swapaxes(1, 2)) * root.swapaxes(1, 2)
    directions = np.linalg.solve(inner, root * turned) / root
    offset = np.einsum("bkd,bkd->bk", directions, centres) / 2
    projected = directions.reshape(-1, directions.shape[2]).astype(np.float32) @ y.T
    scores = projected.reshape(*sizes.shape, len(y)) - offset[:, :, None]
    scores[sizes == 0] = -np.inf
    return scores


def standardised(taught: Single, tested: Single) -> tuple[Single, Single]:
    """Both with mean 0 and deviation 1 of the taught vectors, without features that do not vary."""
    mean, deviation = taught.mean(axis=0), taught.std(axis=0)
    varies = deviation > LEAST_DEVIATION * deviation.max(initial=0)
    if not varies.any():
        varies[0] = True
    scale = np.maximum(deviation[varies], np.finfo(np.float32).tiny)
    return (
        np.asarray((taught[:, varies] - mean[varies]) / scale, np.float32),
        np.asarray((tested[:, varies] - mean[varies]) / scale, np.float32),
    )


def rotated(x: Single, y: Single) -> tuple[Single, Single]:
    """Both in the few directions that fewer vectors (n, D) than features span, (n, r), r <= n.

    Nothing is lost: every centre lies in them, and beside them shrinkage leaves a sphere.
    """
    if len(x) >= x.shape[1]:
        return x, y
    values, vectors = np.linalg.eigh((x @ x.T).astype(np.float64))
    kept = values > 1e-6 * values[-1]
    lengths = np.sqrt(values[kept])
    basis = (x.T @ (vectors[:, kept] / lengths)).astype(np.float32)
    return np.asarray(vectors[:, kept] * lengths, np.float32), np.asarray(y @ basis, np.float32)


def shrinkage(x: Single, total: Floats, width: int) -> float:
    """By how much to draw the covariance of centred vectors (n, D) towards a sphere, in 0..1.

    Ledoit & Wolf (2004), from what a rotation leaves as it is; width: features before it.
    """
    fourth = float(np.mean(np.sum(x.astype(np.float64) ** 2, axis=1) ** 2))
    second = float(np.sum(total**2))
    away = (second - np.trace(total) ** 2 / width) / width
    noise = min((fourth - second) / (width * len(x)), away)
    return float(noise / away) if noise > 0 else 0.0


def class_means(x: Single, targets: Indices, classes: int) -> tuple[Floats, Floats]:
    """The mean vector of each class, (B, K, D), zeros where it is empty, and its size (B, K)."""
    many, count = targets.shape
    members = np.zeros((many, classes, count), np.float32)
    np.put_along_axis(members, targets[:, None, :], 1, axis=1)
    sizes = members.sum(axis=2).astype(np.float64)
    sums = (members.reshape(many * classes, count) @ x).reshape(many, classes, -1)
    return sums / np.maximum(sizes, 1)[:, :, None], sizes
