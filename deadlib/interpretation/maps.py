"""Maps as files: 16 bits, one plane per class, with what the numbers stand for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import tifffile

from deadlib.errors import InputError
from deadlib.interpretation.names import MAPS
from deadlib.outputs import written_whole

SUFFIXES = {"tiff": ".tif", "ome-tiff": ".ome.tif"}
LARGEST = 65535
SCALE = "heat_at_65535"
_UM_PER_CM = 10_000


def check_maps(kind: str | None) -> None:
    """Raise InputError on a way of writing maps that does not exist."""
    if kind is not None and kind not in MAPS:
        raise InputError(f"--maps {kind}: unknown; expected one of {', '.join(MAPS)}")


def write_map(
    path: Path,
    heat: np.ndarray,
    classes: Sequence[str],
    *,
    about: Mapping[str, str],
    pixel_size_um: float | None = None,
) -> None:
    """Write heat (classes, H, W) float32 >= 0 as 16 bits: 65535 stands for its strongest place.

    The suffix says how: `.ome.tif` with the classes as names of channels, `.tif` with the same in
    the image description as JSON. In both `heat_at_65535` is the heat that 65535 stands for, in
    units of the score; pixel_size_um: micrometres per pixel, if known.
    """
    strongest = float(heat.max())
    stored = np.zeros(heat.shape, np.uint16)
    if strongest > 0:
        stored = np.round(heat * (LARGEST / strongest)).astype(np.uint16)
    metadata: dict[str, object] = {"axes": "CYX"}
    ome = path.name.endswith(SUFFIXES["ome-tiff"])
    if ome:
        annotation = {SCALE: str(strongest), **about}
        metadata |= {
            "Channel": {"Name": list(classes)},
            "Description": f"heat = value / 65535 x {strongest:.9g}",
            "MapAnnotation": {"Namespace": "deadlib", **annotation},
        }
        if pixel_size_um is not None:
            metadata |= {f"PhysicalSize{axis}": pixel_size_um for axis in "XY"}
            metadata |= {f"PhysicalSize{axis}Unit": "µm" for axis in "XY"}
    else:
        metadata |= {"classes": list(classes), SCALE: strongest, **about}
    size = {} if pixel_size_um is None else _resolution(pixel_size_um)
    with written_whole(path) as partial:
        tifffile.imwrite(
            partial,
            stored,
            ome=ome,
            photometric="minisblack",
            compression="zlib",
            predictor=True,
            metadata=metadata,
            **size,
        )


def read_map(path: Path) -> np.ndarray:
    """Heat (classes, H, W) float32 of a file that `write_map` wrote, to a 16-bit step."""
    with tifffile.TiffFile(path) as file:
        stored = file.asarray()
        if file.is_ome:
            tree = tifffile.xml2dict(file.ome_metadata)
            pairs = tree["OME"]["StructuredAnnotations"]["MapAnnotation"]["Value"]["M"]
            strongest = next(float(one["value"]) for one in pairs if one["K"] == SCALE)
        else:
            described = file.shaped_metadata
            strongest = float(described[0][SCALE]) if described else 0.0
    planes = stored if stored.ndim == 3 else stored[None]
    return np.asarray(planes * np.float32(strongest / LARGEST), np.float32)


def _resolution(pixel_size_um: float) -> dict[str, object]:
    return {"resolution": (_UM_PER_CM / pixel_size_um,) * 2, "resolutionunit": "CENTIMETER"}
