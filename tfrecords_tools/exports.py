"""Plate exports: folders of single planes with an index file that says what they are.

Operetta and Opera Phenix (Harmony, Index.idx.xml), ImageXpress (MetaXpress, .HTD) and MetaMorph
(.nd). What they list is joined to images: one per well, field and time, channels by name.
"""

from __future__ import annotations

import csv
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path, PurePosixPath
from typing import Any
from xml.etree import ElementTree

import tifffile

from tfrecords_tools.container import TIFF_SUFFIXES, row_letters, well_metadata
from tfrecords_tools.errors import SourceError
from tfrecords_tools.listing import choice_needed
from tfrecords_tools.locator import PROJECTIONS, Locator
from tfrecords_tools.settings import ConversionSettings
from tfrecords_tools.sources import Problem, SourceImage, natural_key

_HARMONY_INDEX = ("Index.idx.xml", "Index.xml")
_HARMONY_FACTS = (
    "URL",
    "Row",
    "Col",
    "FieldID",
    "PlaneID",
    "TimepointID",
    "ChannelID",
    "ChannelName",
    "ImageResolutionX",
    "MeasurementTimeOffset",
)
_SHOWN = 6

_UUID = r"[0-9A-F]{8}-[0-9A-F]{4}-[0-9A-F]{4}-[0-9A-F]{4}-[0-9A-F]{12}"
_IMAGEXPRESS_NAME = re.compile(
    r"(?P<base>.+?)_(?P<row>[A-Z]{1,2})(?P<column>\d{2})(?:_s(?P<site>\d+))?"
    rf"(?:_w(?P<wave>\d{{1,2}}?))?(?P<thumb>_thumb)?(?P<uuid>{_UUID})?\.tiff?",
    re.IGNORECASE,
)
_TIME_FOLDER = re.compile(r"TimePoint_(\d+)", re.IGNORECASE)
_Z_FOLDER = re.compile(r"ZStep_(\d+)", re.IGNORECASE)
_METAMORPH_NAME = r"(?:_w(?P<wave>\d+)(?P<name>.*?))?(?:_s(?P<stage>\d+))?(?:_t(?P<time>\d+))?"


@dataclass(frozen=True)
class _Plane:
    """One file of an export; z and time count from 0.

    export: its name where another one lies in the same folder.
    """

    path: str
    channel: str
    time: int | None
    z: int
    metadata: Mapping[str, str]
    export: str = ""


@dataclass
class Exports:
    """Images of plate exports, by source id, and the files that belong to the exports.

    stacks: images whose files may hold planes themselves.
    """

    images: dict[str, SourceImage] = field(default_factory=dict)
    stacks: dict[str, SourceImage] = field(default_factory=dict)
    files: set[str] = field(default_factory=set)


def find_exports(
    source: Path,
    files: Sequence[str],
    settings: ConversionSettings,
    problems: list[Problem],
    notes: list[str],
) -> Exports:
    """The exports among the files. Raises SourceError for a layout that is not there."""
    found = Exports()
    if settings.layout == "files":
        return found
    readers = {"harmony": _harmony, "imagexpress": _imagexpress, "metamorph": _metamorph}
    for layout, read in readers.items():
        if settings.layout not in ("auto", layout):
            continue
        for name, folder, members, planes in read(source, files, settings, notes):
            images = _joined(source, folder, planes, settings, problems)
            (found.stacks if layout == "metamorph" else found.images).update(images)
            found.files.update(members)
            notes.append(f"{name}: read as {layout} export: {len(images)} images")
    if settings.layout != "auto" and not found.files:
        raise SourceError(
            f"{source}: no {settings.layout} export; expected "
            + {
                "harmony": " or ".join(_HARMONY_INDEX),
                "imagexpress": "an .HTD file, or names such as plate_B03_s1_w1.tif",
                "metamorph": "an .nd file",
            }[settings.layout]
        )
    return found


_Export = tuple[str, str, set[str], list[_Plane]]
"""Name to show, folder, all files that belong to it, and the planes among them."""


