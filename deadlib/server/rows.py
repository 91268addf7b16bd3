"""One line of the page's table: an image, and what the model says of it."""

from __future__ import annotations

import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, BinaryIO

import numpy as np
from PIL import Image

from deadlib.server.models import Answer, Refused
from deadlib.server.pixels import Pixels
from deadlib.windows import Grid

THUMBNAIL_PX = 96


@dataclass
class File:
    """One dropped file."""

    number: int
    name: str
    """What its sender calls it; never a path here."""
    size_bytes: int
    upload: BinaryIO
    received_bytes: int = 0
    receiving: bool = False
    complete: bool = False
    pixels: Pixels | None = None
    """Its images, once they are decoded."""

    @property
    def kept_bytes(self) -> int:
        """What it holds on disk, or is about to."""
        upload = 0 if self.upload.closed else self.size_bytes
        return upload + (0 if self.pixels is None else self.pixels.size_bytes)

    def close(self) -> None:
        self.upload.close()
        if self.pixels is not None:
            self.pixels.close()


@dataclass
class Row:
    """The answer for one image: a file, or a frame of one."""

    number: int
    file: File
    frame: int = 0
    frames: int = 1
    shape: tuple[int, int] | None = None
    grid: Grid | None = None
    answers: list[Answer | Refused] = field(default_factory=list)
    """For each window of the grid, or for the whole image."""
    error: str | None = None

    @property
    def windows(self) -> int:
        return self.grid.rows * self.grid.columns if self.grid else 1

    def told(self) -> dict[str, Any]:
        """All that the page shows of it; without an answer where `error` says why."""
        rows, columns = self.shape or (None, None)
        known = {
            "number": self.number,
            "name": self.file.name,
            "file": self.file.number,
            "frame": self.frame,
            "frames": self.frames,
            "height_px": rows,
            "width_px": columns,
            "windows": self.windows,
            "error": self.error,
        }
        return known if self.error is not None else known | summary(answered(self.answers))


def answered(answers: Iterable[Answer | Refused]) -> list[Answer]:
    """Those that are answers."""
    return [answer for answer in answers if isinstance(answer, Answer)]


def refusal(answers: Iterable[Answer | Refused]) -> str | None:
    """Why one of them is none."""
    return next((each.error for each in answers if isinstance(each, Refused)), None)


def probabilities(answers: Sequence[Answer]) -> np.ndarray:
    """(N, K) float32, in the model's order of classes."""
    return np.array([list(answer.probability.values()) for answer in answers], np.float32)


def summary(answers: Sequence[Answer]) -> dict[str, Any]:
    """One answer from those for the windows of an image, or from the one for the whole.

    probability: their mean, which for a calibrated model is the share of the image to be expected
    of each class. unsure, unlike: shares of the windows, None of a model without calibration.
    """
    mean = probabilities(answers).mean(axis=0, dtype=np.float64)
    first = answers[0]
    one = first if len(answers) == 1 else None
    return {
        "class_name": list(first.probability)[int(np.argmax(mean))],
        "probability": mean.tolist(),
        "prediction_set": one.prediction_set if one else None,
        "unsure": _share(answer.unsure for answer in answers),
        "unlike": _share(answer.unlike_training for answer in answers),
        "out_of_distribution": one.out_of_distribution if one else None,
        "version": first.version,
        "warnings": list(dict.fromkeys(text for answer in answers for text in answer.warnings)),
    }


def thumbnail(image: np.ndarray) -> bytes:
    """A small PNG of an image (H, W, C): grey, or of up to three channels, each stretched from its
    1st to its 99.8th percentile."""
    step = max(1, max(image.shape[:2]) // (2 * THUMBNAIL_PX))
    small = image[::step, ::step, :3].astype(np.float32)
    low, high = (np.percentile(small, percent, axis=(0, 1)) for percent in (1, 99.8))
    unit = np.clip((small - low) / np.maximum(high - low, 1e-9), 0, 1)
    colours = np.zeros((*unit.shape[:2], 3), np.float32)
    colours[..., : unit.shape[2]] = unit
    if unit.shape[2] == 1:
        colours[:] = unit
    picture = Image.fromarray((colours * 255).round().astype(np.uint8))
    picture.thumbnail((THUMBNAIL_PX, THUMBNAIL_PX))
    out = io.BytesIO()
    picture.save(out, "PNG")
    return out.getvalue()


def _share(flags: Iterable[bool | None]) -> float | None:
    found = [flag for flag in flags if flag is not None]
    return sum(found) / len(found) if found else None
