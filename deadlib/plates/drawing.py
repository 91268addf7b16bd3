"""A plate as its owner knows it: rows as letters, columns as numbers, one colour per well."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from numbers import Real
from typing import TYPE_CHECKING, Any

import matplotlib
import pandas as pd
from matplotlib.cm import ScalarMappable
from matplotlib.collections import PatchCollection
from matplotlib.colors import Colormap, LogNorm, Normalize, to_hex, to_rgb
from matplotlib.lines import Line2D
from matplotlib.patches import Patch, Rectangle

from deadlib.errors import InputError
from deadlib.pages.drawing import COLOURS, INK, Drawing, figure_of
from deadlib.plates.geometry import Place, PlateFormat, format_for, parse_well
from tfrecords_tools.container import row_letters

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

NO_VALUE = "#d9d9d9"
RIM = "#c4c9ce"
COLOUR_MAP = "viridis"
# What is drawn grey, so that treatments stand out.
CONTROLS = {"dmso": "#8a8a8a", "untreated": "#b9b9b9"}
# tab20, strong colours first, without its greys, which are those of controls
MANY = tuple(
    to_hex(matplotlib.colormaps["tab20"](place))
    for place in (*range(0, 20, 2), *range(1, 20, 2))
    if place not in (14, 15)
)
INCHES_PER_WELL = {8: 0.42, 16: 0.29, 32: 0.18}
LARGEST_WITH_NUMBERS = 16
NAMES_IN_A_COLUMN = 30


@dataclass(frozen=True)
class Categories:
    """Names and their colours, the same on every plate.

    More names than there are colours that all eyes can tell apart also get a number, which stands
    in the wells and in the legend.
    """

    names: tuple[str, ...]

    @property
    def numbered(self) -> bool:
        return len(self._coloured) > len(COLOURS)

    @property
    def _coloured(self) -> list[str]:
        return [name for name in self.names if name.lower() not in CONTROLS]

    def colour(self, name: str) -> str:
        if name.lower() in CONTROLS:
            return CONTROLS[name.lower()]
        place = self._coloured.index(name)
        if not self.numbered:
            return COLOURS[place]
        return MANY[place % len(MANY)]

    def sign(self, name: str) -> str:
        """What stands in the well."""
        return str(self.names.index(name) + 1) if self.numbered else ""


@dataclass(frozen=True)
class Amounts:
    """Numbers from `low` to `high`, the same on every plate; logarithmic from the smallest above 0.

    At the logarithmic scale 0 has the colour of a control.
    """

    low: float
    high: float
    logarithmic: bool = False
    colours: str = COLOUR_MAP

    @property
    def norm(self) -> Normalize:
        return (LogNorm if self.logarithmic else Normalize)(self.low, self.high)

    @property
    def colour_map(self) -> Colormap:
        return matplotlib.colormaps[self.colours]

    def colour(self, value: float) -> Any:
        if self.logarithmic and value <= 0:
            return CONTROLS["dmso"]
        return self.colour_map(self.norm(value))


Scale = Categories | Amounts


def scale_of(values: Iterable[Any], *, logarithmic: bool = False) -> Scale:
    """The scale of all values that are to be compared, on one plate or several.

    Numbers give Amounts, anything else Categories in the order in which it first stands, booleans
    included. None and NaN count for neither. Raises InputError where there is no value at all.
    """
    known = [value for value in values if not absent(value)]
    if not known:
        raise InputError("no well has a value; choose another column")
    if not all(isinstance(value, Real) and not isinstance(value, bool) for value in known):
        return Categories(tuple(dict.fromkeys(str(value) for value in known)))
    numbers = [float(value) for value in known]
    if logarithmic:
        numbers = [number for number in numbers if number > 0]
        if not numbers:
            raise InputError("a logarithmic scale needs a value above 0; none of the wells has one")
    low, high = min(numbers), max(numbers)
    if low == high:
        low, high = (low / 2, high * 2) if logarithmic else (low - 0.5, high + 0.5)
    return Amounts(low, high, logarithmic)


def absent(value: Any) -> bool:
    """Whether a well has no value: None, NaN or missing in pandas' sense."""
    return bool(pd.isna(value))


