"""How images were taken, against how those were that a run learnt from."""

from __future__ import annotations

from dataclasses import dataclass

from deadlib.errors import InputError
from deadlib.runs import Run
from tfrecords_tools.scale import same_scale


@dataclass(frozen=True)
class Acquisition:
    """What is said of new images where their files do not say it, and what to make of it."""

    pixel_size_um: float | None = None
    """Micrometres per pixel; None: what the files say."""
    modality: str | None = None
    """One of `tfrecords_tools.settings.MODALITIES`; None: not told."""
    rescale: bool = False
    """Resample images to the pixel size that the run was trained at."""


AS_TOLD_BY_FILES = Acquisition()


def target_pixel_size(run: Run) -> float:
    """The pixel size that images are resampled to for a run. Raises InputError where unknown."""
    size: float | None = run.dataset.get("pixel_size_um")
    if size is None:
        raise InputError(
            f"--rescale: the run {run.folder} does not know the pixel size of its training images; "
            "train on a dataset that was converted with --pixel-size-um"
        )
    return size


def mismatches(run: Run, name: str, pixel_size_um: float | None, modality: str | None) -> list[str]:
    """A sentence for each way in which images were taken otherwise than those of the training.

    name: what the images are called in it. What is not known on either side is no mismatch.
    """
    found = []
    trained_um: float | None = run.dataset.get("pixel_size_um")
    if trained_um and pixel_size_um and not same_scale(pixel_size_um, trained_um):
        found.append(
            f"{name}: {pixel_size_um:g} µm per pixel, but the run was trained at {trained_um:g}: "
            f"cells look {trained_um / pixel_size_um:.2g} times as large as in training; resample "
            "them with --rescale"
        )
    trained: str | None = run.dataset.get("modality")
    if trained and modality and trained != modality:
        found.append(
            f"{name}: {modality} images, but the run was trained on {trained}: its answers mean "
            f"nothing until they are checked on labelled {modality} images"
        )
    return found
