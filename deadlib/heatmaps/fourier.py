"""Convolution with a kernel as large as a feature map, by the Fourier transform.

A flattened feature map and the dense layer behind it slide over a region as a convolution of, in
DeadNet, 14 x 14 x 128 x 512, which is most of the work of a heat map. Overlapping blocks of the map
are transformed, multiplied channel by channel with the kernel's transform, and transformed back
(overlap-save: what wraps around is thrown away).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorflow as tf

LARGEST_BYTES = 512 * 2**20
"""Of a transformed kernel; a larger one is applied as it is."""

SMALLEST_GAIN = 8
"""How many times less arithmetic makes up for the transforms and their memory."""


def is_faster(kernel: np.ndarray) -> bool:
    """Whether a kernel (h, w, C, D) is better transformed: measured five times for DeadNet's."""
    *size, given, found = kernel.shape
    side = _side(kernel)
    enlarged = np.prod([side / (side - length + 1) for length in size])
    transformed = enlarged * (2 * given * found + 20 * (given + found))
    kernel_bytes = side * (side // 2 + 1) * given * found * 8
    return bool(kernel.size >= SMALLEST_GAIN * transformed and kernel_bytes <= LARGEST_BYTES)


def _side(kernel: np.ndarray) -> int:
    """Rows and columns of a block: a power of two, at least twice the kernel."""
    return int(2 ** np.ceil(np.log2(2 * max(kernel.shape[:2]))))


@dataclass(frozen=True, eq=False)
class FourierConvolution:
    """As `Convolution` without strides, within rounding of float32."""

    kernel: Any
    """(side, side // 2 + 1, C, D) complex64: the transform of the kernel, turned around."""
    bias: np.ndarray
    size: tuple[int, int]
    """Rows and columns of the kernel."""

    @classmethod
    def of(cls, kernel: np.ndarray, bias: np.ndarray) -> FourierConvolution:
        side = _side(kernel)
        found = np.empty((side, side // 2 + 1, *kernel.shape[2:]), np.complex64)
        for channel in range(kernel.shape[2]):
            turned = np.moveaxis(kernel[::-1, ::-1, channel], -1, 0)
            found[:, :, channel] = np.moveaxis(np.fft.rfft2(turned, (side, side)), 0, -1)
        return cls(tf.constant(found), bias, (kernel.shape[0], kernel.shape[1]))

    @property
    def nbytes(self) -> int:
        """Of the kernel."""
        return int(np.prod(self.kernel.shape)) * 8

    def __call__(self, maps: Any) -> Any:
        """Graph op: (1, h, w, C) → (1, h - rows + 1, w - columns + 1, D)."""
        side = self.kernel.shape[0]
        given = [maps.shape[axis + 1] - self.size[axis] + 1 for axis in (0, 1)]
        kept = [side - self.size[axis] + 1 for axis in (0, 1)]
        counts = [-(-length // block) for length, block in zip(given, kept, strict=True)]
        ends = [
            count * block + size - 1 - length
            for count, block, size, length in zip(
                counts, kept, self.size, maps.shape[1:3], strict=True
            )
        ]
        padded = tf.pad(maps, [[0, 0], [0, ends[0]], [0, ends[1]], [0, 0]])
        blocks = tf.concat(
            [
                padded[:, top : top + side, left : left + side]
                for top in range(0, counts[0] * kept[0], kept[0])
                for left in range(0, counts[1] * kept[1], kept[1])
            ],
            axis=0,
        )
        spectrum = tf.signal.rfft2d(tf.transpose(blocks, (0, 3, 1, 2)))
        product = tf.matmul(tf.transpose(spectrum, (2, 3, 0, 1)), self.kernel)
        found = tf.signal.irfft2d(tf.transpose(product, (2, 3, 0, 1)), [side, side])
        found = found[:, :, self.size[0] - 1 :, self.size[1] - 1 :]
        found = tf.reshape(found, (*counts, -1, *kept))
        found = tf.transpose(found, (0, 3, 1, 4, 2))
        found = tf.reshape(found, (1, counts[0] * kept[0], counts[1] * kept[1], -1))
        return found[:, : given[0], : given[1]] + self.bias
