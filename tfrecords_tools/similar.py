"""Images that show the same cells: near-duplicates, and fields that overlap.

Sketches (`sketch`) are compared, not images. Neighbours (fields of one well, files of one sequence
of names) are registered by phase correlation (Kuglin and Hines 1975, Proc IEEE Conf Cybernetics
and Society: 163): the product of whitened spectra has its peak at the shift between two images.
Whether the cells are the same at that shift, the correlation within the common part says. Copies
under other names are found in the whole set by a hash of the sketch's coarse structure.
"""

from __future__ import annotations

import base64
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from tfrecords_tools.dataset import SKETCHES, Dataset, document_path, read_document
from tfrecords_tools.manifest import parquet_bytes
from tfrecords_tools.pool import Progress, Workers, run_tasks
from tfrecords_tools.sketch import FEWEST_CELLS, read_sketch, sketch_shape
from tfrecords_tools.sources import natural_key
from tfrecords_tools.split import LEVELS, PLACES
from tfrecords_tools.table import TIMES

if TYPE_CHECKING:
    import pandas as pd

    from tfrecords_tools.images import ImageFacts

OVERLAP, DUPLICATE = "overlap", "duplicate"

# Fields of a well and files of a sequence are compared with this many that follow them.
_REACH_IN_WELL = 8
_REACH_IN_NAMES = 4
# Peaks of the phase correlation that are tried; each stands for four shifts, as it is cyclic.
_PEAKS = 3
# The common part must be this share of the image, and correlate like this. The score is Fisher's
# atanh(r) times the root of the number of cells in common; on real fields that share nothing it
# stays below 18 (docs/decisions/0023).
_SMALLEST_OVERLAP = 0.08
_LOWEST_CORRELATION = 0.6
_LOWEST_PEAK = 0.15
_LOWEST_SCORE = 22.0
# Without a shift, dust and shading of the same camera are in the same place too.
_LOWEST_UNSHIFTED = 0.75

_HASH_FIRST, _HASH_SIDE = 5, 8
_HASH_BANDS = 4
_HASH_REACH = 16
_HASH_DISTANCE = 8

_PAIRS_PER_TASK = 512
_PAIRS_WORTH_A_POOL = 8192
_PAIRS_SHOWN = 3


class Sketched(NamedTuple):
    """An image as it is compared."""

    sketch: str
    height_px: int
    width_px: int


@dataclass(frozen=True)
class Pair:
    """Two images that show the same cells.

    The pixel (0, 0) of `other` lies `down_px` below and `right_px` right of that of `one`, within
    about a fifth of a cell of the sketch (a 64th of the image). `overlap`: the share of the image
    that both show; `correlation`: of the two sketches there, 0.6 to 1.
    """

    one: str
    other: str
    kind: str
    down_px: int
    right_px: int
    overlap: float
    correlation: float


@dataclass(frozen=True)
class Similar:
    """What was found, and in how many pairs it was looked for."""

    pairs: tuple[Pair, ...]
    compared: int


def sketched(facts: Mapping[str, ImageFacts]) -> dict[str, Sketched]:
    """The images that have a sketch, by source id."""
    return {
        key: Sketched(fact.sketch, fact.height_px, fact.width_px)
        for key, fact in facts.items()
        if fact.sketch
    }