def _joined(
    source: Path,
    folder: str,
    planes: Sequence[_Plane],
    settings: ConversionSettings,
    problems: list[Problem],
) -> dict[str, SourceImage]:
    """One image per place and time, its channels in the order of the export."""
    members: dict[str, list[_Plane]] = {}
    for plane in planes:
        members.setdefault(_source_id(folder, plane), []).append(plane)
    order = list(dict.fromkeys(plane.channel for plane in planes))
    stacks = {}
    images = {}
    for source_id in sorted(members, key=natural_key):
        found = members[source_id]
        absent = [plane for plane in found if not (source / plane.path).is_file()]
        if absent:
            names = ", ".join(plane.path for plane in absent[:_SHOWN])
            reason = f"channel {absent[0].channel}: the index names {names}, missing; add the file"
            problems.append(Problem(source_id, reason))
            continue
        by_channel: dict[str, dict[int, str]] = {}
        for plane in found:
            other = by_channel.setdefault(plane.channel, {}).setdefault(plane.z, plane.path)
            if other != plane.path:
                reason = f"a second file of channel {plane.channel}, as {other} is; keep one"
                problems.append(Problem(plane.path, reason))
        channels = [name for name in order if name in by_channel]
        count = max(len(zs) for zs in by_channel.values())
        if count > 1 and settings.z is None:
            stacks[source_id] = f"{count} planes"
            continue
        missing = [name for name in channels if _locator(by_channel[name], settings.z) is None]
        if missing:
            reason = f"channel {missing[0]}: no z plane {settings.z}; it has 1 to {count}"
            problems.append(Problem(source_id, reason))
            continue
        paths = tuple(str(_locator(by_channel[name], settings.z)) for name in channels)
        time = {} if found[0].time is None else {"time_index": str(found[0].time)}
        images[source_id] = SourceImage(paths, {**found[0].metadata, **time}, tuple(channels))
    if stacks:
        raise SourceError(choice_needed("--z", stacks, "image has", "images have"))
    return images


def _locator(paths: Mapping[int, str], z: str | None) -> Locator | None:
    """The planes of one channel as one image; None where there is no such plane."""
    ordered = tuple(paths[place] for place in sorted(paths))
    if len(ordered) == 1:
        return Locator(ordered)
    if z in PROJECTIONS:
        return Locator(ordered, z=z)
    number = int(z or 0)
    return Locator((ordered[number - 1],)) if 1 <= number <= len(ordered) else None


def _source_id(folder: str, plane: _Plane) -> str:
    """What the image is called: folder/B03_f1_t0, or folder/plate2_B03_f1_t0."""
    export = f"{plane.export}_" if plane.export else ""
    place = plane.metadata.get("well") or plane.metadata.get("position", "")
    part = f"_f{plane.metadata['field']}" if "field" in plane.metadata else ""
    time = "" if plane.time is None else f"_t{plane.time}"
    return (PurePosixPath(folder) / f"{export}{place}{part}{time}").as_posix()


def _harmony(
    source: Path, files: Sequence[str], settings: ConversionSettings, notes: list[str]
) -> Iterator[_Export]:
    for folder in _folders(files):
        index = next(
            (path for name in _HARMONY_INDEX if (path := source / folder / name).is_file()), None
        )
        if index is None:
            continue
        try:
            described = _harmony_index(index)
        except (ElementTree.ParseError, OSError) as error:
            raise SourceError(
                f"{index}: cannot be read ({error}); export the plate again"
            ) from None
        if described is None:
            continue
        planes = list(_harmony_planes(index, *described, folder))
        members = {path for path in files if PurePosixPath(path).parent.as_posix() == folder}
        spare = members.difference(plane.path for plane in planes)
        if spare:
            notes.append(f"{len(spare)} files left out: {index.name} in {folder} names them not")
        yield (PurePosixPath(folder) / index.name).as_posix(), folder, members, planes


def _harmony_index(index: Path) -> tuple[str, list[dict[str, str]]] | None:
    """The plate's name and what is said of each image; None where it is another kind of file.

    The index of a large plate has hundreds of megabytes, so it is read piece by piece.
    """
    names: dict[str, str] = {}
    # Newer exports describe a channel once, in the maps.
    shared: dict[str, dict[str, str]] = {}
    images: list[dict[str, str]] = []
    tag = ""
    for _, element in ElementTree.iterparse(index):
        tag = _tag(element)
        if tag not in ("Plate", "Entry", "Image"):
            continue
        texts = {_tag(child): child.text or "" for child in element}
        if tag == "Plate":
            names = names or texts
        elif tag == "Entry":
            kept = {key: text for key, text in texts.items() if key in _HARMONY_FACTS}
            shared.setdefault(element.get("ChannelID", ""), {}).update(kept)
        elif "URL" in texts:
            images.append({key: text for key, text in texts.items() if key in _HARMONY_FACTS})
        element.clear()
    if tag != "EvaluationInputData":  # the root ends last
        return None
    plate = names.get("Name") or names.get("PlateID") or index.parent.parent.name
    return plate, [{**shared.get(image.get("ChannelID", ""), {}), **image} for image in images]


