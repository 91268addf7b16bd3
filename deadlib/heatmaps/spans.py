"""Where a window's feature maps stand in those of a larger region, layer by layer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Reach:
    """What position j of a layer's output reads along an axis of its input:
    stride x j - before + dilation x t, for t from 0 to size - 1."""

    size: int = 1
    stride: int = 1
    dilation: int = 1
    before: int = 0


@dataclass(frozen=True)
class Span:
    """An axis of a feature map over a region: its length, and where the first window begins."""

    lead: int
    length: int


@dataclass(frozen=True)
class Cut:
    """The part of a layer's input, from `start` to `stop`, that keeps windows in step."""

    start: int
    stop: int


def cut(spans: Sequence[Span], reach: Reach) -> tuple[list[Cut], Span]:
    """Align the inputs of a layer without padding, and say what it gives.

    A window's position j stands at lead + j in every map. So all inputs are cut to begin equally
    far before the window, at a position from which a layer with a stride meets the window's own.
    """
    common = min(span.lead for span in spans)
    skipped = (common - reach.before) % reach.stride
    starts = [span.lead - common + skipped for span in spans]
    length = min(span.length - start for span, start in zip(spans, starts, strict=True))
    covered = reach.dilation * (reach.size - 1) + 1
    given = Span(
        (common - reach.before - skipped) // reach.stride, (length - covered) // reach.stride + 1
    )
    return [Cut(start, start + length) for start in starts], given
