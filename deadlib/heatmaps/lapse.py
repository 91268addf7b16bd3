"""Every frame of a time-lapse mapped, position by position, and written down as it comes.

    OUT/
      report.html curve.csv curve.png onset.csv ...      of all positions, written last
      positions/<name>/                                  of one, which appears when it is complete
        probabilities.ome.tif  overlay.mp4  curve.csv  still_000.jpg ...  position.json

A position that is complete and was made with the same settings from the same files is not mapped
again.
"""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from deadlib._version import __version__
from deadlib.acquisition import AS_TOLD_BY_FILES, Acquisition, mismatches, target_pixel_size
from deadlib.errors import InputError
from deadlib.heatmaps import pictures
from deadlib.heatmaps.curve import Blocks, block_areas, limits, resampled_areas
from deadlib.heatmaps.frames import open_frame
from deadlib.heatmaps.maps import FULL, OME_TIFF, SUFFIX, FrameMap, Layout, check_format, write_maps
from deadlib.heatmaps.movie import Moment, Movie, Position, folder_name
from deadlib.heatmaps.onset import Onset, Rule, onset
from deadlib.heatmaps.regions import Frame
from deadlib.heatmaps.survey import Look, Survey, check_bad, survey
from deadlib.outputs import written_whole
from deadlib.runs import Run
from deadlib.videos import open_video
from deadlib.windows import Grid
from tfrecords_tools.locator import Locator
from tfrecords_tools.resample import resampled, resampled_shape
from tfrecords_tools.scale import same_scale

if TYPE_CHECKING:
    from deadlib.heatmaps.difference import Difference
    from deadlib.heatmaps.frame import FrameMapper

POSITIONS = "positions"
RECORD = "position.json"
CURVE = "curve.csv"
MAPS = "probabilities"
VIDEO = "overlay"
_STILLS = 4
_COMPARED = 500
"""Windows of the whole movie at which the dense mode is compared with the exact one."""
_FEWEST_COMPARED = 16
_FAR_APART = 0.05
"""A mean difference of the two modes above this is told."""
_WHOLE = 0.95
_SHOWN = 5

Mode = Literal["dense", "exact"]
EXACT: Mode = "exact"

Progress = Callable[[str, int, int], None]
Warn = Callable[[str], None]


@dataclass(frozen=True)
class MapSettings:
    """How a movie is mapped, and what is written.

    target: the class that the maps, curves and onsets are of; by default `sick`, or the second.
    max_memory: bytes that the engine may use. threshold: a pixel counts as the target above it.
    skip_bad: leave out frames that cannot be used, instead of refusing the movie.
    """

    mode: Mode = "dense"
    stride_px: int = 32
    target: str | None = None
    batch: int = 64
    max_memory: int = 4 * 2**30
    threshold: float = 0.5
    resolution: str = FULL
    format: str = OME_TIFF
    video: str = field(default_factory=pictures.default_video)
    rule: Rule = field(default_factory=Rule)
    skip_bad: bool = False


@dataclass(frozen=True)
class Mapped:
    """One position as it was written down.

    rows: one per frame: time_index, time_hours, frame (its place in the map; None where the movie
    has none), sick_area, low, high, mean_probability, saturated_share, structure, marks.
    """

    name: str
    folder: Path
    facts: dict[str, Any]
    rows: list[dict[str, Any]]
    onset: Onset
    notes: list[str]
    shape: tuple[int, int]
    window_px: tuple[float, float]
    """Of the frame's own pixels."""
    blocks: int
    stills: list[list[str]]
    """File and time of each."""
    dense: list[list[float]] | None
    exact: list[list[float]] | None
    """Probabilities (N, classes) of both modes at the same windows; None in the exact mode."""


@dataclass(frozen=True)
class Lapse:
    """A movie mapped: all that the report tells."""

    run: Run
    movie: Movie
    settings: MapSettings
    target: str
    scale: float
    """Pixels of a frame as the network saw it, per pixel of the frame."""
    positions: list[Mapped]
    notes: list[str]
    difference: Difference | None


