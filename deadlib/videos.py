"""Videos as MP4 or GIF, written picture by picture: only one is in memory."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import GifImagePlugin, Image

MP4, GIF = "mp4", "gif"

Picture = NDArray[np.uint8]
"""(h, w, 3)."""


class Video(Protocol):
    """A video that is being written; all pictures have one size."""

    def add(self, picture: Picture, frames: int = 1) -> None:
        """Show a picture for so many frames."""

    def close(self) -> None: ...


def can_write_mp4() -> bool:
    """Whether the extra `movies` is installed."""
    return all(find_spec(name) for name in ("imageio", "imageio_ffmpeg"))


def open_video(path: Path, kind: str, frames_per_second: int) -> Video:
    """A video to be written to `path`; kind: `mp4`, which needs `can_write_mp4`, or `gif`."""
    return (_Mp4 if kind == MP4 else _Gif)(path, frames_per_second)


class _Mp4:
    """H.264, which every browser shows."""

    def __init__(self, path: Path, frames_per_second: int) -> None:
        import imageio.v2 as imageio

        self._writer: Any = imageio.get_writer(
            path,
            format="FFMPEG",
            mode="I",
            fps=frames_per_second,
            codec="libx264",
            quality=8,
            macro_block_size=2,
            ffmpeg_log_level="error",
        )

    def add(self, picture: Picture, frames: int = 1) -> None:
        # H.264 halves the sides of its colour planes, so they must be even.
        height, width = (side // 2 * 2 for side in picture.shape[:2])
        for _ in range(frames):
            self._writer.append_data(picture[:height, :width])

    def close(self) -> None:
        self._writer.close()


class _Gif:
    """Written block by block: Pillow's own way keeps every picture until the end."""

    def __init__(self, path: Path, frames_per_second: int) -> None:
        self._file = path.open("wb")
        self._frame_ms = 1000 // frames_per_second
        self._empty = True

    def add(self, picture: Picture, frames: int = 1) -> None:
        image = Image.fromarray(picture).quantize(256)
        if self._empty:
            header, _ = GifImagePlugin.getheader(image)
            self._file.writelines(header)
            self._file.write(b"\x21\xff\x0bNETSCAPE2.0\x03\x01\x00\x00\x00")
            self._empty = False
        self._file.writelines(
            GifImagePlugin.getdata(
                image, duration=frames * self._frame_ms, include_color_table=True
            )
        )

    def close(self) -> None:
        self._file.write(b";")
        self._file.close()