def plate_map(
    values: Mapping[str, Any],
    *,
    title: str,
    name: str,
    plate: PlateFormat | None = None,
    scale: Scale | None = None,
    legend: str = "",
    marked: Iterable[str] = (),
    mark: str = "",
) -> Drawing:
    """One plate as a picture.

    values: for each well (B03 or B3) a number or a name; None or NaN is a well without value,
    drawn grey, and a well that is not there an empty one, drawn as an outline. plate: rows and
    columns, by default the smallest of 96, 384 and 1536 wells that fits. scale: from `scale_of`
    over all plates that are compared, by default over this one. legend: what the colours are.
    marked: wells with a cross, of which the legend says `mark`. name: the file's without suffix.

    Raises InputError for a well that is none, that the plate does not have, or where no well has a
    value.
    """
    placed = {_place(well): value for well, value in values.items()}
    crossed = {_place(well) for well in marked}
    plate = plate or format_for(placed)
    outside = [place.well for place in (*placed, *crossed) if not plate.holds(place)]
    if outside:
        raise InputError(
            f"{title}: well {outside[0]} is outside a plate of {plate.wells} wells "
            f"({plate.rows} x {plate.columns}); choose a larger format"
        )
    scale = scale or scale_of(values.values())
    inches = next(size for rows, size in INCHES_PER_WELL.items() if plate.rows <= rows)
    width, height = plate.columns * inches, plate.rows * inches
    beside = 1.0
    if isinstance(scale, Categories):
        beside = (0.6 + 0.075 * _longest(scale.names, mark)) * _legend_columns(scale)
    with figure_of((width + 0.5 + beside, max(height + 0.9, _legend_height(scale)))) as drawn:
        figure, finish = drawn
        axes = figure.add_subplot()
        _draw_plate(axes, plate)
        _draw_wells(axes, placed, scale, plate)
        axes.plot(
            [place.column for place in crossed],
            [place.row for place in crossed],
            "x",
            color=INK,
            markersize=28 * inches,
            markeredgewidth=1.1,
        )
        axes.set_title(title, pad=16)
        _explain(figure, axes, scale, legend, placed, plate, mark if crossed else "")
        return finish(name, _in_words(title, legend, placed, scale, plate, crossed, mark))


def _place(well: str) -> Place:
    place = parse_well(well)
    if place is None:
        raise InputError(f"{well!r} is no well; expected a name such as B03")
    return place


def _draw_plate(axes: Axes, plate: PlateFormat) -> None:
    wells = [
        Rectangle((column - 0.44, row - 0.44), 0.88, 0.88)
        for row in range(1, plate.rows + 1)
        for column in range(1, plate.columns + 1)
    ]
    axes.add_collection(PatchCollection(wells, facecolor="white", edgecolor=RIM, linewidth=0.6))
    axes.set_xlim(0.3, plate.columns + 0.7)
    axes.set_ylim(plate.rows + 0.7, 0.3)
    axes.set_aspect("equal")
    size = 8 if plate.rows <= LARGEST_WITH_NUMBERS else 6
    axes.set_xticks(range(1, plate.columns + 1))
    axes.set_yticks(range(1, plate.rows + 1), [row_letters(row) for row in range(plate.rows)])
    axes.tick_params(length=0, labelsize=size, top=False, labeltop=True, labelbottom=False)
    for spine in axes.spines.values():
        spine.set_visible(False)


