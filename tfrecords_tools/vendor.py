"""Files of microscope makers: Nikon ND2, Zeiss CZI and Leica LIF, read by plugins of bioio."""

from __future__ import annotations

import importlib
import logging
import warnings
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np

from tfrecords_tools.container import Scene
from tfrecords_tools.errors import ImageError, SourceError

_PLUGINS = {".nd2": "bioio_nd2", ".czi": "bioio_czi", ".lif": "bioio_lif"}

# What these say of metadata that nothing here needs would reach the terminal.
for _name in ("bioio", "bioio_base", *_PLUGINS.values()):
    logging.getLogger(_name).addHandler(logging.NullHandler())


class VendorContainer:
    """A file that a plugin of bioio reads; planes are read one by one."""

    companions: tuple[str, ...] = ()

    def __init__(self, path: Path) -> None:
        self._path = path
        plugin = _PLUGINS[path.suffix.lower()]
        try:
            bioio = importlib.import_module("bioio")
            reader = importlib.import_module(plugin).Reader
        except ImportError:
            package = plugin.replace("_", "-")
            raise SourceError(
                f"{path}: {path.suffix} files need an extra: pip install 'deadlib[formats]' "
                f"(or pip install bioio {package})"
            ) from None
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                self._image = bioio.BioImage(path, reader=reader)
                names = [str(name) for name in self._image.scenes]
                self.scenes = tuple(self._scene(number, name) for number, name in enumerate(names))
        except Exception as error:  # plugins raise anything on damaged files
            raise _unreadable(path, error) from None

    def plane(self, scene: int, time: int, channel: int, z: int) -> np.ndarray:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                self._image.set_scene(scene)
                samples = getattr(self._image.dims, "S", 1)
                channel, sample = divmod(channel, samples)
                chosen: dict[str, int] = {"T": time, "C": channel, "Z": z}
                if samples > 1:
                    chosen["S"] = sample
                lazy = self._image.get_image_dask_data("YX", **chosen)
                return np.asarray(lazy.compute(scheduler="synchronous"))
        except Exception as error:  # as above
            raise _unreadable(self._path, error) from None

    def close(self) -> None:
        self._image = None

    def _scene(self, number: int, name: str) -> Scene:
        image: Any = self._image
        image.set_scene(number)
        dims = image.dims
        channels = dims.C * getattr(dims, "S", 1)
        names = tuple(str(channel) for channel in image.channel_names or ())
        size = image.physical_pixel_sizes.X
        step = image.time_interval
        hours: tuple[float, ...] = ()
        if isinstance(step, timedelta) and step:
            hours = tuple(time * step.total_seconds() / 3600 for time in range(dims.T))
        return Scene(
            name=name,
            frames=dims.T,
            planes=dims.Z,
            channels=channels,
            channel_names=names if len(names) == channels else (),
            hours=hours,
            metadata={"pixel_size_um": f"{size:.6g}"} if size else {},
        )


def _unreadable(path: Path, error: Exception) -> ImageError:
    reason = (str(error).strip() or type(error).__name__).splitlines()[0]
    return ImageError(f"{path}: cannot be read ({reason}); export it again, or as OME-TIFF")
