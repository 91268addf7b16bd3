"""Augmentations that move pixels. However many stand in a row, images are read once."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import reduce
from itertools import groupby
from typing import Any, ClassVar, NamedTuple

from keras import ops
from pydantic import Field

from deadlib.augment.base import Augmentation, CommonSettings, PositiveRange
from deadlib.augment.randomness import chance, log_uniform, per_image, uniform
from deadlib.augment.sampling import Interpolation, pixel_grid, sample
from deadlib.errors import RecipeError


class Window(NamedTuple):
    """What is kept of images: a window of each, or the whole."""

    image_px: tuple[int, int]
    size_px: tuple[int, int]
    start: tuple[Any, Any] | None = None
    """Its first row and column in each image, (B,) whole float32; None where it is the whole."""


class Geometric(Augmentation):
    """An augmentation that says where each pixel is read from.

    `interpolates` is False where whole-numbered coordinates stay whole-numbered.
    """

    interpolates: ClassVar[bool] = True

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        # bfloat16 images are read as they are, at float32 coordinates.
        self.autocast = False

    def call(self, images: Any, seed: Any) -> Any:
        seeds = per_image(seed, ops.shape(images)[0])
        return move(images, [(self, seeds)])

    def source(self, coordinates: Sequence[Any], seeds: Any, window: Window) -> Any:
        """Where the values at coordinates come from.

        coordinates: rows and columns in the window, each (B or 1, h, w); so is what is returned,
        with B. Images that their gate leaves alone keep their coordinates.
        """
        raise NotImplementedError


class Affine(Geometric):
    """A geometric augmentation that is an affine map, which costs nothing more per pixel."""

    def matrix(self, seeds: Any, size_px: tuple[int, int]) -> Any:
        """From coordinates to where their values come from: (B, 2, 3), rows before columns."""
        raise NotImplementedError

    def gated_matrix(self, seeds: Any, size_px: tuple[int, int]) -> Any:
        """`matrix` for the images that are changed, the identity for the others."""
        changed = ops.reshape(self.gate(seeds), (-1, 1, 1))
        return ops.where(changed, self.matrix(seeds, size_px), _identity())


def move(
    images: Any,
    steps: Sequence[tuple[Geometric, Any]],
    interpolation: Interpolation = "bilinear",
) -> Any:
    """Apply geometric steps, each with its seeds (B, 2), in this order and in one reading.

    A RandomCrop comes first: what it leaves out is there still, to be moved into the window.
    Returns (B, h, w, C) of the images' dtype, h and w those of the crop or of the images.
    """
    size_px = images.shape[1:3]
    window = Window(size_px, size_px)
    for step, seeds in steps[:1]:
        if isinstance(step, RandomCrop):
            window = Window(size_px, step.settings.size_px, step.start(seeds, size_px))
    coordinates: Any = pixel_grid(*window.size_px)
    # What was done last is undone first: from the result back to the image.
    for affine, run in groupby(reversed(steps), key=lambda entry: isinstance(entry[0], Affine)):
        if affine:
            # One matrix for the whole run, through a sum even where the run is a single step: XLA
            # computes sums once, and what leads up to plain arithmetic for every pixel.
            matrices = [
                step.gated_matrix(
                    seeds, size_px if isinstance(step, RandomCrop) else window.size_px
                )
                for step, seeds in run
            ]
            coordinates = _transformed(coordinates, reduce(_then, matrices, _identity()))
        else:
            for step, seeds in run:
                coordinates = step.source(coordinates, seeds, window)
    interpolates = any(step.interpolates for step, _ in steps)
    return sample(images, coordinates, interpolation if interpolates else "none")


class RandomCrop(Affine):
    """A window anywhere in the image. Used for input.fit: crop, not named in recipes."""

    interpolates = False

    class Settings(CommonSettings):
        size_px: tuple[int, int]

    def matrix(self, seeds: Any, size_px: tuple[int, int]) -> Any:
        return _translation(*self.start(seeds, size_px))

    def start(self, seeds: Any, size_px: tuple[int, int]) -> tuple[Any, Any]:
        """The first row and column of each window, (B,) whole float32."""
        offsets = []
        for axis, (size, window) in enumerate(zip(size_px, self.settings.size_px, strict=True)):
            if window > size:
                raise RecipeError(
                    f"input.size_px: a crop of {self.settings.size_px} px does not fit images of "
                    f"{tuple(size_px)} px; give a smaller size_px or input.fit: resize"
                )
            offsets.append(ops.floor(uniform(seeds, axis + 1) * (size - window + 1)))
        return offsets[0], offsets[1]


class Flip(Affine):
    """Mirror left-right and top-bottom, each with the probability."""

    interpolates = False

    class Settings(CommonSettings):
        probability: float = Field(0.5, ge=0, le=1, description="of each mirroring")
        horizontal: bool = Field(True, description="mirror left and right")
        vertical: bool = Field(True, description="mirror top and bottom")

    def gate(self, seeds: Any) -> Any:
        return chance(seeds, 0, 1.0)

    def matrix(self, seeds: Any, size_px: tuple[int, int]) -> Any:
        signs = []
        for axis, enabled in enumerate((self.settings.vertical, self.settings.horizontal)):
            mirrored = chance(seeds, axis + 1, self.settings.probability if enabled else 0.0)
            signs.append(1 - 2 * ops.cast(mirrored, "float32"))
        zero = ops.zeros_like(signs[0])
        return _about_centre([signs[0], zero], [zero, signs[1]], size_px)


class QuarterTurn(Affine):
    """Turn by 0, 90, 180 or 270 degrees, all alike. Square images only."""

    interpolates = False

    def check_size(self, size_px: tuple[int, int], image_px: tuple[int, int] | None = None) -> None:
        if size_px[0] != size_px[1]:
            raise RecipeError(
                f"quarter_turn needs square images, these are {size_px[0]} x {size_px[1]} px; "
                "use flip, or rotate with degrees"
            )

    def matrix(self, seeds: Any, size_px: tuple[int, int]) -> Any:
        self.check_size(size_px)
        turns = ops.floor(4 * uniform(seeds, 1))
        # Whole numbers, because cos(pi / 2) in floating point is not 0.
        return _rotation(ops.abs(turns - 2) - 1, 1 - ops.abs(turns - 1), size_px)


class Rotate(Affine):
    """Turn by any angle about the centre; corners are filled by reflection."""

    class Settings(CommonSettings):
        degrees: float = Field(180.0, ge=0, le=180, description="the largest angle, either way")

    def matrix(self, seeds: Any, size_px: tuple[int, int]) -> Any:
        largest = math.radians(self.settings.degrees)
        angle = uniform(seeds, 1, (), -largest, largest)
        return _rotation(ops.cos(angle), ops.sin(angle), size_px)


class Zoom(Affine):
    """Magnify about the centre: cells of another size or another magnification."""

    class Settings(CommonSettings):
        factor: PositiveRange = Field((0.8, 1.25), description="above 1 magnifies; log-uniform")
        aspect: PositiveRange = Field(
            (1.0, 1.0),
            description="factor along columns over that along rows, about their geometric mean; "
            "log-uniform",
        )

    def matrix(self, seeds: Any, size_px: tuple[int, int]) -> Any:
        step = 1 / log_uniform(seeds, 1, *self.settings.factor)
        stretch = ops.sqrt(log_uniform(seeds, 2, *self.settings.aspect))
        zero = ops.zeros_like(step)
        return _about_centre([step * stretch, zero], [zero, step / stretch], size_px)


class Shear(Affine):
    """Slant about the centre, rows and columns each by an angle; corners are filled by reflection.

    Along rows, what stands upright leans by the angle; along columns, what lies level tilts.
    """

    class Settings(CommonSettings):
        degrees: float = Field(10.0, ge=0, lt=45, description="the largest angle, either way")

    def matrix(self, seeds: Any, size_px: tuple[int, int]) -> Any:
        largest = math.radians(self.settings.degrees)
        tilt, lean = (ops.tan(uniform(seeds, axis, (), -largest, largest)) for axis in (1, 2))
        one = ops.ones_like(tilt)
        return _about_centre([one, tilt], [lean, one], size_px)


class Shift(Affine):
    """Move by a fraction of pixels in both directions; edges are filled by reflection."""

    class Settings(CommonSettings):
        distance_px: float = Field(4.0, ge=0, description="the largest distance along each axis")

    def matrix(self, seeds: Any, size_px: tuple[int, int]) -> Any:
        distance = self.settings.distance_px
        return _translation(
            uniform(seeds, 1, (), -distance, distance), uniform(seeds, 2, (), -distance, distance)
        )


def _transformed(coordinates: Sequence[Any], matrix: Any) -> list[Any]:
    """Rows and columns, each (B or 1, h, w), through matrices (B, 2, 3): each (B, h, w).

    Written out, because a matrix product may round to ten bits on a GPU; and two arrays, because
    XLA takes minutes to compile a chain of stacking and slicing.
    """
    rows, columns = coordinates
    linear = [[matrix[:, i, j, None, None] for j in range(3)] for i in range(2)]
    return [a * rows + b * columns + shift for a, b, shift in linear]


def _then(first: Any, second: Any) -> Any:
    """The matrix of coordinates going through `first`, then `second`: (B, 2, 3)."""
    product = ops.sum(second[:, :, :2, None] * first[:, None], axis=2)
    return ops.concatenate([product[:, :, :2], product[:, :, 2:] + second[:, :, 2:]], axis=2)


def _identity() -> Any:
    return ops.convert_to_tensor([[[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]]], dtype="float32")


def _translation(rows: Any, columns: Any) -> Any:
    """Matrices that add (B,) rows and columns."""
    shift = ops.stack([rows, columns], axis=-1)[:, :, None]
    return _identity() + ops.pad(shift, [(0, 0), (0, 0), (2, 0)])


def _rotation(cosine: Any, sine: Any, size_px: tuple[int, int]) -> Any:
    """Matrices that turn about the centre, for (B,) cosines and sines."""
    return _about_centre([cosine, -sine], [sine, cosine], size_px)


def _about_centre(row: Sequence[Any], column: Sequence[Any], size_px: tuple[int, int]) -> Any:
    """The linear map with these rows of (B,) numbers, keeping the image's centre in place."""
    centre = [(size - 1) / 2 for size in size_px]
    lines = [
        [a, b, home - a * centre[0] - b * centre[1]]
        for (a, b), home in zip((row, column), centre, strict=True)
    ]
    return ops.stack([ops.stack(line, axis=-1) for line in lines], axis=1)
