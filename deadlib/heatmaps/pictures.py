"""Heat maps for the eye: a red overlay on the frame, as pictures and as a video."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from deadlib.errors import InputError
from deadlib.heatmaps.maps import FrameMap
from deadlib.heatmaps.regions import Frame
from deadlib.videos import GIF, MP4, Picture, can_write_mp4
from deadlib.windows import upsampled

NO_VIDEO = "none"
LONGEST_PX = {MP4: 1920, GIF: 720, NO_VIDEO: 1920}
STRENGTH = 0.6
"""How much of a pixel's colour is red where the probability is 1."""
FRAMES_PER_SECOND = 6
_RED = np.array([230, 30, 20], np.float32)


def default_video() -> str:
    """MP4 where it can be written, GIF otherwise."""
    return MP4 if can_write_mp4() else GIF


def check_video(kind: str) -> None:
    """Raise InputError where a video needs what is not installed."""
    if kind == MP4 and not can_write_mp4():
        raise InputError(
            "--video mp4 needs an extra: pip install 'deadlib[movies]'; or write --video gif"
        )


def grey_picture(frame: Frame, low: float, high: float, longest_px: int) -> Picture:
    """(h, w) the first channel from `low` (0) to `high` (255); every n-th pixel of a large one."""
    step = reduction(frame.shape[:2], longest_px)
    height, width = (side // step for side in frame.shape[:2])
    # One strip at a time: what lies between the pixels shown need not stay in memory.
    strips = [
        frame[top * step + step // 2 : top * step + step // 2 + 1, 0 : frame.shape[1]][0, :, 0]
        for top in range(height)
    ]
    values = np.stack([strip[step // 2 :: step][:width] for strip in strips]).astype(np.float32)
    span = max(high - low, 1e-9)
    return np.asarray(((values - low) / span * 255).clip(0, 255), np.uint8)


def reduction(shape: tuple[int, ...], longest_px: int) -> int:
    """Pixels of the frame per pixel of its picture."""
    return max(1, -(-max(shape) // longest_px))


def overlay(grey: Picture, found: FrameMap, target: int, step: int) -> Picture:
    """(h, w, 3): the frame in grey, the redder the more probable the target is there."""
    height, width = grey.shape
    region = (0, 0, height, width)
    probability = upsampled(found.values[..., target], found.grid, region, found.scale * step)
    red = (STRENGTH * probability)[..., None]
    return np.rint(grey[..., None] * (1 - red) + _RED * red).astype(np.uint8)


def stamped(picture: Picture, text: str) -> Picture:
    """The picture with words in its lower left corner."""
    image = Image.fromarray(picture)
    draw = ImageDraw.Draw(image)
    size = max(10, min(image.size) // 18)
    font = ImageFont.load_default(size)
    place = (size // 2, image.height - size - size // 2)
    draw.text(
        place, text, fill="white", font=font, stroke_width=max(1, size // 12), stroke_fill="black"
    )
    return np.asarray(image)


def missing_picture(shape: tuple[int, ...], text: str) -> Picture:
    """What stands in the video for a frame that is not there: dark grey, and words."""
    return stamped(np.full((*shape[:2], 3), 60, np.uint8), text)


def save_still(path: Path, plain: Picture, overlaid: Picture) -> None:
    """The frame, and beside it the overlay, as a JPEG."""
    both = np.concatenate([np.repeat(plain[..., None], 3, axis=2), overlaid], axis=1)
    image = Image.fromarray(both)
    image.thumbnail((1200, 1200))
    image.save(path, "JPEG", quality=88)
