"""A network made to answer for every window of a region in one pass.

Neighbouring windows share most of their pixels, so their feature maps are computed once for all of
them: each layer of the graph is replaced by one that slides over the whole region. A dense layer
behind a flattened feature map becomes a convolution whose kernel is as large as that map, the mean
over the map a mean over a sliding box, whatever comes after these a convolution of 1 x 1. Batch
normalisation is folded into the convolution before it, and a kernel as large as a map applied by
the Fourier transform.

Where a network pads the feature maps of a window with zeros, a window in the region has its true
neighbours instead: every layer here is unpadded, and the region extends beyond the outermost
windows as far as the padding reached. This is the one difference from windows taken one by one; a
network without padding has none. Where a window begins in each feature map is followed through the
graph (`spans`), so that window k is the same window in both.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from keras import layers

from deadlib.errors import InputError
from deadlib.heatmaps.fourier import FourierConvolution, is_faster
from deadlib.heatmaps.spans import Cut, Reach, Span, cut

Pair = tuple[int, int]

_PASSING = (layers.Dropout, layers.SpatialDropout2D, layers.GaussianNoise, layers.GaussianDropout)
_ELEMENTWISE = (layers.Activation, layers.ReLU, layers.LeakyReLU, layers.ELU)
_MERGING = (layers.Add, layers.Subtract, layers.Multiply, layers.Maximum, layers.Average)
_POOLING = {layers.MaxPooling2D: tf.nn.max_pool2d, layers.AveragePooling2D: tf.nn.avg_pool2d}
_OVERALL = {
    layers.GlobalMaxPooling2D: tf.nn.max_pool2d,
    layers.GlobalAveragePooling2D: tf.nn.avg_pool2d,
}
_FARTHEST_PX = 2048
"""No network here pads as far as this."""


@dataclass(frozen=True)
class Step:
    """One layer over a region. Inputs are numbers of earlier values; value 0 is the region."""

    name: str
    inputs: tuple[int, ...]
    compute: Callable[..., Any]
    channels: int
    """Of what it gives."""
    reach: tuple[Reach, Reach] = (Reach(), Reach())


@dataclass(frozen=True, eq=False)
class Convolution:
    """An unpadded convolution: kernel (h, w, C, D), bias (D,)."""

    kernel: np.ndarray
    bias: np.ndarray
    strides: Pair = (1, 1)
    dilation: Pair = (1, 1)

    def scaled(self, scale: np.ndarray, offset: np.ndarray) -> Convolution:
        """With what it gives multiplied by `scale` and moved by `offset`, (D,) each."""
        return replace(self, kernel=self.kernel * scale, bias=self.bias * scale + offset)

    def __call__(self, maps: Any) -> Any:
        found = tf.nn.conv2d(maps, self.kernel, self.strides, "VALID", dilations=self.dilation)
        return tf.nn.bias_add(found, self.bias)


@dataclass(frozen=True, eq=False)
class Affine:
    """Multiply and move each channel: batch normalisation at rest."""

    scale: np.ndarray
    offset: np.ndarray

    def __call__(self, maps: Any) -> Any:
        return maps * self.scale + self.offset


@dataclass(frozen=True, eq=False)
class DenseNetwork:
    """The network of one window as one of regions: pixels in, logits of all windows out."""

    steps: tuple[Step, ...]
    channels: int
    window_px: Pair
    stride_px: Pair
    """From one window to the next, in rows and columns."""
    lead_px: Pair = field(init=False)
    """How far a region extends before its first window."""
    single_px: Pair = field(init=False)
    """Rows and columns of the smallest region, that of one window."""

    def __post_init__(self) -> None:
        leads, sides = zip(*(self._smallest(axis) for axis in (0, 1)), strict=True)
        object.__setattr__(self, "lead_px", leads)
        object.__setattr__(self, "single_px", sides)

    def region_px(self, counts: Pair) -> Pair:
        """Rows and columns of a region with so many rows and columns of windows."""
        rows, columns = (
            side + (count - 1) * stride
            for side, count, stride in zip(self.single_px, counts, self.stride_px, strict=True)
        )
        return rows, columns

    def __call__(self, region: Any) -> Any:
        """Graph op: (1, *region_px(counts), C) float32, preprocessed → logits (1, *counts, K)."""
        sides = zip(self.lead_px, region.shape[1:3], strict=True)
        rows, columns = (self._cuts(axis, Span(*side))[0] for axis, side in enumerate(sides))
        values = [region]
        for step, down, right in zip(self.steps, rows, columns, strict=True):
            maps = [
                values[number][:, high.start : high.stop, wide.start : wide.stop]
                for number, high, wide in zip(step.inputs, down, right, strict=True)
            ]
            values.append(step.compute(*maps))
        return values[-1]

    @property
    def transformed_bytes(self) -> int:
        """Of the kernels that were transformed."""
        found = (step.compute for step in self.steps)
        return sum(each.nbytes for each in found if isinstance(each, FourierConvolution))

    def floats_per_pixel(self) -> float:
        """The most values that are alive at once, for each pixel of a large region."""
        large = Span(_FARTHEST_PX, 10**6)
        lengths = [[span.length for span in self._cuts(axis, large)[1]] for axis in (0, 1)]
        sizes = [
            channels * rows * columns / large.length**2
            for channels, rows, columns in zip(
                [self.channels, *(step.channels for step in self.steps)], *lengths, strict=True
            )
        ]
        last_use = {number: at for at, step in enumerate(self.steps) for number in step.inputs}
        most, alive = 0.0, {0}
        for at, step in enumerate(self.steps):
            alive.add(at + 1)
            most = max(most, sum(sizes[number] for number in alive))
            alive -= {number for number in step.inputs if last_use[number] == at}
        return most

    def _cuts(self, axis: int, region: Span) -> tuple[list[list[Cut]], list[Span]]:
        """What each step takes of its inputs along an axis, and the spans of all values."""
        cuts, spans = [], [region]
        for step in self.steps:
            taken, given = cut([spans[number] for number in step.inputs], step.reach[axis])
            cuts.append(taken)
            spans.append(given)
        return cuts, spans

    def _smallest(self, axis: int) -> Pair:
        """The lead and the length of the smallest region along an axis."""
        window = self.window_px[axis]

        def answers(lead: int, length: int) -> Span:
            return self._cuts(axis, Span(lead, length))[1][-1]

        lead = next(at for at in range(_FARTHEST_PX) if answers(at, window).lead >= 0)
        return lead, next(at for at in range(1, 10**6) if answers(lead, at).length >= 1)


@dataclass(frozen=True)
class _Value:
    """A tensor of the window's network: which value of the steps it is, and how it is laid out."""

    number: int
    shape: tuple[int, ...]
    """Rows, columns and channels of the window's feature map; (channels,) once it has become one
    vector for the window."""
    flat: bool = False
    """Flattened: the steps keep the map that it was made from."""
    stride_px: Pair = (1, 1)