def target_of(classes: Sequence[str], asked: str | None) -> str:
    """The class that is mapped. Raises InputError for one that the run does not know."""
    if asked is None:
        return "sick" if "sick" in classes else classes[1]
    if asked not in classes:
        raise InputError(
            f"--target {asked}: the run does not know this class; it knows {', '.join(classes)}"
        )
    return asked


def map_movie(
    run: Run,
    movie: Movie,
    out: Path,
    settings: MapSettings,
    *,
    acquisition: Acquisition = AS_TOLD_BY_FILES,
    progress: Progress | None = None,
    warn: Warn | None = None,
) -> Lapse:
    """Map every frame of a movie and write each position into `out`/positions.

    All frames are looked at first, so that one that cannot be used is told before the work, not
    in the middle of it; `warn` hears what is doubtful. One frame is in memory at a time.

    Raises InputError where frames do not fit the run, cannot be used, or are smaller than the
    window; WriteError where the disk refuses.
    """
    check_format(settings.format)
    pictures.check_video(settings.video)
    target = target_of(run.classes, settings.target)
    scale = _scale(run, movie) if acquisition.rescale else 1.0
    seen_um = target_pixel_size(run) if acquisition.rescale else movie.pixel_size_um
    notes = [*movie.notes, *mismatches(run, str(movie.path), seen_um, acquisition.modality)]
    surveys = _surveyed(movie, settings, progress)
    notes += [note for found in surveys.values() for note in found.notes]
    notes += [f"left out: {sentence}" for found in surveys.values() for sentence in found.bad]
    looks = [look for found in surveys.values() for look in found.looks]
    if not looks:
        raise InputError(f"{movie.path}: no frame is left that can be used")
    _check_fits(run, movie, looks)
    for note in notes:
        if warn is not None:
            warn(note)
    mapper = _mapper(run, settings, settings.mode)
    for look in looks:
        mapper.grid(resampled_shape(look.shape, scale))
    compared = max(_FEWEST_COMPARED, _COMPARED // len(movie.positions))
    job = _Job(run, mapper, settings, run.classes, target, movie.pixel_size_um, scale, compared)
    total = len(looks)
    done = 0

    def tick() -> None:
        nonlocal done
        done += 1
        if progress is not None:
            progress("mapping", done, total)

    mapped = []
    for position in movie.positions:
        found = surveys[position.name]
        if found.moments:
            folder = out / POSITIONS / folder_name(position.name)
            mapped.append(_position(job, position, found, folder, tick))
    difference = _difference(mapped)
    late = [*_distant_notes(difference), *_unknown_notes(mapped, target)]
    for note in late:
        if warn is not None:
            warn(note)
    return Lapse(
        run=run,
        movie=movie,
        settings=settings,
        target=target,
        scale=scale,
        positions=mapped,
        notes=[*notes, *late],
        difference=difference,
    )


def _scale(run: Run, movie: Movie) -> float:
    """Pixels of a frame as the network is to see it per pixel of the frame; 1 where these differ
    by so little that it does not matter. Raises InputError where a pixel size is not known."""
    target_um = target_pixel_size(run)
    if movie.pixel_size_um is None:
        raise InputError(
            f"{movie.path}: --rescale: nothing says how large a pixel is; say it with "
            "--pixel-size-um"
        )
    if same_scale(movie.pixel_size_um, target_um):
        return 1.0
    return movie.pixel_size_um / target_um


def _mapper(run: Run, settings: MapSettings, mode: Mode) -> FrameMapper:
    from deadlib.heatmaps.frame import FrameMapper

    return FrameMapper(
        run,
        mode=mode,
        stride_px=settings.stride_px,
        batch=settings.batch,
        max_memory=settings.max_memory,
    )


def _difference(mapped: Sequence[Mapped]) -> Difference | None:
    """How far the dense mode was from the exact one over all windows that were compared."""
    from deadlib.heatmaps.difference import compared

    dense = [row for position in mapped for row in position.dense or ()]
    exact = [row for position in mapped for row in position.exact or ()]
    return compared(np.array(dense), np.array(exact)) if dense else None


def _distant_notes(difference: Difference | None) -> list[str]:
    if difference is None or difference.mean <= _FAR_APART:
        return []
    return [
        f"the dense mode differs from the exact one by {difference.mean:.2f} on average: this "
        "network sees the borders of its window; prefer --mode exact"
    ]


def _unknown_notes(mapped: Sequence[Mapped], target: str) -> list[str]:
    """Positions that are all target from the first frame to the last."""
    areas = {
        position.name: [row["sick_area"] for row in position.rows if row["frame"] is not None]
        for position in mapped
    }
    whole = [name for name, found in areas.items() if min(found) > _WHOLE]
    if not whole:
        return []
    shown = ", ".join(whole[:_SHOWN]) + (", …" if len(whole) > _SHOWN else "")
    return [
        f"{shown}: nearly the whole frame is called {target} from the first frame to the last; "
        "either it is, or the network does not know such images (another microscope, pixel size, "
        "focus or cell line); look at the overlays"
    ]


@dataclass(frozen=True)
class _Job:
    """What all positions share."""

    run: Run
    mapper: FrameMapper
    settings: MapSettings
    classes: Sequence[str]
    target: str
    pixel_size_um: float | None
    """Of the movie."""
    scale: float
    compared: int
    """Windows of a position at which both modes are asked."""

    @cached_property
    def exact(self) -> FrameMapper | None:
        """What the dense mode is compared with."""
        return None if self.settings.mode == EXACT else _mapper(self.run, self.settings, EXACT)

    def key(self, position: Position, moments: Sequence[Moment]) -> dict[str, Any]:
        """What a position's files depend on: two equal ones give the same files. moments: those
        that can be used."""
        network = self.run.network_path.stat()
        settings = asdict(self.settings)
        # These change how the work is done, not what comes out.
        for name in ("batch", "max_memory", "skip_bad"):
            settings.pop(name)
        return {
            "version": __version__,
            "network": str(self.run.network_path.resolve()),
            "network_file": [network.st_size, network.st_mtime_ns],
            "settings": settings | {"target": self.target},
            "pixel_size_um": self.pixel_size_um,
            "scale": self.scale,
            "frames": [
                [moment.time_index, moment.time_hours, *map(_stamp, moment.locators)]
                for moment in moments
            ],
            "listed": [moment.time_index for moment in position.moments],
            "missing": list(position.missing),
        }


def _surveyed(movie: Movie, settings: MapSettings, progress: Progress | None) -> dict[str, Survey]:
    total = sum(len(position.moments) for position in movie.positions)
    done = 0

    def seen() -> None:
        nonlocal done
        done += 1
        if progress is not None:
            progress("looking at frames", done, total)

    found = {position.name: survey(position, seen) for position in movie.positions}
    check_bad([sentence for each in found.values() for sentence in each.bad], settings.skip_bad)
    return found


def _check_fits(run: Run, movie: Movie, looks: Sequence[Look]) -> None:
    """Raise InputError where frames have other channels or another depth than the run's images."""
    from deadlib.heatmaps.setting import check_depth

    channels = {look.shape[2] for look in looks}
    if channels != {len(run.channels)}:
        found = " or ".join(str(count) for count in sorted(channels))
        raise InputError(
            f"{movie.path}: frames have {found} channels, but the run {run.folder} takes "
            f"{len(run.channels)} ({', '.join(run.channels)}); choose them with --channels"
        )
    for dtype in {look.dtype for look in looks}:
        check_depth(run, dtype)


def _position(
    job: _Job, position: Position, found: Survey, folder: Path, tick: Callable[[], None]
) -> Mapped:
    """A position from its folder where it is finished, otherwise mapped into it."""
    key = json.loads(json.dumps(job.key(position, found.moments)))
    finished = _finished(folder, key, position)
    if finished is not None:
        for _ in found.moments:
            tick()
        return finished
    with written_whole(folder) as partial:
        partial.mkdir()
        mapped = _mapped(job, position, found, folder, partial, tick)
        record = {**asdict(mapped), "key": key}
        for name in ("folder", "facts"):
            record.pop(name)
        (partial / RECORD).write_text(json.dumps(record, indent=1), encoding="utf-8")
        if (folder / RECORD).is_file():
            shutil.rmtree(folder)
    return mapped


def _finished(folder: Path, key: dict[str, Any], position: Position) -> Mapped | None:
    """What the folder holds, where that is whole and of this key. What is known of the position is
    not kept there: a dose may be corrected without mapping anew."""
    try:
        record = json.loads((folder / RECORD).read_text(encoding="utf-8"))
        if record.pop("key") != key:
            return None
        record["onset"] = Onset(**record["onset"])
        for name in ("shape", "window_px"):
            record[name] = tuple(record[name])
        return Mapped(folder=folder, facts=_facts(position), **record)
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _mapped(
    job: _Job,
    position: Position,
    found: Survey,
    folder: Path,
    partial: Path,
    tick: Callable[[], None],
) -> Mapped:
    settings = job.settings
    shape = (found.looks[0].shape[0], found.looks[0].shape[1])
    grid = job.mapper.grid(resampled_shape(shape, job.scale))
    window = (grid.window_px[0] / job.scale, grid.window_px[1] / job.scale)
    blocks = Blocks.over(shape, window)
    hours = [moment.time_hours for moment in found.moments]
    known = [hour for hour in hours if hour is not None]
    layout = Layout(
        resolution=settings.resolution,
        frames=len(found.moments),
        classes=tuple(job.classes),
        grid=grid,
        shape=shape,
        scale=job.scale,
        pixel_size_um=job.pixel_size_um,
        hours=tuple(known) if len(known) == len(hours) else None,
    )
    areas: list[np.ndarray[Any, Any]] = []
    means: list[float] = []
    target = list(job.classes).index(job.target)
    painter = _Painter(settings.video, position, found, target, partial)
    middle = found.moments[len(found.moments) // 2]
    both: dict[str, list[list[float]] | None] = {"dense": None, "exact": None}

    def maps() -> Iterator[FrameMap]:
        for moment in found.moments:
            frame = open_frame(moment.locators)
            seen: Frame = frame if job.scale == 1 else resampled(frame[:, :], job.scale)
            values = np.asarray(job.mapper.probabilities(seen), np.float32)
            result = FrameMap(values, grid, shape, job.scale)
            above, mean = block_areas(
                values[..., target], grid, job.scale, blocks, settings.threshold
            )
            areas.append(above)
            means.append(float(mean @ blocks.shares))
            painter.add(moment, frame, result)
            if moment is middle and job.exact is not None:
                places = _sampled(grid, job.compared)
                both["dense"] = values[tuple(places.T)].tolist()
                both["exact"] = job.exact.at(seen, places).tolist()
            # A writer that has all it needs does not ask again.
            tick()
            yield result

    try:
        write_maps(partial / f"{MAPS}{SUFFIX[settings.format]}", settings.format, layout, maps())
    finally:
        painter.close()
    by_block = np.stack(areas)
    curve = by_block @ blocks.shares
    redrawn = resampled_areas(by_block, blocks.shares, np.random.default_rng(0))
    rows = _rows(position, found, curve, limits(redrawn, by_block), means)
    _write_curve(partial / CURVE, rows)
    times = np.array([_time(moment) for moment in found.moments])
    return Mapped(
        name=position.name,
        folder=folder,
        facts=_facts(position),
        rows=rows,
        onset=onset(times, curve, redrawn, settings.rule),
        notes=list(found.notes),
        shape=shape,
        window_px=window,
        blocks=len(blocks.shares),
        stills=painter.stills,
        **both,
    )


def _facts(position: Position) -> dict[str, Any]:
    """As JSON has them."""
    found: dict[str, Any] = json.loads(json.dumps(dict(position.facts), default=str))
    return found


def _sampled(grid: Grid, count: int) -> np.ndarray[Any, Any]:
    """(N, 2) rows and columns of some windows of a grid, at random."""
    places = np.indices((grid.rows, grid.columns)).reshape(2, -1).T
    return np.random.default_rng(0).permutation(places)[:count]


class _Painter:
    """The video and the stills of one position."""

    def __init__(
        self, kind: str, position: Position, found: Survey, target: int, folder: Path
    ) -> None:
        self._position, self._target, self._folder = position, target, folder
        self._low = float(np.median([look.low for look in found.looks]))
        self._high = float(np.median([look.high for look in found.looks]))
        self._longest = pictures.LONGEST_PX[kind]
        self._shape = found.looks[0].shape
        kept = {moment.time_index for moment in found.moments}
        self._last = max(kept)
        every = {moment.time_index for moment in position.moments} | set(position.missing)
        self._missing = sorted(every - kept)
        chosen = np.linspace(0, len(found.moments) - 1, min(_STILLS, len(found.moments)))
        self._chosen = {found.moments[round(place)].time_index for place in chosen}
        self._video = None
        if kind != pictures.NO_VIDEO:
            path = folder / f"{VIDEO}.{kind}"
            self._video = open_video(path, kind, pictures.FRAMES_PER_SECOND)
        self.stills: list[list[str]] = []

    def add(self, moment: Moment, frame: Frame, result: FrameMap) -> None:
        if self._video is None and moment.time_index not in self._chosen:
            return
        step = pictures.reduction(self._shape, self._longest)
        grey = pictures.grey_picture(frame, self._low, self._high, self._longest)
        picture = pictures.overlay(grey, result, self._target, step)
        picture = pictures.stamped(picture, f"{self._position.name}  {_clock(moment)}")
        if self._video is not None:
            self._add_missing(picture.shape, before=moment.time_index)
            self._video.add(picture)
            if moment.time_index == self._last:
                self._add_missing(picture.shape)
        if moment.time_index in self._chosen:
            name = f"still_{moment.time_index:03d}.jpg"
            pictures.save_still(self._folder / name, grey, picture)
            self.stills.append([name, _clock(moment)])

    def _add_missing(self, shape: tuple[int, ...], before: float = math.inf) -> None:
        while self._video is not None and self._missing and self._missing[0] < before:
            index = self._missing.pop(0)
            text = f"{self._position.name}  frame {index}: missing"
            self._video.add(pictures.missing_picture(shape, text))

    def close(self) -> None:
        if self._video is not None:
            self._video.close()


def _rows(
    position: Position,
    found: Survey,
    curve: np.ndarray[Any, Any],
    intervals: np.ndarray[Any, Any],
    means: Sequence[float],
) -> list[dict[str, Any]]:
    """A row for each time, those without a usable frame too."""
    rows: dict[int, dict[str, Any]] = {}
    for place, (moment, look) in enumerate(zip(found.moments, found.looks, strict=True)):
        low, high = (None if np.isnan(limit) else float(limit) for limit in intervals[place])
        rows[moment.time_index] = _row(
            position,
            moment.time_index,
            moment.time_hours,
            frame=place,
            sick_area=float(curve[place]),
            low=low,
            high=high,
            mean_probability=means[place],
            saturated_share=look.saturated_share,
            structure=look.structure if np.isfinite(look.structure) else None,
            marks=" ".join(look.marks),
        )
    for moment in position.moments:
        if moment.time_index not in rows:
            rows[moment.time_index] = _row(
                position, moment.time_index, moment.time_hours, marks="unusable"
            )
    for index in position.missing:
        rows[index] = _row(position, index, None, marks="missing")
    return [rows[index] for index in sorted(rows)]


def _row(position: Position, index: int, hours: float | None, **values: Any) -> dict[str, Any]:
    empty = dict.fromkeys(
        ("frame", "sick_area", "low", "high", "mean_probability", "saturated_share", "structure")
    )
    return {
        "position": position.name,
        "time_index": index,
        "time_hours": hours,
        **empty,
        "marks": "",
        **values,
    }


def _write_curve(path: Path, rows: Sequence[dict[str, Any]]) -> None:
    import pandas as pd

    pd.DataFrame(rows).convert_dtypes().to_csv(path, index=False, float_format="%.6g")


def _time(moment: Moment) -> float:
    return float(moment.time_index) if moment.time_hours is None else moment.time_hours


def _clock(moment: Moment) -> str:
    if moment.time_hours is None:
        return f"frame {moment.time_index}"
    minutes = round(60 * moment.time_hours)
    return f"{minutes // 60} h {minutes % 60:02d} min"


def _stamp(locator: str) -> list[Any]:
    """A locator, and by what a change of its files is noticed."""
    stats = [Path(file).stat() for file in Locator.parse(locator).files]
    return [locator, *([stat.st_size, stat.st_mtime_ns] for stat in stats)]
