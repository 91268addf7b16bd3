"""How a run looks at a frame: the size of its windows there, and what is done to their pixels."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np

from deadlib.data.plates import PLATE
from deadlib.data.preprocess import Preprocess, preprocess_for
from deadlib.errors import InputError
from deadlib.recipe import RELATIVE, InputSection
from deadlib.runs import Run
from deadlib.windows import normalised_with, training_window

Pair = tuple[int, int]


@dataclass(frozen=True)
class Setting:
    """The window of a run on a frame, and its way to the network."""

    section: InputSection
    preprocess: Preprocess
    channels: int
    window_px: Pair
    """Rows and columns of a window, in pixels of the frame."""
    stored_px: Pair
    """Of what statistics are taken of, in pixels of the network's input: the window, or the
    stored image around it."""

    @property
    def size_px(self) -> Pair:
        """Rows and columns of a window, in pixels of the network's input."""
        return self.section.size_px

    @property
    def scale(self) -> tuple[Fraction, Fraction]:
        """Pixels of the network's input for one of the frame, down and to the right."""
        down, right = (
            Fraction(seen, given) for seen, given in zip(self.size_px, self.window_px, strict=True)
        )
        return down, right

    @property
    def cut_px(self) -> Pair:
        """Rows and columns, in pixels of the frame, of what is cut out for a window: more than it
        where statistics are taken of the stored image around it."""
        rows, columns = (
            window + round((stored - seen) / scale)
            for window, stored, seen, scale in zip(
                self.window_px, self.stored_px, self.size_px, self.scale, strict=True
            )
        )
        return rows, columns


def setting_of(run: Run, window_px: Pair | None = None) -> Setting:
    """How `run` looks at frames; window_px, where frames have another pixel size than the training
    images had, is how large a training window is in them.

    By default a window is input.size_px with fit=crop, and with fit=resize the size of the
    training images. Raises InputError where these had several sizes, and where the run compares
    images with their plate: a frame of a time-lapse has none, and its own statistics would hide
    what changes in time.
    """
    section = run.recipe.input
    if section.normalise in PLATE or section.illumination:
        asked = "input.illumination" if section.illumination else f"normalise: {section.normalise}"
        raise InputError(
            f"{run.folder}: the run compares images with their plate ({asked}), and a frame of a "
            "time-lapse has no plate; train with input.normalise: per_image, half_contrast or "
            "dataset and without input.illumination"
        )
    return Setting(
        section=section,
        preprocess=preprocess_for(section, run.dataset),
        channels=len(run.channels),
        window_px=window_px or training_window(run),
        stored_px=normalised_with(run),
    )


def check_depth(run: Run, dtype: Any) -> None:
    """Raise InputError where intensities of another type would mean something else to the run."""
    if run.recipe.input.equalise or run.recipe.input.normalise in RELATIVE:
        return
    known = run.dataset["card"]["dtypes"]
    if np.dtype(dtype).name not in known:
        raise InputError(
            f"a frame of {np.dtype(dtype).name}, but the run {run.folder} was trained on "
            f"{', '.join(sorted(known))} and compares intensities (input.normalise: "
            f"{run.recipe.input.normalise}); give frames of the same depth, or a run with "
            "input.normalise: per_image"
        )