def dense_network(network: keras.Model, subsample: Pair = (1, 1)) -> DenseNetwork:
    """The same layers and weights for regions: every `subsample`-th window down and to the right.

    Weights are copied, and all is computed in float32. Raises InputError where a layer cannot
    slide over a region, such as one that weighs channels by their mean over the whole window.
    """
    built = _built(network, subsample)
    return replace(built, steps=_transformed(_folded(built.steps)))


def natural_stride(network: keras.Model) -> Pair:
    """Pixels from one window to the next where none is left out. Raises as `dense_network`."""
    return _built(network, (1, 1)).stride_px


def _built(network: keras.Model, subsample: Pair) -> DenseNetwork:
    builder = _Builder(subsample)
    for layer in network.layers:
        builder.add(layer)
    final = builder.values[id(network.output)]
    if len(final.shape) != 1:
        raise InputError(f"{network.name} gives a map for each window, expected one answer")
    rows, columns, channels = network.input.shape[1:]
    return DenseNetwork(tuple(builder.steps), channels, (rows, columns), final.stride_px)


class _Builder:
    """Goes through the layers in the order of the graph and writes down the steps."""

    def __init__(self, subsample: Pair) -> None:
        self.steps: list[Step] = []
        self.values: dict[int, _Value] = {}
        self._subsample = subsample

    def add(self, layer: Any) -> None:
        if isinstance(layer, layers.InputLayer):
            self.values[id(layer.output)] = _Value(0, tuple(layer.output.shape[1:]))
            return
        tensors = _inputs(layer)
        if not all(id(tensor) in self.values for tensor in tensors):
            raise InputError(f"a layer before {layer.name} is used twice; use the exact mode")
        given = [self.values[id(tensor)] for tensor in tensors]
        self.values[id(layer.output)] = self._added(layer, given)

    def _added(self, layer: Any, given: list[_Value]) -> _Value:
        value, kind = given[0], type(layer)
        is_map = len(value.shape) == 3 and not value.flat
        if kind in _PASSING:
            return value
        if kind is layers.Flatten:
            return replace(value, flat=len(value.shape) == 3)
        if kind in _ELEMENTWISE:
            return self._step(layer.name, [value], layer.call, value.shape)
        if kind is layers.BatchNormalization and not value.flat and layer.axis in (-1, 3):
            return self._batch_norm(layer, value)
        if kind is layers.Dense and (value.flat or not is_map):
            return self._activated(layer, self._dense(layer, value))
        if kind is layers.Conv2D and is_map and layer.groups == 1:
            return self._activated(layer, self._convolution(layer, value))
        if kind is layers.ZeroPadding2D and is_map:
            (top, _), (left, _) = layer.padding
            reach = (Reach(before=top), Reach(before=left))
            return self._step(layer.name, [value], _same, _shape(layer), reach)
        if kind in _POOLING and is_map:
            return self._pooling(layer, value)
        if kind in _OVERALL and is_map and not layer.keepdims:
            return self._overall(layer, value)
        if self._can_merge(layer, given):
            return self._step(layer.name, given, lambda *maps: layer.call(maps), _shape(layer))
        raise InputError(
            f"layer {layer.name} ({kind.__name__}) cannot slide over a whole frame, as what it "
            "gives for one window cannot be shared with the next; use the exact mode"
        )

    def _can_merge(self, layer: Any, given: list[_Value]) -> bool:
        alike = len({(value.shape[:-1], value.flat, value.stride_px) for value in given}) == 1
        joins = type(layer) is layers.Concatenate and layer.axis in (-1, 3)
        return alike and not given[0].flat and (joins or type(layer) in _MERGING)

    def _step(
        self,
        name: str,
        given: list[_Value],
        compute: Callable[..., Any],
        shape: tuple[int, ...],
        reach: tuple[Reach, Reach] = (Reach(), Reach()),
    ) -> _Value:
        inputs = tuple(value.number for value in given)
        self.steps.append(Step(name, inputs, compute, shape[-1], reach))
        rows, columns = (
            stride * along.stride for stride, along in zip(given[0].stride_px, reach, strict=True)
        )
        return replace(given[0], number=len(self.steps), shape=shape, stride_px=(rows, columns))

    def _activated(self, layer: Any, value: _Value) -> _Value:
        if layer.activation in (None, keras.activations.linear):
            return value
        return self._step(f"{layer.name}_activation", [value], layer.activation, value.shape)

    def _batch_norm(self, layer: Any, value: _Value) -> _Value:
        scale = 1 / np.sqrt(_array(layer.moving_variance) + layer.epsilon)
        scale = scale * _array(layer.gamma) if layer.scale else scale
        offset = -_array(layer.moving_mean) * scale
        offset = offset + _array(layer.beta) if layer.center else offset
        return self._step(layer.name, [value], Affine(scale, offset), value.shape)

    def _convolution(self, layer: Any, value: _Value) -> _Value:
        reach = _reach(layer, value, layer.kernel_size, layer.dilation_rate)
        kernel = _array(layer.kernel)
        bias = _array(layer.bias) if layer.use_bias else np.zeros(kernel.shape[-1], np.float32)
        compute = Convolution(kernel, bias, tuple(layer.strides), tuple(layer.dilation_rate))
        return self._step(layer.name, [value], compute, _shape(layer), reach)

    def _dense(self, layer: Any, value: _Value) -> _Value:
        kernel = _array(layer.kernel)
        bias = _array(layer.bias) if layer.use_bias else np.zeros(kernel.shape[-1], np.float32)
        if not value.flat:
            compute = Convolution(kernel[None, None], bias)
            return self._step(layer.name, [value], compute, _shape(layer))
        rows, columns, _ = value.shape
        kernel = kernel.reshape(*value.shape, -1)
        compute = Convolution(kernel, bias, self._subsample)
        reached = self._step(
            layer.name, [value], compute, _shape(layer), self._whole(rows, columns)
        )
        return replace(reached, flat=False)

    def _pooling(self, layer: Any, value: _Value) -> _Value:
        pool, size, strides = _POOLING[type(layer)], layer.pool_size, layer.strides

        def compute(maps: Any) -> Any:
            return pool(maps, size, strides, "VALID")

        reach = _reach(layer, value, size, (1, 1))
        return self._step(layer.name, [value], compute, _shape(layer), reach)

    def _overall(self, layer: Any, value: _Value) -> _Value:
        pool, (rows, columns, _) = _OVERALL[type(layer)], value.shape
        subsample = self._subsample

        def compute(maps: Any) -> Any:
            return pool(maps, (rows, columns), subsample, "VALID")

        return self._step(layer.name, [value], compute, _shape(layer), self._whole(rows, columns))

    def _whole(self, rows: int, columns: int) -> tuple[Reach, Reach]:
        """What reads the whole map of a window."""
        down, right = self._subsample
        return Reach(rows, down), Reach(columns, right)


