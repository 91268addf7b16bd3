"""Where an image lies: a file, or one image of a file that holds many.

    B03/field_1.tif                                 the file is the image
    plate.ome.tif#scene=2,t=3,z=max,c=0+2           one image of several in a file
    p01-ch1.tiff|p02-ch1.tiff|p03-ch1.tiff#z=max    planes in files of their own
    B03/field_1.tif#zoom=0.5                        the image at half its size

`scene`, `t` and `c` count from 0; `z` is a plane, counted from 1 as microscopes do, or how the
planes become one image; an image with a zoom is resampled as it is read. Further files are named
from the folder of the first.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import PurePosixPath

PROJECTIONS = ("max", "mean", "focus")

_NUMBER = r"\d+(?:\.\d+)?(?:e[-+]\d+)?"
_CHOICE = rf"(?:(?:scene|t)=\d+|z=(?:\d+|{'|'.join(PROJECTIONS)})|c=\d+(?:\+\d+)*|zoom={_NUMBER})"
_SELECTOR = re.compile(rf"(?P<files>.+)#(?P<choices>{_CHOICE}(?:,{_CHOICE})*)")


@dataclass(frozen=True)
class Locator:
    """Files, and what of them makes the image; None where the file leaves no choice.

    files: the first as it was given, others as paths from the same base.
    """

    files: tuple[str, ...]
    scene: int | None = None
    time: int | None = None
    z: str | None = None
    channels: tuple[int, ...] | None = None
    zoom: float | None = None

    @classmethod
    def parse(cls, text: str) -> Locator:
        """Read the text of a locator; a text without a selector is one file."""
        match = _SELECTOR.fullmatch(text)
        if match is None:
            return cls((text,))
        choices = dict(choice.split("=") for choice in match["choices"].split(","))
        first, *others = match["files"].split("|")
        folder = os.path.dirname(first)
        files = [os.path.normpath(os.path.join(folder, other)) for other in others]
        channels = choices.get("c")
        return cls(
            files=(first, *files),
            scene=int(choices["scene"]) if "scene" in choices else None,
            time=int(choices["t"]) if "t" in choices else None,
            z=choices.get("z"),
            channels=tuple(int(place) for place in channels.split("+")) if channels else None,
            zoom=float(choices["zoom"]) if "zoom" in choices else None,
        )

    @property
    def is_whole_file(self) -> bool:
        return self == Locator(self.files) and len(self.files) == 1

    def __str__(self) -> str:
        first, *others = self.files
        folder = os.path.dirname(first) or "."
        names = [first, *(PurePosixPath(os.path.relpath(other, folder)) for other in others)]
        channels = None if self.channels is None else "+".join(map(str, self.channels))
        choices = [
            f"{key}={value}"
            for key, value in (
                ("scene", self.scene),
                ("t", self.time),
                ("z", self.z),
                ("c", channels),
                ("zoom", None if self.zoom is None else f"{self.zoom:.6g}"),
            )
            if value is not None
        ]
        files = "|".join(map(str, names))
        return f"{files}#{','.join(choices)}" if choices else files