def _draw_wells(axes: Axes, placed: Mapping[Place, Any], scale: Scale, plate: PlateFormat) -> None:
    patches = [Rectangle((p.column - 0.44, p.row - 0.44), 0.88, 0.88) for p in placed]
    colours = [_colour(value, scale) for value in placed.values()]
    axes.add_collection(PatchCollection(patches, facecolor=colours, edgecolor=RIM, linewidth=0.3))
    if not (isinstance(scale, Categories) and scale.numbered):
        return
    size = 7 if plate.rows <= LARGEST_WITH_NUMBERS else 4
    for place, value in placed.items():
        if not absent(value):
            sign = scale.sign(str(value))
            ink = INK if _is_light(scale.colour(str(value))) else "white"
            at = (place.column, place.row)
            axes.text(*at, sign, ha="center", va="center", fontsize=size, color=ink)


def _is_light(colour: str) -> bool:
    red, green, blue = to_rgb(colour)
    return 0.299 * red + 0.587 * green + 0.114 * blue > 0.5


def _colour(value: Any, scale: Scale) -> Any:
    if absent(value):
        return NO_VALUE
    return scale.colour(str(value)) if isinstance(scale, Categories) else scale.colour(float(value))


def _explain(
    figure: Figure,
    axes: Axes,
    scale: Scale,
    legend: str,
    placed: Mapping[Place, Any],
    plate: PlateFormat,
    mark: str,
) -> None:
    """The legend beside the plate: colours, and what is not coloured."""
    entries: list[Any] = []
    if isinstance(scale, Categories):
        for name in scale.names:
            shown = f"{scale.sign(name)}  {name}" if scale.numbered else name
            entries.append(Patch(facecolor=scale.colour(name), label=shown))
    else:
        mappable = ScalarMappable(scale.norm, scale.colour_map)
        figure.colorbar(mappable, ax=axes, shrink=0.7, label=legend, aspect=24, pad=0.02)
        if scale.logarithmic and any(not absent(v) and v <= 0 for v in placed.values()):
            entries.append(Patch(facecolor=CONTROLS["dmso"], label="0"))
    if any(absent(value) for value in placed.values()):
        entries.append(Patch(facecolor=NO_VALUE, label="no value"))
    if len(placed) < plate.wells:
        entries.append(Patch(facecolor="white", edgecolor=RIM, label="empty"))
    if mark:
        entries.append(
            Line2D([], [], label=mark, color=INK, marker="x", linestyle="none", markersize=6)
        )
    if not entries:
        return
    if isinstance(scale, Categories):
        figure.legend(
            handles=entries,
            loc="outside right upper",
            title=legend or None,
            alignment="left",
            ncols=_legend_columns(scale),
        )
    else:
        figure.legend(handles=entries, loc="outside lower left", ncols=len(entries))


def _longest(names: Sequence[str], mark: str) -> int:
    return max(len(name) for name in (*names, mark, "no value"))


def _legend_columns(scale: Categories) -> int:
    return math.ceil(len(scale.names) / NAMES_IN_A_COLUMN)


def _legend_height(scale: Scale) -> float:
    """Inches of the legend beside the plate."""
    if not isinstance(scale, Categories):
        return 0.0
    return 1.2 + 0.19 * min(len(scale.names), NAMES_IN_A_COLUMN)


def _in_words(
    title: str,
    legend: str,
    placed: Mapping[Place, Any],
    scale: Scale,
    plate: PlateFormat,
    crossed: set[Place],
    mark: str,
) -> str:
    known = [value for value in placed.values() if not absent(value)]
    if isinstance(scale, Categories):
        counted = {name: sum(str(value) == name for value in known) for name in scale.names}
        said = ", ".join(f"{name}: {count}" for name, count in counted.items() if count)
    elif known:
        said = f"{min(known):.4g} to {max(known):.4g}"
    else:
        said = "no value"
    what = f"{legend}: " if legend else ""
    wells = f"Plate of {plate.wells} wells, {len(placed)} in use"
    marks = f"; {mark}: {len(crossed)}" if crossed else ""
    return f"{title}. {wells}. {what}{said}{marks}"