def _folded(steps: Sequence[Step]) -> tuple[Step, ...]:
    """With every batch normalisation drawn into the convolution that alone feeds it."""
    uses = Counter(number for step in steps for number in step.inputs)
    kept: list[Step] = []
    number_of = {0: 0}
    for number, step in enumerate(steps, start=1):
        source = number_of[step.inputs[0]]
        before = kept[source - 1].compute if source else None
        if (
            isinstance(step.compute, Affine)
            and isinstance(before, Convolution)
            and uses[step.inputs[0]] == 1
        ):
            folded = before.scaled(step.compute.scale, step.compute.offset)
            kept[source - 1] = replace(kept[source - 1], compute=folded)
            number_of[number] = source
            continue
        kept.append(replace(step, inputs=tuple(number_of[each] for each in step.inputs)))
        number_of[number] = len(kept)
    return tuple(kept)


def _transformed(steps: Sequence[Step]) -> tuple[Step, ...]:
    """With large kernels applied by the Fourier transform."""

    def chosen(compute: Callable[..., Any]) -> Callable[..., Any]:
        if (
            isinstance(compute, Convolution)
            and compute.strides == compute.dilation == (1, 1)
            and is_faster(compute.kernel)
        ):
            return FourierConvolution.of(compute.kernel, compute.bias)
        return compute

    return tuple(replace(step, compute=chosen(step.compute)) for step in steps)


def _inputs(layer: Any) -> list[Any]:
    """The tensors that a layer takes. Raises InputError where it is used more than once."""
    try:
        found = layer.input
    except ValueError:
        raise InputError(f"layer {layer.name} is used twice; use the exact mode") from None
    return list(found) if isinstance(found, list | tuple) else [found]


def _reach(layer: Any, value: _Value, size: Pair, dilation: Pair) -> tuple[Reach, Reach]:
    """What a layer with a kernel reads, and how far before the window its padding begins."""
    found = []
    for axis in (0, 1):
        stride = layer.strides[axis]
        before = 0
        if layer.padding == "same":
            covered = dilation[axis] * (size[axis] - 1) + 1
            given = -(-value.shape[axis] // stride)
            before = max((given - 1) * stride + covered - value.shape[axis], 0) // 2
        found.append(Reach(size[axis], stride, dilation[axis], before))
    return found[0], found[1]


def _shape(layer: Any) -> tuple[int, ...]:
    return tuple(layer.output.shape[1:])


def _array(variable: Any) -> np.ndarray:
    return np.asarray(variable, np.float32)


def _same(maps: Any) -> Any:
    return maps
