"""What every augmentation is: checked settings, and a seeded change of a batch of images."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal

import keras
from keras import ops
from pydantic import AfterValidator, BeforeValidator, ConfigDict, Field, ValidationError

from deadlib.augment.randomness import chance, per_image
from deadlib.errors import RecipeError
from deadlib.recipe import Section, nearest

GATE = 0
"""The stream that decides whether an image is changed; augmentations draw from 1 on."""


class CommonSettings(Section):
    """The parameters of one augmentation."""

    model_config = ConfigDict(allow_inf_nan=False)

    probability: float = Field(1.0, ge=0, le=1, description="share of the images that change")


def _as_range(value: Any) -> Any:
    return (value, value) if isinstance(value, int | float) else value


def _ordered(value: tuple[float, float]) -> tuple[float, float]:
    if value[0] > value[1]:
        raise ValueError("the low end of a range comes first")
    return value


Range = Annotated[
    tuple[Annotated[float, Field(ge=0)], Annotated[float, Field(ge=0)]],
    BeforeValidator(_as_range),
    AfterValidator(_ordered),
]
"""[low, high], 0 or larger; one number stands for both."""

PositiveRange = Annotated[
    tuple[Annotated[float, Field(gt=0)], Annotated[float, Field(gt=0)]],
    BeforeValidator(_as_range),
    AfterValidator(_ordered),
]
"""[low, high], larger than 0; one number stands for both."""


class Augmentation(keras.layers.Layer):
    """A seeded, stateless change of a batch of images.

    Call it with images (B, H, W, C) float32 and a seed: (2,) integers, or (B, 2) for a seed of
    each image. It returns the same shape and dtype, and the same values for the same seed. Every
    image draws for itself. `stage` says whether it belongs before or after normalisation.

    Raises RecipeError for settings that do not exist or are out of range.
    """

    stage: ClassVar[Literal["before", "after"]] = "before"
    Settings: ClassVar[type[CommonSettings]] = CommonSettings
    settings: Any

    def __init__(
        self,
        *,
        name: str | None = None,
        dtype: Any = "float32",
        trainable: bool = False,
        **settings: Any,
    ) -> None:
        super().__init__(name=name, dtype=dtype, trainable=trainable)
        self.settings = validated(self.Settings, settings, where=type(self).__name__)

    def call(self, images: Any, seed: Any) -> Any:
        seeds = per_image(seed, ops.shape(images)[0])
        changed = self.change(images, seeds)
        return ops.where(per_pixel(self.gate(seeds)), changed, images)

    def change(self, images: Any, seeds: Any) -> Any:
        """All images of the batch, changed: (B, H, W, C), seeds (B, 2) uint32."""
        raise NotImplementedError

    def gate(self, seeds: Any) -> Any:
        """Which images are changed, (B,) bool."""
        return chance(seeds, GATE, self.settings.probability)

    def check_size(self, size_px: tuple[int, int], image_px: tuple[int, int] | None = None) -> None:
        """Raise RecipeError where images of this size cannot be changed.

        image_px: the size of the whole images, where size_px is that of windows cut from them.
        """

    def compute_output_shape(self, images_shape: Any, seed_shape: Any) -> Any:
        return images_shape

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), **self.settings.model_dump()}


def validated(
    settings: type[CommonSettings], found: Mapping[str, Any], where: str
) -> CommonSettings:
    """Settings with their values checked. Raises RecipeError, one line for each mistake."""
    try:
        return settings.model_validate(dict(found))
    except ValidationError as error:
        known = list(settings.model_fields)
        lines = [f"{where}: {_problem(problem, known)}" for problem in error.errors()]
        raise RecipeError("\n".join(lines)) from None


def _problem(problem: Any, known: list[str]) -> str:
    parameter = str(problem["loc"][0])
    if problem["type"] == "extra_forbidden":
        return f"unknown parameter {parameter}; {nearest(parameter, known)}"
    return (
        f"{parameter}: {problem['msg'].removeprefix('Value error, ')}; found {problem['input']!r}"
    )


def per_pixel(values: Any) -> Any:
    """(B,) to (B, 1, 1, 1)."""
    return ops.reshape(values, (-1, 1, 1, 1))
