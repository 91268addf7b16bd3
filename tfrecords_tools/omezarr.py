"""OME-Zarr: a multiscale image, a series of them, or a plate of wells and fields.

zarr reads the arrays; here is followed where the metadata (OME-NGFF 0.4 and 0.5) says they lie.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from tfrecords_tools.container import Scene, hours, well_metadata
from tfrecords_tools.errors import ImageError, SourceError

_AXES = "tczyx"


class ZarrContainer:
    """An OME-Zarr folder, read at full resolution."""

    companions: tuple[str, ...] = ()

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            import zarr
        except ImportError:
            raise SourceError(
                f"{path}: OME-Zarr needs an extra: pip install 'deadlib[formats]'"
            ) from None
        try:
            listed = list(_images(path, zarr.open_group(str(path), mode="r")))
            self._arrays = [(array, axes) for array, axes, _ in listed]
            self.scenes = tuple(scene for _, _, scene in listed)
        except ImageError:
            raise
        except Exception as error:  # zarr and its stores raise anything on damaged folders
            raise ImageError(
                f"{path}: no whole OME-Zarr ({_first_line(error)}); copy it again"
            ) from None
        if not listed:
            raise ImageError(f"{path}: an OME-Zarr plate without images; copy it again")

    def plane(self, scene: int, time: int, channel: int, z: int) -> np.ndarray:
        array, axes = self._arrays[scene]
        wanted = {"t": time, "c": channel, "z": z}
        try:
            return np.asarray(array[tuple(wanted.get(axis, slice(None)) for axis in axes)])
        except Exception as error:  # as above
            raise ImageError(f"{self._path}: cannot be read ({_first_line(error)})") from None

    def close(self) -> None:
        self._arrays = []


def _images(path: Path, group: Any) -> Iterator[tuple[Any, str, Scene]]:
    """Array at full resolution, its axes, and what it is, of every image below a group."""
    attributes = _attributes(group)
    if "plate" in attributes:
        yield from _plate_images(path, group, attributes["plate"])
    elif "multiscales" in attributes:
        yield _image(path, group, "", {})
    elif "bioformats2raw.layout" in attributes:
        for name in sorted((name for name in group.group_keys() if name.isdecimal()), key=int):
            yield _image(path, group[name], name, {})
    else:
        raise ImageError(f"{path}: no OME-Zarr image or plate; expected multiscales or plate")


def _plate_images(
    path: Path, group: Any, plate: Mapping[str, Any]
) -> Iterator[tuple[Any, str, Scene]]:
    several = len(plate.get("acquisitions", ())) > 1
    name = plate.get("name") or path.name.removesuffix(path.suffix).removesuffix(".ome")
    rows = [row["name"] for row in plate["rows"]]
    columns = [column["name"] for column in plate["columns"]]
    for well in plate["wells"]:
        row, column = well["path"].split("/")
        position = well_metadata(
            well.get("rowIndex", rows.index(row)), well.get("columnIndex", columns.index(column))
        )
        if row.isalpha() and column.isdecimal():
            # A plate may list only the rows and columns that it uses.
            position = {"well": f"{row}{int(column):02}", "row": row, "column": str(int(column))}
        wells = group[well["path"]]
        for field in _attributes(wells)["well"]["images"]:
            metadata = {"plate": name, **position, "field": str(field["path"])}
            if several and "acquisition" in field:
                metadata["acquisition"] = str(field["acquisition"])
            scene = f"{well['path']}/{field['path']}"
            yield _image(path, wells[field["path"]], scene, metadata)


def _image(
    path: Path, group: Any, name: str, metadata: Mapping[str, str]
) -> tuple[Any, str, Scene]:
    attributes = _attributes(group)
    multiscale = attributes["multiscales"][0]
    first = multiscale["datasets"][0]
    array = group[first["path"]]
    described = [
        axis if isinstance(axis, dict) else {"name": axis} for axis in multiscale.get("axes", _AXES)
    ]
    axes = "".join(axis["name"] for axis in described)
    if set(axes) - set(_AXES) or not axes.endswith("yx") or array.ndim != len(axes):
        raise ImageError(f"{path}: {name} has axes {axes}, expected t, c, z, y, x in this order")
    sizes = dict(zip(axes, array.shape, strict=True))
    channels = attributes.get("omero", {}).get("channels", [])
    names = tuple(str(channel.get("label", "")) for channel in channels)
    steps = _steps(multiscale, first, axes)
    units = {axis["name"]: axis.get("unit") for axis in described}
    facts = dict(metadata)
    if steps.get("x") and units.get("x") == "micrometer":
        facts["pixel_size_um"] = f"{steps['x']:.6g}"
    step = hours(steps["t"], units["t"]) if units.get("t") and "t" in steps else None
    return (
        array,
        axes,
        Scene(
            name=name,
            frames=sizes.get("t", 1),
            planes=sizes.get("z", 1),
            channels=sizes.get("c", 1),
            channel_names=names if all(names) and len(names) == sizes.get("c", 1) else (),
            hours=() if step is None else tuple(n * step for n in range(sizes.get("t", 1))),
            metadata=facts,
        ),
    )


def _steps(multiscale: Mapping[str, Any], first: Mapping[str, Any], axes: str) -> dict[str, float]:
    """Distance of neighbours along each axis at full resolution."""
    steps = dict.fromkeys(axes, 1.0)
    for level in (first, multiscale):
        for transformation in level.get("coordinateTransformations", ()):
            if transformation.get("type") == "scale":
                for axis, value in zip(axes, transformation["scale"], strict=True):
                    steps[axis] *= value
    return steps


def _attributes(group: Any) -> dict[str, Any]:
    """The OME metadata of a group: under `ome` since 0.5, at the top before."""
    attributes = dict(group.attrs)
    return dict(attributes.get("ome", attributes))


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
