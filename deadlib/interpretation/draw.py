"""An answer as a picture: the image, the same with heat, and what is said of it."""

from __future__ import annotations

from collections.abc import Sequence

from deadlib.interpretation import pictures
from deadlib.interpretation.answers import Answer, Explained
from deadlib.interpretation.heat import enlarge, seen_window
from deadlib.recipe import InputSection


def draw(answer: Answer, channels: Sequence[str], section: InputSection) -> pictures.Picture:
    """The picture of an answer; its heat is scaled to its own strongest place."""
    line, heat = answer.line, answer.heat
    size = pictures.shown_size(heat.shape)
    shown = pictures.enlarged(pictures.as_colours(answer.image, channels), size)
    larger = enlarge(heat, size)
    overlay = pictures.with_heat(shown, larger / max(float(larger.max()), 1e-12))
    if section.fit == "crop":
        scale = size[0] / heat.shape[0]
        window = [round(edge * scale) for edge in seen_window(heat.shape, section)]
        overlay = pictures.with_window(overlay, (window[0], window[1], window[2], window[3]))
    return pictures.Picture(
        image=shown,
        overlay=overlay,
        name=line.example_id,
        verdict=_verdict(line),
        right=None if line.label is None else line.label == line.predicted,
        heading=f"label: {line.label}" if line.label is not None else "without a label",
    )


def _verdict(line: Explained) -> str:
    said = f"predicted {line.predicted} {line.probability:.2f}"
    if line.label is not None and line.label != line.predicted:
        said += f", label {line.label}"
    if line.target != line.predicted:
        said += f"; heat for {line.target} {line.target_probability:.2f}"
    return said if line.strongest > 0 else f"{said}; nothing here speaks for {line.target}"
