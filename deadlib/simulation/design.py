"""The design of an experiment: seeds, wells, how plates differ, and the shortcuts built into them.

A shortcut follows the plate (in transmitted light: the experiment). The last plate is honest: it
has the neutral value and all wells. Every other plate favours one class, in turn, has the value
that belongs to that class, and lacks a share (`imbalance`) of the wells of every other class. So
the shortcut tells the class from wells of the same plates, but not on the last plate, nor among
the wells of any one plate.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum

import numpy as np

from deadlib.simulation.optics import Illumination
from deadlib.simulation.parameters import Parameters


class Stream(IntEnum):
    """Independent streams of random numbers under one seed."""

    LAYOUT = 1
    PLATE = 2
    WELL = 3
    FIELD = 4
    FRAME = 5
    LIGHT = 6
    ANNOTATORS = 7
    EXPERIMENT = 8


def stream(seed: int, kind: Stream, *key: int) -> np.random.Generator:
    """The generator of one thing: the same whichever worker asks, in whatever order."""
    return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(int(kind), *key)))


@dataclass(frozen=True)
class Conditions:
    """How the images of one plate are taken."""

    illumination: Illumination
    background: float
    defocus_um: float
    relief: float
    halo_um: float


def favoured_class(plate: int, plates: int, classes: Sequence[str]) -> str | None:
    """The class that a plate (0-based) favours under a shortcut; None for the honest last one."""
    return None if plate == plates - 1 else classes[plate % len(classes)]


def shortcut_level(plate: int, plates: int, classes: Sequence[str]) -> float:
    """Where a plate stands between -1 and 1; the honest last plate stands at 0."""
    if plate == plates - 1:
        return 0.0
    favoured = min(len(classes), plates - 1)
    return float(np.linspace(1.0, -1.0, favoured)[plate % len(classes)])


def kept_wells(
    labels: Sequence[str],
    plate: int,
    plates: int,
    classes: Sequence[str],
    parameters: Parameters,
    seed: int,
) -> list[int]:
    """Indices of the wells of a plate that are imaged: all of them without a shortcut."""
    favoured = favoured_class(plate, plates, classes)
    if not parameters.shortcut or favoured is None:
        return list(range(len(labels)))
    rng = stream(seed, Stream.LAYOUT, 1, plate)
    out: set[int] = set()
    for name in classes:
        members = [index for index, label in enumerate(labels) if label == name]
        if name != favoured:
            order = rng.permutation(members)
            out.update(int(index) for index in order[: round(parameters.imbalance * len(members))])
    return [index for index in range(len(labels)) if index not in out]


def plate_conditions(
    parameters: Parameters, seed: int, plate: int, plates: int, classes: Sequence[str]
) -> Conditions:
    """Lamp, background, shading and optics of one plate, shortcut included."""
    rng = stream(seed, Stream.PLATE, plate)
    spread = parameters.plate_effect
    level = shortcut_level(plate, plates, classes)
    shortcut = {kind: level * strength for kind, strength in parameters.shortcut.items()}
    gain, background = np.exp(spread * rng.standard_normal(2))
    centre = rng.normal(0, 2 * spread, 2)
    slope = rng.normal(0, 0.3 * spread, 2)
    relief, halo = rng.random(2)
    return Conditions(
        illumination=Illumination(
            gain=float(gain * max(1 + shortcut.get("brightness", 0.0), 0.1)),
            falloff=0.05,
            centre=(float(centre[0]), float(centre[1])),
            slope=(float(slope[0] + shortcut.get("shading", 0.0)), float(slope[1])),
        ),
        background=float(background),
        defocus_um=abs(parameters.shortcut.get("defocus", 0.0)) + shortcut.get("defocus", 0.0),
        relief=float(min(5 * spread * relief, 0.8)),
        halo_um=float(4.0 * np.exp(3 * spread * (halo - 0.5))),
    )