def _harmony_planes(
    index: Path, plate: str, images: list[dict[str, str]], folder: str
) -> Iterator[_Plane]:
    try:
        images.sort(key=lambda image: int(image["ChannelID"]))
        times = sorted({int(image.get("TimepointID", 0)) for image in images})
        starts: dict[tuple[str, ...], float] = {}
        for image in images:
            key = tuple(image.get(name, "") for name in ("Row", "Col", "FieldID", "TimepointID"))
            offset = float(image.get("MeasurementTimeOffset", 0))
            starts[key] = min(offset, starts.get(key, offset))
        for image in images:
            key = tuple(image.get(name, "") for name in ("Row", "Col", "FieldID", "TimepointID"))
            metadata = {
                "plate": plate,
                **well_metadata(int(image["Row"]) - 1, int(image["Col"]) - 1),
            }
            metadata["field"] = image["FieldID"]
            if "MeasurementTimeOffset" in image:
                metadata["time_hours"] = f"{starts[key] / 3600:.6g}"
            if "ImageResolutionX" in image:
                metadata["pixel_size_um"] = f"{float(image['ImageResolutionX']) * 1e6:.6g}"
            yield _Plane(
                path=(PurePosixPath(folder) / image["URL"]).as_posix(),
                channel=image.get("ChannelName") or f"channel_{image['ChannelID']}",
                time=int(image.get("TimepointID", 0)) - times[0],
                z=int(image.get("PlaneID", 1)) - 1,
                metadata=metadata,
            )
    except (KeyError, ValueError) as error:
        raise SourceError(
            f"{index}: an image without {error}; expected a Harmony index with URL, Row, Col, "
            "FieldID and ChannelID of each image; export the plate again"
        ) from None


def _tag(element: ElementTree.Element) -> str:
    return element.tag.rpartition("}")[2]


def _imagexpress(
    source: Path, files: Sequence[str], settings: ConversionSettings, notes: list[str]
) -> Iterator[_Export]:
    indices = _topmost_indices(source, files, ".htd")
    exports: dict[tuple[str, str], list[tuple[str, re.Match[str]]]] = {}
    spare = []
    for path in files:
        match = _IMAGEXPRESS_NAME.fullmatch(PurePosixPath(path).name)
        folder = _export_folder(path)
        indexed = next((root for root in indices if _is_below(path, root)), None)
        if match and (indexed is not None or match["uuid"] or settings.layout == "imagexpress"):
            base = match["base"]
            key = (folder if indexed is None else indexed, base)
            exports.setdefault(key, []).append((path, match))
        elif indexed is not None and PurePosixPath(path).suffix.lower() in TIFF_SUFFIXES:
            spare.append(path)
    if spare:
        notes.append(
            f"{len(spare)} files left out: their names are not of the plate, as {spare[0]}"
        )
    for (folder, base), found in exports.items():
        index = {
            stem.lower(): path for path in indices.get(folder, ()) for stem in [Path(path).stem]
        }.get(base.lower())
        facts = _maker_table(source / index) if index else {}
        planes = _imagexpress_planes(source, folder, base, found, facts)
        if sum(other == folder for other, _ in exports) > 1:
            planes = [replace(plane, export=base) for plane in planes]
        if index:
            notes += _announced(index, facts, planes)
        thumbs = sum(match["thumb"] is not None for _, match in found)
        if thumbs:
            notes.append(f"{thumbs} thumbnails left out in {folder or source.name}")
        members = {path for path, _ in found}
        yield index or (PurePosixPath(folder) / base).as_posix(), folder, members, planes