def find_similar(
    images: Mapping[str, Sketched],
    examples: pd.DataFrame,
    groups: Sequence[str],
    *,
    new: frozenset[str] | None = None,
    workers: Workers = 1,
    progress: Progress | None = None,
) -> Similar:
    """Pairs of images that show the same cells, in natural order of their names.

    Args:
        images: sketches by source id.
        examples: rows with source_id, image_sha256 and metadata; several may be of one image.
        groups: of each example, those of the split. Frames of one place at different times show
            the same cells by design, and are compared only where they are in different groups.
        new: compare only pairs with one of these; None: all.
        workers: processes, or another Executor; the result does not depend on it.
        progress: called with (stage, done, total).

    Images with identical pixels are left out: their hashes tell that already.
    """
    rows = examples.assign(_group=list(groups)).drop_duplicates("source_id")
    rows = rows[rows["source_id"].isin(images.keys())]
    records: list[dict[str, Any]] = [
        dict(zip(rows.columns, row, strict=True)) for row in rows.itertuples(index=False)
    ]
    known = {str(row["source_id"]): row for row in records}
    names = sorted(known, key=natural_key)
    wanted: dict[tuple[str, str], None] = {}
    places, times = _columns(rows)
    for one, other in (
        *_neighbours(names, known, places, times),
        *_alike(names, {name: images[name] for name in names}),
    ):
        a, b = known[one], known[other]
        fresh = new is None or one in new or other in new
        if fresh and _comparable(a, b, images[one], images[other], places, times):
            wanted.setdefault((one, other))
    found: list[Pair] = []
    done = 0

    def collect(result: tuple[int, list[Pair]]) -> None:
        nonlocal done
        done += result[0]
        found.extend(result[1])
        if progress is not None:
            progress("comparing images", done, len(wanted))

    if len(wanted) < _PAIRS_WORTH_A_POOL:
        workers = 1
    run_tasks(_compare, _tasks(list(wanted), images), workers=workers, finished=collect)
    order = {pair: place for place, pair in enumerate(wanted)}
    found.sort(key=lambda pair: order[pair.one, pair.other])
    found.sort(key=lambda pair: natural_key(pair.one))
    return Similar(tuple(found), len(wanted))


def _columns(rows: pd.DataFrame) -> tuple[list[str], list[str]]:
    """The columns that name a place, from coarse to fine, and those that name a time."""
    levels = [name for name in (*LEVELS[:2], "row", "column", *LEVELS[2:]) if name in rows]
    return levels, sorted(TIMES.intersection(rows.columns))


def _comparable(
    a: Mapping[str, Any],
    b: Mapping[str, Any],
    one: Sketched,
    other: Sketched,
    places: Sequence[str],
    times: Sequence[str],
) -> bool:
    if a["image_sha256"] == b["image_sha256"]:
        return False
    if sketch_shape(*one[1:]) != sketch_shape(*other[1:]):
        return False
    placed = any(set(place) <= set(places) for place in PLACES)
    same_place = placed and all(_same(a[name], b[name]) for name in places)
    same_time = all(_same(a[name], b[name]) for name in times)
    return not (same_place and not same_time and a["_group"] == b["_group"])


def _same(one: Any, other: Any) -> bool:
    return bool(one == other) or (one != one and other != other)


def _neighbours(
    names: Sequence[str],
    known: Mapping[str, Mapping[str, Any]],
    places: Sequence[str],
    times: Sequence[str],
) -> Iterator[tuple[str, str]]:
    """Fields of one well at one time; without wells, files whose names differ in one number. And
    the next frame of the same place, where the frames of a place are not one group."""
    wells = [name for name in places if name not in ("position", "field")]
    if "well" in places or {"row", "column"} <= set(places):
        columns = [*wells, *times]
        yield from _within(names, [_key(known[name], columns) for name in names], _REACH_IN_WELL)
    else:
        for keys in _templates(names):
            yield from _within(names, keys, _REACH_IN_NAMES)
    if times and places:
        ordered = sorted(names, key=lambda name: _key(known[name], times))
        yield from _within(ordered, [_key(known[name], places) for name in ordered], 1)


def _within(names: Sequence[str], keys: Sequence[Any], reach: int) -> Iterator[tuple[str, str]]:
    """Pairs of names with the same key, at most `reach` apart among those; None is no key."""
    members: dict[Any, list[str]] = {}
    for name, key in zip(names, keys, strict=True):
        if key is not None:
            members.setdefault(key, []).append(name)
    for found in members.values():
        for place, one in enumerate(found):
            for other in found[place + 1 : place + 1 + reach]:
                yield (one, other) if natural_key(one) <= natural_key(other) else (other, one)


def _key(row: Mapping[str, Any], columns: Sequence[str]) -> tuple[tuple[int, float, str], ...]:
    """Values that can be put in order, numbers before texts before what is absent."""
    key = []
    for name in columns:
        value = row[name]
        absent = value is None or value != value
        number = isinstance(value, int | float | np.number) and not absent
        key.append(
            (2, 0.0, "") if absent else (0, float(value), "") if number else (1, 0.0, str(value))
        )
    return tuple(key)


