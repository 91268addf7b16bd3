"""What can be set in a simulation: one frozen dataclass per modality, checked when it is made.

The command line makes its options from these fields; nothing heavy is imported here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from deadlib.errors import DeadlibError

SHORTCUTS = ("brightness", "defocus", "shading")
CELL_LINES = ("PC3", "MCF7", "T47D", "U2", "H9", "FN", "DCMWT")
CHANNELS = ("DNA", "ER", "AGP", "Mito")
LAYOUTS = ("plain", "published")
IMAGING = ("non-confocal", "confocal")
MOST_PUBLISHED_PLATES = 9
MOST_WELLS = 60


class SimulationError(DeadlibError):
    """A simulation that cannot be made as asked."""


def _option(
    default: Any,
    help: str,
    low: float | None = None,
    high: float | None = None,
    choices: tuple[str, ...] = (),
) -> Any:
    metadata = {"help": help, "low": low, "high": high, "choices": choices}
    if isinstance(default, dict):
        return field(default_factory=lambda: dict(default), metadata=metadata)
    return field(default=default, metadata=metadata)


@dataclass(frozen=True, kw_only=True)
class Parameters:
    """What all modalities share. Raises SimulationError on a value out of range."""

    effect: float = _option(
        1.0, "size of the biological effect; 0: treated cells behave like untreated ones", 0, 5
    )
    density: float = _option(600.0, "cells per square millimetre", 0, 20_000)
    noise: float = _option(1.0, "camera noise; 1: a good camera, 0: none", 0, 20)
    defocus: float = _option(
        1.0, "standard deviation of the focus error from image to image, in micrometres", 0, 30
    )
    plate_effect: float = _option(
        0.1, "how plates or experiments differ in lamp, background and shading (deviation)", 0, 1
    )
    shortcut: Mapping[str, float] = _option(
        {},
        "KIND=STRENGTH: make KIND (brightness, defocus or shading) follow the plate or "
        "experiment, and spread the classes unevenly over them; may be repeated",
    )
    imbalance: float = _option(
        0.8, "only with a shortcut: share of the other classes' wells left out of a plate", 0, 1
    )
    width: int = _option(256, "image width in pixels", 32, 4096)
    height: int = _option(256, "image height in pixels", 32, 4096)
    pixel_um: float = _option(0.65, "micrometres per pixel", 0.1, 5)

    def __post_init__(self) -> None:
        for item in fields(self):
            _check_range(item.name, getattr(self, item.name), item.metadata)
            _check_choice(item.name, getattr(self, item.name), item.metadata)
        for kind, strength in self.shortcut.items():
            if kind not in SHORTCUTS:
                raise SimulationError(
                    f"shortcut {kind!r} is unknown; known: {', '.join(SHORTCUTS)}"
                )
            _check_range(f"shortcut {kind}", strength, {"low": -20, "high": 20})

    def _require_plates_for_shortcut(self, name: str, plates: int) -> None:
        if self.shortcut and plates < 3:
            raise SimulationError(
                f"a shortcut needs {name} of at least 3, found {plates}: two that it follows and "
                "an honest last one that shows it up"
            )


@dataclass(frozen=True, kw_only=True)
class PhaseParameters(Parameters):
    """A time-lapse of phase-contrast images after a dose of light."""

    positions: int = _option(48, "stage positions", 1, 10_000)
    positions_per_well: int = _option(2, "positions in a well; all share its light dose", 1, 100)
    plates: int = _option(3, "plates that the wells are spread over", 1, 100)
    frames: int = _option(4, "frames of each position", 1, 2000)
    interval_hours: float = _option(1.0, "hours between frames", 0.01, 48)
    start_hours: float = _option(1.0, "hours between the light and the first frame", 0, 48)
    doses: tuple[float, ...] = _option(
        (0.0, 100.0, 200.0), "light doses in seconds; 0 is given to half of the wells", 0, 10_000
    )
    sick_dose: float = _option(
        100.0,
        "positions with this dose or more are labelled sick, with 0 healthy, between: no label",
        0.001,
        10_000,
    )
    lit_share: tuple[float, ...] = _option(
        (1.0,),
        "share of the field that the light falls on; two numbers: lowest and highest, drawn for "
        "each position",
        0,
        1,
    )
    annotators: int = _option(
        0, "simulated annotators of crops, who write annotations.csv; 0: none", 0, 100
    )
    responses: int = _option(
        400, "responses of each annotator at most; fewer where items run out", 1, 1_000_000
    )
    crop_px: int = _option(256, "side of an annotated crop in pixels, at most the image's", 8, 4096)
    sequence_frames: int = _option(10, "frames of an annotated crop", 1, 2000)

    def __post_init__(self) -> None:
        super().__post_init__()
        if len(self.lit_share) not in (1, 2):
            raise SimulationError(
                f"lit_share: found {len(self.lit_share)} numbers, expected one, or the lowest and "
                "the highest"
            )
        if self.annotators and self.sequence_frames > self.frames:
            raise SimulationError(
                f"sequence_frames: found {self.sequence_frames}, a position has {self.frames} "
                "frames; lower sequence_frames or raise frames"
            )
        if not self.doses:
            raise SimulationError("doses: found none, expected at least one, for example 0,200")
        self._require_plates_for_shortcut("plates", self.plates)
        wells = -(-self.positions // self.positions_per_well)
        most = -(-wells // self.plates)
        if most > MOST_WELLS:
            raise SimulationError(
                f"{most} wells on a plate, a plate has {MOST_WELLS}; raise plates or "
                "positions_per_well"
            )


@dataclass(frozen=True, kw_only=True)
class TransmittedParameters(Parameters):
    """Transmitted-light RGB images of cell lines under camptothecin or its vehicle."""

    density: float = _option(1400.0, "cells per square millimetre", 0, 20_000)
    width: int = _option(320, "image width in pixels (the published images: 1280)", 32, 4096)
    height: int = _option(240, "image height in pixels (the published images: 960)", 32, 4096)
    pixel_um: float = _option(
        0.9, "micrometres per pixel (the published images: about 0.45)", 0.1, 5
    )
    lines: tuple[str, ...] = _option(("U2", "MCF7"), f"cell lines, of {', '.join(CELL_LINES)}")
    experiments: int = _option(4, "independent experiments", 1, 100)
    hours: tuple[int, ...] = _option((1,), "hours after treatment", 0, 96)
    wells: int = _option(2, "wells of each line, treatment and experiment", 1, 9)
    fields: int = _option(3, "images of each well and hour", 1, 999)
    overlap: float = _option(
        0.0,
        "share of its width that each field of a well has in common with the one before it; "
        "0: every field shows cells of its own",
        0,
        0.95,
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        self._require_plates_for_shortcut("experiments", self.experiments)
        _check_distinct("lines", self.lines)
        _check_distinct("hours", self.hours)
        for name in self.lines:
            if name not in CELL_LINES:
                raise SimulationError(f"lines: {name!r} is unknown; known: {', '.join(CELL_LINES)}")


@dataclass(frozen=True, kw_only=True)
class PaintingParameters(Parameters):
    """Cell painting: four fluorescence channels, inducers of apoptosis and ferroptosis."""

    density: float = _option(1300.0, "cells per square millimetre in DMSO", 0, 20_000)
    pixel_um: float = _option(0.6, "micrometres per pixel", 0.1, 5)
    plates: int = _option(3, "plates of each experiment, all with the same wells", 1, 100)
    experiments: int = _option(1, "experiments, numbered so that the last is 8 (published)", 1, 8)
    batch_effect: float = _option(
        0.0,
        "how plates and experiments differ in each channel on its own, in stain, background, "
        "focus, shading and bleed-through, and in how many cells were sown (deviation)",
        0,
        2,
    )
    imaging: tuple[str, ...] = _option(
        ("non-confocal",),
        f"how every plate is imaged, of {', '.join(IMAGING)}; both show the same cells",
        choices=IMAGING,
    )
    layout: str = _option(
        "plain",
        "folders and names: plain, or as those of the published record (Zenodo 8375591)",
        choices=LAYOUTS,
    )
    inducers: int = _option(2, "inducers of apoptosis, and as many of ferroptosis", 1, 7)
    replicates: int = _option(1, "wells of each inducer and concentration on a plate", 1, 3)
    controls: int = _option(3, "DMSO wells in each row", 1, 5)
    untreated: int = _option(0, "untreated wells in each row", 0, 4)
    fields: int = _option(2, "fields of each well", 1, 99)

    def __post_init__(self) -> None:
        super().__post_init__()
        _check_distinct("imaging", self.imaging)
        self._require_plates_for_shortcut("plates", self.all_plates)
        if self.layout == "published" and self.all_plates > MOST_PUBLISHED_PLATES:
            raise SimulationError(
                f"{self.all_plates} plates, the published names (plate01) have room for "
                f"{MOST_PUBLISHED_PLATES}; lower plates or experiments, or give layout=plain"
            )

    @property
    def all_plates(self) -> int:
        """The plates of all experiments; they are numbered through, so that a number is a plate."""
        return self.plates * self.experiments


MODALITIES: dict[str, type[Parameters]] = {
    "phase": PhaseParameters,
    "transmitted": TransmittedParameters,
    "painting": PaintingParameters,
}


def make_parameters(modality: str, values: Mapping[str, Any]) -> Parameters:
    """The parameters of a modality from names and values. Raises SimulationError."""
    if modality not in MODALITIES:
        raise SimulationError(f"modality {modality!r} is unknown; known: {', '.join(MODALITIES)}")
    kind = MODALITIES[modality]
    known = [item.name for item in fields(kind)]
    for name in values:
        if name not in known:
            raise SimulationError(
                f"{modality}: parameter {name!r} is unknown; known: {', '.join(known)}"
            )
    return kind(**values)


def _check_range(name: str, value: Any, limits: Mapping[str, Any]) -> None:
    low, high = limits.get("low"), limits.get("high")
    if low is None or high is None:
        return
    for number in value if isinstance(value, tuple) else (value,):
        if not isinstance(number, (int, float)) or not low <= number <= high:
            raise SimulationError(
                f"{name}: found {number!r}, expected a number from {low} to {high}"
            )


def _check_choice(name: str, value: Any, limits: Mapping[str, Any]) -> None:
    choices = limits.get("choices") or ()
    for chosen in value if isinstance(value, tuple) else (value,):
        if choices and chosen not in choices:
            raise SimulationError(f"{name}: {chosen!r} is unknown; known: {', '.join(choices)}")


def _check_distinct(name: str, values: tuple[Any, ...]) -> None:
    if not values or len(set(values)) != len(values):
        raise SimulationError(f"{name}: found {values!r}, expected distinct values, at least one")
