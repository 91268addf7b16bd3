"""What is added to a video is what it shows, for as long as was asked."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from deadlib.videos import open_video

COLOURS = [(200, 30, 20), (30, 200, 20), (20, 30, 200)]


def write(path: Path, kind: str) -> None:
    """Sides are odd, and the last picture stays for three frames."""
    video = open_video(path, kind, frames_per_second=5)
    for colour, frames in zip(COLOURS, (1, 1, 3), strict=True):
        video.add(np.full((61, 81, 3), colour, np.uint8), frames)
    video.close()


def test_a_gif_has_every_picture(tmp_path: Path) -> None:
    write(tmp_path / "video.gif", "gif")
    with Image.open(tmp_path / "video.gif") as image:
        assert image.info["loop"] == 0
        for number, (colour, seconds) in enumerate(zip(COLOURS, (0.2, 0.2, 0.6), strict=True)):
            image.seek(number)
            assert np.abs(np.asarray(image.convert("RGB"))[20, 20] - np.array(colour)).max() < 25
            assert image.info["duration"] == 1000 * seconds
        assert image.n_frames == 3


def test_an_mp4_has_every_picture(tmp_path: Path) -> None:
    imageio = pytest.importorskip("imageio.v2")
    pytest.importorskip("imageio_ffmpeg")
    write(tmp_path / "video.mp4", "mp4")
    found = [frame[20, 20].astype(int) for frame in imageio.get_reader(tmp_path / "video.mp4")]
    assert np.abs(np.stack(found) - [*COLOURS, COLOURS[2], COLOURS[2]]).max() < 25