def _imagexpress_planes(
    source: Path,
    folder: str,
    base: str,
    found: Sequence[tuple[str, re.Match[str]]],
    facts: Mapping[str, Sequence[str]],
) -> list[_Plane]:
    own = PurePosixPath(folder).name or source.resolve().name
    plate = own if base.lower() in own.lower() else f"{base}_{own}"
    whole = [(path, match) for path, match in found if match["thumb"] is None]
    whole.sort(key=lambda item: (int(item[1]["wave"] or 1), natural_key(item[0])))
    channels = _imagexpress_channels(source, whole, facts)
    headers: dict[tuple[str, ...], dict[str, Any]] = {}
    planes = []
    stepped = any(_Z_FOLDER.search(path) for path, _ in whole)
    for path, match in whole:
        step = _Z_FOLDER.search(path)
        if stepped and step is None:
            continue  # a projection that lies beside its planes
        row = 0
        for letter in match["row"].upper():
            row = row * 26 + ord(letter) - ord("A") + 1
        position = {"plate": plate, **well_metadata(row - 1, int(match["column"]) - 1)}
        if match["site"]:
            position["field"] = match["site"]
        time = _TIME_FOLDER.search(path)
        key = (position["well"], match["site"] or "", time[1] if time else "")
        if key not in headers:
            headers[key] = _header(source / path)
        planes.append(
            _Plane(
                path=path,
                channel=channels[int(match["wave"] or 1)],
                time=int(time[1]) - 1 if time else None,
                z=int(step[1]) if step else 0,
                metadata=position | {"key": "\0".join(key)},
            )
        )
    return _with_headers(planes, headers)


def _imagexpress_channels(
    source: Path,
    found: Sequence[tuple[str, re.Match[str]]],
    facts: Mapping[str, Sequence[str]],
) -> dict[int, str]:
    """Names of the wavelengths: of the index, else of the files where they differ, else w1, w2."""
    first: dict[int, str] = {}
    for path, match in found:
        first.setdefault(int(match["wave"] or 1), path)
    names = {wave: (facts.get(f"WaveName{wave}") or [""])[0] for wave in first}
    if not all(names.values()):
        headers = {wave: _header(source / path) for wave, path in first.items()}
        names = {wave: str(headers[wave].get("_IllumSetting_", "")) for wave in first}
    if not all(names.values()) or len(set(names.values())) < len(names):
        return {wave: f"w{wave}" for wave in first}
    return names


def _with_headers(
    planes: Sequence[_Plane], headers: Mapping[tuple[str, ...], Mapping[str, Any]]
) -> list[_Plane]:
    """The planes with time and pixel size as the first file of their image says."""
    moments = {
        key: header["acquisition-time-local"]
        for key, header in headers.items()
        if isinstance(header.get("acquisition-time-local"), datetime)
    }
    start = min(moments.values(), default=None)
    complete = []
    for plane in planes:
        metadata = dict(plane.metadata)
        key = tuple(metadata.pop("key").split("\0"))
        header = headers[key]
        if plane.time is not None and start is not None and key in moments:
            metadata["time_hours"] = f"{(moments[key] - start).total_seconds() / 3600:.6g}"
        if header.get("spatial-calibration-units") == "um":
            metadata["pixel_size_um"] = f"{float(header['spatial-calibration-x']):.6g}"
        complete.append(replace(plane, metadata=metadata))
    return complete


def _header(path: Path) -> dict[str, Any]:
    """What MetaXpress writes into a file about its plane; nothing where it is not its file."""
    try:
        with tifffile.TiffFile(path) as file:
            return dict((file.metaseries_metadata or {}).get("PlaneInfo", {}))
    except Exception:  # decoders raise anything; the file is named where it is read
        return {}


def _announced(
    index: str, facts: Mapping[str, Sequence[str]], planes: Sequence[_Plane]
) -> list[str]:
    """What the index announces and no file has."""
    sentences = []
    channels = {plane.channel for plane in planes}
    count = _number(facts, "NWavelengths")
    names = [(facts.get(f"WaveName{n}") or [f"w{n}"])[0] for n in range(1, count + 1)]
    absent = [name for name in names if name not in channels]
    if absent:
        sentences.append(f"{index} announces channels without files: {', '.join(absent)}")
    times = {plane.time for plane in planes}
    announced = _number(facts, "TimePoints")
    if announced > len(times):
        sentences.append(f"{index} announces {announced} time points, found {len(times)}")
    wells = {plane.metadata["well"] for plane in planes}
    selected = [
        f"{row_letters(row)}{column + 1:02}"
        for row in range(_number(facts, "YWells"))
        for column, chosen in enumerate(facts.get(f"WellsSelection{row + 1}", ()))
        if chosen == "TRUE"
    ]
    lost = [well for well in selected if well not in wells]
    if lost:
        more = f" and {len(lost) - _SHOWN} more" if len(lost) > _SHOWN else ""
        sentences.append(f"{index} announces wells without files: {', '.join(lost[:_SHOWN])}{more}")
    return sentences