def _templates(names: Sequence[str]) -> Iterator[list[tuple[int, str] | None]]:
    """What the names say but for their numbers; and for each number, from the last on, what else
    they say."""
    yield [(0, re.sub(r"\d+", "\0", name)) for name in names]
    numbers = [list(re.finditer(r"\d+", name)) for name in names]
    for place in range(1, max(map(len, numbers), default=0) + 1):
        yield [
            (place, f"{name[: found[-place].start()]}\0{name[found[-place].end() :]}")
            if place <= len(found)
            else None
            for name, found in zip(names, numbers, strict=True)
        ]


def _alike(names: Sequence[str], images: Mapping[str, Sketched]) -> Iterator[tuple[str, str]]:
    """Pairs whose hashes differ in a few of 64 bits: a quarter of the hash must be the same."""
    if len(names) < 2:
        return
    hashes = np.array([structure_hash(images[name]) for name in names], np.uint64)
    seen = set()
    for band in range(_HASH_BANDS):
        part = (hashes >> np.uint64(band * 64 // _HASH_BANDS)) & np.uint64(0xFFFF)
        order = np.argsort(part, kind="stable")
        for step in range(1, min(_HASH_REACH, len(order) - 1) + 1):
            one, other = order[:-step], order[step:]
            near = part[one] == part[other]
            near &= np.bitwise_count(hashes[one] ^ hashes[other]) <= _HASH_DISTANCE
            for a, b in zip(one[near], other[near], strict=True):
                pair = (min(a, b), max(a, b))
                if pair not in seen:
                    seen.add(pair)
                    yield names[pair[0]], names[pair[1]]


def structure_hash(image: Sketched) -> int:
    """64 bits that say which of 8 x 8 slow waves over the sketch are bright in their first half:
    near-duplicates differ in few of them, whatever their brightness, contrast or compression.

    A perceptual hash as in Zauner 2010 (Implementation and Benchmarking of Perceptual Image Hash
    Functions, section 3.2.1), with the waves that a sketch keeps.
    """
    cells = read_sketch(*image)
    rows, columns = cells.shape
    waves = _waves(rows) @ cells @ _waves(columns).T
    return int.from_bytes(np.packbits(waves.ravel() > 0).tobytes())


@lru_cache(maxsize=64)
def _waves(cells: int) -> np.ndarray:
    """Rows of the discrete cosine transform (II) over so many cells."""
    wave = np.arange(_HASH_FIRST, _HASH_FIRST + _HASH_SIDE)[:, None]
    return np.asarray(np.cos(np.pi * wave * (np.arange(cells) + 0.5) / cells), np.float64)


class _Task(NamedTuple):
    pairs: Sequence[tuple[str, str]]
    images: Mapping[str, Sketched]


def _tasks(pairs: Sequence[tuple[str, str]], images: Mapping[str, Sketched]) -> Iterator[_Task]:
    for start in range(0, len(pairs), _PAIRS_PER_TASK):
        part = pairs[start : start + _PAIRS_PER_TASK]
        yield _Task(part, {name: images[name] for pair in part for name in pair})


def _compare(task: _Task) -> tuple[int, list[Pair]]:
    cells = {name: read_sketch(*image) for name, image in task.images.items()}
    spectra = {name: whitened(values) for name, values in cells.items()}
    found = []
    for one, other in task.pairs:
        match = registered(cells[one], cells[other], spectra[one], spectra[other])
        if match is not None:
            found.append(_pair(one, other, match, cells[one].shape, task.images[one]))
    return len(task.pairs), found


class Match(NamedTuple):
    """Where one sketch lies on another, in cells, and how well they agree there."""

    down: float
    right: float
    correlation: float


def whitened(cells: np.ndarray) -> np.ndarray:
    """The spectrum with all amplitudes 1; fewer than the smallest sketch's cells are refused."""
    if min(cells.shape) < FEWEST_CELLS:
        raise ValueError(f"a sketch of {cells.shape} cells; expected {FEWEST_CELLS} or more")
    spectrum = np.fft.rfft2(cells)
    return np.asarray(spectrum / np.maximum(np.abs(spectrum), 1e-9))


def registered(
    one: np.ndarray, other: np.ndarray, spectrum: np.ndarray, other_spectrum: np.ndarray
) -> Match | None:
    """How `other` lies on `one` (sketches of one shape, with their whitened spectra); None where
    they do not show the same."""
    rows, columns = one.shape
    peaks = np.fft.irfft2(spectrum * other_spectrum.conj(), one.shape).ravel()
    best, highest = None, 0.0
    for place in np.argpartition(peaks, -_PEAKS)[-_PEAKS:]:
        down, right = divmod(int(place), columns)
        for shift in ((y, x) for y in (down, down - rows) for x in (right, right - columns)):
            cells_shared = (rows - abs(shift[0])) * (columns - abs(shift[1]))
            share = cells_shared / (rows * columns)
            # What both show makes a peak about as high as their common share of the image.
            if share < _SMALLEST_OVERLAP or peaks[place] < _LOWEST_PEAK * share:
                continue
            score = _score(_agreement(*_common(one, other, *shift)), cells_shared)
            if score > highest:
                best, highest = shift, score
    if best is None or highest < 0.9 * _LOWEST_SCORE:
        return None
    shared = _common(one, other, *best)
    # Lines of a counting chamber or a stitching seam run through whole rows: they are taken away.
    correlation = min(_correlation(*shared), _correlation(*(_without_lines(s) for s in shared)))
    lowest = _LOWEST_UNSHIFTED if max(map(abs, best)) <= 1 else _LOWEST_CORRELATION
    if correlation < lowest or _score(correlation, shared[0].size) < _LOWEST_SCORE:
        return None
    down, right = (_finer(one, other, best, axis) for axis in (0, 1))
    return Match(down, right, correlation)


def _common(
    one: np.ndarray, other: np.ndarray, down: int, right: int
) -> tuple[np.ndarray, np.ndarray]:
    """The parts of both that lie on each other, where `other` is moved by so many cells."""
    rows, columns = one.shape
    return (
        one[max(down, 0) : rows + min(down, 0), max(right, 0) : columns + min(right, 0)],
        other[max(-down, 0) : rows + min(-down, 0), max(-right, 0) : columns + min(-right, 0)],
    )


def _agreement(one: np.ndarray, other: np.ndarray) -> float:
    """The cosine between both: nearly their correlation, as sketches are centred, and quick."""
    both, first, second = (
        float(np.einsum("ij,ij->", a, b)) for a, b in ((one, other), (one, one), (other, other))
    )
    return both / math.sqrt(first * second) if first * second > 0 else 0.0


def _correlation(one: np.ndarray, other: np.ndarray) -> float:
    """Pearson's; 0 where one of the two is flat."""
    a = one - one.mean(dtype=np.float64)
    b = other - other.mean(dtype=np.float64)
    scale = math.sqrt(np.vdot(a, a) * np.vdot(b, b))
    return float(np.vdot(a, b) / scale) if scale > 0 else 0.0


def _score(correlation: float, cells: int) -> float:
    return math.atanh(min(correlation, 0.9999)) * math.sqrt(cells)


def _without_lines(cells: np.ndarray) -> np.ndarray:
    return cells - cells.mean(axis=0) - cells.mean(axis=1, keepdims=True)


def _finer(one: np.ndarray, other: np.ndarray, shift: tuple[int, int], axis: int) -> float:
    """The shift along an axis in parts of a cell: the top of a parabola through three
    correlations."""
    step = (1, 0) if axis == 0 else (0, 1)
    low, middle, high = (
        _correlation(*_common(one, other, shift[0] + sign * step[0], shift[1] + sign * step[1]))
        for sign in (-1, 0, 1)
    )
    bend = low - 2 * middle + high
    part = 0.5 * (low - high) / bend if bend < 0 else 0.0
    return shift[axis] + max(-0.5, min(0.5, part))


def _pair(one: str, other: str, match: Match, shape: tuple[int, ...], image: Sketched) -> Pair:
    rows, columns = shape
    shared = (1 - abs(match.down) / rows) * (1 - abs(match.right) / columns)
    unshifted = max(abs(match.down), abs(match.right)) < 1.5
    return Pair(
        one,
        other,
        DUPLICATE if unshifted else OVERLAP,
        round(match.down * image.height_px / rows),
        round(match.right * image.width_px / columns),
        round(shared, 3),
        round(match.correlation, 3),
    )


def sketch_bytes(images: Mapping[str, Sketched]) -> bytes | None:
    """The sketches as a Parquet file: source_id, sketch (two cells a byte), height_px, width_px.
    None where there are none."""
    import pyarrow as pa

    if not images:
        return None
    columns: dict[str, list[Any]] = {"source_id": list(images)}
    columns |= {name: [getattr(i, name) for i in images.values()] for name in Sketched._fields}
    columns["sketch"] = [base64.b64decode(text) for text in columns["sketch"]]
    return parquet_bytes(pa.table(columns))


def read_sketches(dataset: Dataset) -> dict[str, Sketched]:
    """The sketches of a dataset's images by source id; none where it keeps none."""
    listed = dataset.info.get("sketches")
    if listed is None:
        return {}
    table = read_document(document_path(dataset.folder, SKETCHES, listed)).to_pylist()
    return {
        row["source_id"]: Sketched(
            base64.b64encode(row["sketch"]).decode(), row["height_px"], row["width_px"]
        )
        for row in table
    }


def known_similar(info: Mapping[str, Any]) -> Similar | None:
    """What the document of a dataset says of similar images; None where nobody looked."""
    found = info.get("similar")
    if found is None:
        return None
    pairs = ({key: pair[key] for key in Pair.__dataclass_fields__} for pair in found["pairs"])
    return Similar(tuple(Pair(**pair) for pair in pairs), found["compared"])


def similar_json(
    similar: Similar | None, examples: pd.DataFrame, joined: bool
) -> dict[str, Any] | None:
    """What deadlib.json says: compared, joined, across_splits and pairs, each with `splits`, all
    splits in which one of the two stands. None where similar images were not looked for."""
    if similar is None:
        return None
    splits: dict[str, set[str]] = {}
    concerned = {name for pair in similar.pairs for name in (pair.one, pair.other)}
    rows = examples[examples["source_id"].isin(concerned)]
    for name, split in zip(rows["source_id"], rows["split"], strict=True):
        splits.setdefault(name, set()).add(split)
    pairs = [
        asdict(pair) | {"splits": sorted(splits[pair.one] | splits[pair.other])}
        for pair in similar.pairs
        if pair.one in splits and pair.other in splits
    ]
    across = sum(len(pair["splits"]) > 1 for pair in pairs)
    return {
        "compared": similar.compared,
        "joined": joined,
        "across_splits": across,
        "pairs": pairs,
    }


def told(found: Mapping[str, Any] | None) -> tuple[list[str], list[str]]:
    """Sentences for the proof of the split, and warnings, of what `similar_json` gave."""
    if found is None or not found["compared"]:
        return [], []
    pairs = found["pairs"]
    if not pairs:
        return [f"{found['compared']} pairs of neighbouring images, none shows the same cells"], []
    across = [pair for pair in pairs if len(pair["splits"]) > 1]
    overlapping = [pair["overlap"] for pair in pairs if pair["kind"] == OVERLAP]
    copies = len(pairs) - len(overlapping)
    parts = []
    if overlapping:
        parts.append(f"{len(overlapping)} fields overlap by {_percent(overlapping)}")
    if copies:
        parts.append(f"{copies} are near-duplicates")
    what = f"{len(pairs)} pairs of images show the same cells ({', '.join(parts)})"
    if not across:
        return [f"{what}, none in two splits"], []
    shown = "; ".join(
        f"{pair['one']} and {pair['other']} ({' and '.join(pair['splits'])}, "
        f"{pair['overlap']:.0%} in common)"
        for pair in across[:_PAIRS_SHOWN]
    )
    more = f"; and {len(across) - _PAIRS_SHOWN} more" if len(across) > _PAIRS_SHOWN else ""
    return [], [
        f"{what}, and {len(across)} of these pairs stand in two splits: {shown}{more}. The figures "
        "on test or validation are then partly on cells that training has seen. Keep such images "
        "together with --join-similar, or split by something coarser (--split-by)"
    ]


def _percent(shares: Sequence[float]) -> str:
    low, high = (f"{share:.0%}" for share in (min(shares), max(shares)))
    return low if low == high else f"{low} to {high}"