def _number(facts: Mapping[str, Sequence[str]], key: str) -> int:
    text = (facts.get(key) or ["0"])[0]
    return int(text) if text.isdecimal() else 0


def _metamorph(
    source: Path, files: Sequence[str], settings: ConversionSettings, notes: list[str]
) -> Iterator[_Export]:
    by_folder: dict[str, list[str]] = {}
    for path in files:
        by_folder.setdefault(PurePosixPath(path).parent.as_posix(), []).append(path)
    for folder, inside in by_folder.items():
        for name in _named(source / folder, ".nd"):
            base = name[: -len(".nd")]
            facts = _maker_table(source / folder / name)
            pattern = re.compile(
                re.escape(base) + _METAMORPH_NAME + r"\.(?:stk|tiff?)", re.IGNORECASE
            )
            planes = []
            for path in inside:
                match = pattern.fullmatch(PurePosixPath(path).name)
                if match is not None:
                    planes.append((int(match["wave"] or 1), path, match))
            planes.sort(key=lambda item: (item[0], natural_key(item[1])))
            if not planes:
                notes.append(f"{name}: none of its files is there")
                continue
            yield (
                (PurePosixPath(folder) / name).as_posix(),
                folder,
                {path for _, path, _ in planes},
                [_metamorph_plane(base, facts, *item) for item in planes],
            )


def _metamorph_plane(
    base: str, facts: Mapping[str, Sequence[str]], wave: int, path: str, match: re.Match[str]
) -> _Plane:
    names = facts.get(f"WaveName{wave}") or [match["name"] or f"w{wave}"]
    position = base
    if match["stage"]:
        stage = (facts.get(f"Stage{match['stage']}") or [""])[0]
        position = f"{base}_s{match['stage']}" + (f"_{stage}" if stage else "")
    time = int(match["time"]) - 1 if match["time"] else None
    return _Plane(path, str(names[0]), time, 0, {"position": position})


def _maker_table(path: Path) -> dict[str, list[str]]:
    """An .HTD or .nd file: a key and its values in each line, as CSV."""
    try:
        text = path.read_text(encoding="latin-1")
    except OSError as error:
        raise SourceError(f"{path}: cannot be read ({error.strerror})") from None
    rows = csv.reader(text.splitlines(), skipinitialspace=True)
    return {row[0]: [value.strip() for value in row[1:]] for row in rows if len(row) > 1}


def _topmost_indices(source: Path, files: Sequence[str], suffix: str) -> dict[str, list[str]]:
    """Folders with an index, none below another: time points repeat the index of their plate."""
    found: dict[str, list[str]] = {}
    folders = set()
    for folder in _folders(files):
        folders |= {folder, *(parent.as_posix() for parent in PurePosixPath(folder).parents)}
    for folder in sorted(folders, key=lambda name: len(PurePosixPath(name).parts)):
        if any(_is_below(f"{folder}/x", root) for root in found):
            continue
        names = _named(source / folder, suffix)
        if names:
            found[folder] = [(PurePosixPath(folder) / name).as_posix() for name in names]
    return found


def _export_folder(path: str) -> str:
    """The folder of a plate above those of its times and z steps."""
    folder = PurePosixPath(path).parent
    while _TIME_FOLDER.fullmatch(folder.name) or _Z_FOLDER.fullmatch(folder.name):
        folder = folder.parent
    return folder.as_posix()


def _is_below(path: str, folder: str) -> bool:
    return folder in (".", "") or path.startswith(f"{folder}/")


def _folders(files: Sequence[str]) -> list[str]:
    return sorted({PurePosixPath(path).parent.as_posix() for path in files}, key=natural_key)


def _named(folder: Path, suffix: str) -> list[str]:
    try:
        names = os.listdir(folder)
    except OSError:
        return []
    return sorted(
        name for name in names if name.lower().endswith(suffix) and not name.startswith(".")
    )
