"""Files that hold many images as one source image per field and time; channels by their names."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath

from tfrecords_tools.container import Container, Scene, containers, is_container
from tfrecords_tools.errors import ImageError, SourceError
from tfrecords_tools.locator import Locator
from tfrecords_tools.pool import Progress
from tfrecords_tools.settings import ConversionSettings
from tfrecords_tools.sources import Problem, SourceImage

Images = dict[str, SourceImage]

_FILES_SHOWN = 3
# What programs write for a channel that has no name; longer numbers are wavelengths.
_NO_NAME = re.compile(r"(?:channel|ch|c)[ _:-]?\d+(?::\d+)*|\d{1,2}", re.IGNORECASE)


def expanded(
    source: Path,
    images: Mapping[str, SourceImage],
    settings: ConversionSettings,
    problems: list[Problem],
    progress: Progress | None = None,
) -> Images:
    """The images with every file that holds many as one image per scene and time.

    Pixels are not read. Files that cannot be opened stay as they are, and are named where they are
    read. Raises SourceError where files hold z planes or pages and the settings do not say what to
    make of them.
    """
    found: Images = {}
    claimed: set[str] = set()
    undecided: dict[str, dict[str, str]] = {}
    for number, (source_id, image) in enumerate(images.items()):
        if progress is not None and number % 100 == 0:
            progress("listing files", number, len(images))
        if claimed.intersection(image.paths):
            continue
        listings = [_listing(source, path) for path in image.paths]
        if not all(listings):
            found[source_id] = image
            continue
        scenes = [
            [_with_pages(s, settings.pages) for s in listed[0]] for listed in listings if listed
        ]
        odd = _odd_file(image.paths, scenes)
        if odd is not None:
            problems.append(Problem(source_id, odd))
            continue
        for path, listed in zip(image.paths, listings, strict=True):
            _claim(source, path, listed[1] if listed else (), claimed, problems)
        too_few = [
            s.planes for found_scenes in scenes for s in found_scenes if _lacks(s, settings.z)
        ]
        if too_few:
            reason = f"no z plane {settings.z}; it has 1 to {min(too_few)}; choose another"
            problems.append(Problem(source_id, reason))
            continue
        wanting = _undecided([scene for found in scenes for scene in found], settings)
        if wanting is not None:
            undecided.setdefault(wanting[0], {})[image.paths[0]] = wanting[1]
        found |= _frames(source_id, image, scenes, settings)
    if progress is not None:
        progress("listing files", len(images), len(images))
    containers.close()
    if undecided:
        raise SourceError(
            "; ".join(
                choice_needed(option, files, "file holds", "files hold")
                for option, files in undecided.items()
            )
        )
    return found


def with_channels(
    images: Mapping[str, SourceImage],
    settings: ConversionSettings,
    problems: list[Problem],
    notes: list[str],
) -> tuple[Images, tuple[str, ...]]:
    """The images with the channels that the settings name, in their order, and these names.

    Without names in the settings all channels that the files name, in the order of the files.
    Images whose file names no channels stay as they are. Raises SourceError for a channel that no
    file has.
    """
    named = {name: None for image in images.values() for name in image.channels}
    if not named:
        return dict(images), settings.channels
    wanted = settings.channels or tuple(named)
    unknown = [name for name in wanted if name not in named]
    if unknown and len(wanted) == len(named) == 1:
        notes.append(f"the only channel, {', '.join(named)} in the files, is called {wanted[0]}")
        return dict(images), wanted
    if unknown:
        raise SourceError(
            f"--channels names {', '.join(unknown)}, but no file has it; the files have "
            f"{', '.join(named)}"
        )
    dropped = [name for name in named if name not in wanted]
    if dropped:
        notes.append(f"channels left out, as --channels does not name them: {', '.join(dropped)}")
    chosen: Images = {}
    for source_id, image in images.items():
        missing = [name for name in wanted if name not in image.channels]
        if image.channels and missing:
            present = ", ".join(image.channels)
            reason = (
                f"channel {', '.join(missing)} is missing (found: {present}); add the file, or "
                "choose channels that all have with --channels"
            )
            problems.append(Problem(source_id, reason))
            continue
        chosen[source_id] = _chosen(image, wanted) if image.channels else image
    return chosen, wanted


def _chosen(image: SourceImage, wanted: Sequence[str]) -> SourceImage:
    places = tuple(image.channels.index(name) for name in wanted)
    paths: tuple[str, ...]
    if len(image.paths) == 1:
        locator = Locator.parse(image.paths[0])
        whole = places == tuple(range(len(image.channels)))
        paths = image.paths
        if not whole:
            paths = (str(replace(locator, channels=places)),)
    else:
        paths = tuple(image.paths[place] for place in places)
    return image._replace(paths=paths, channels=tuple(wanted))


def _listing(source: Path, path: str) -> tuple[tuple[Scene, ...], tuple[str, ...]] | None:
    """Scenes and companions of a file; None where there is nothing to list."""
    if not is_container(Path(path)):
        return None
    try:
        container: Container = containers.open(source / path)
    except ImageError:
        return None
    return container.scenes, container.companions


def _with_pages(scene: Scene, pages: str | None) -> Scene:
    """The scene with its unnamed pages as what the settings say they are."""
    if scene.pages == 1 or pages is None:
        return scene
    count = scene.pages
    if pages == "time" and scene.frames == 1:
        return replace(scene, frames=count, pages=1)
    if pages == "z" and scene.planes == 1:
        return replace(scene, planes=count, pages=1)
    if pages == "channel" and scene.channels == 1:
        return replace(scene, channels=count, pages=1)
    return scene


def _odd_file(paths: Sequence[str], scenes: Sequence[Sequence[Scene]]) -> str | None:
    """Why the channel files of one image do not belong together, or None."""
    shapes = [[scene.frames for scene in found] for found in scenes]
    for path, shape, found in zip(paths, shapes, scenes, strict=True):
        if shape != shapes[0]:
            return (
                f"{path} holds {_in_words(found)}, but {paths[0]}, another channel of the same "
                f"image, {_in_words(scenes[0])}; export both alike"
            )
    return None


def _in_words(scenes: Sequence[Scene]) -> str:
    if len(scenes) > 1:
        return f"{len(scenes)} scenes"
    return f"{scenes[0].frames} frames"


def _claim(
    source: Path,
    path: str,
    companions: Sequence[str],
    claimed: set[str],
    problems: list[Problem],
) -> None:
    """Files of one OME-TIFF in several: they are read through its first file."""
    for name in companions:
        other = (PurePosixPath(path).parent / name).as_posix()
        claimed.add(other)
        if not (source / other).is_file():
            problems.append(Problem(other, f"{path} names it as part of its images; add the file"))


def _lacks(scene: Scene, z: str | None) -> bool:
    """Whether a stack has too few planes for the one that is asked for."""
    return scene.planes > 1 and z is not None and z.isdecimal() and int(z) > scene.planes


def _undecided(scenes: Sequence[Scene], settings: ConversionSettings) -> tuple[str, str] | None:
    """The option that decides what the file's images are, and what there is to decide on."""
    for scene in scenes:
        if scene.pages > 1:
            return "--pages", f"{scene.pages} pages"
        if scene.planes > 1 and settings.z is None:
            return "--z", f"{scene.planes} planes"
    return None


def choice_needed(option: str, files: Mapping[str, str], one: str, several: str) -> str:
    """What to choose by this option, for files that each hold what is said of them."""
    shown = ", ".join(f"{path} ({what})" for path, what in list(files.items())[:_FILES_SHOWN])
    more = ", …" if len(files) > _FILES_SHOWN else ""
    number = f"1 {one}" if len(files) == 1 else f"{len(files)} {several}"
    if option == "--z":
        return (
            f"{number} several z planes: {shown}{more}; choose with --z: the number of a plane "
            "from 1, max, mean, or focus (the sharpest plane)"
        )
    return (
        f"{number} pages of which the file does not say what they are: {shown}{more}; say it with "
        "--pages: time, z or channel"
    )


def _frames(
    source_id: str,
    image: SourceImage,
    scenes: Sequence[Sequence[Scene]],
    settings: ConversionSettings,
) -> Images:
    """One image per scene and time of a file, or of one file per channel."""
    found: Images = {}
    first = scenes[0]
    for place, scene in enumerate(first):
        number = place if len(first) > 1 else None
        position = f"{source_id}#scene={place}" if len(first) > 1 else source_id
        for time in range(scene.frames):
            frame = time if scene.frames > 1 else None
            paths = tuple(
                str(_locator(path, others[place], number, frame, settings))
                for path, others in zip(image.paths, scenes, strict=True)
            )
            # What names and the user say stands before what the file says.
            own = {"scene": scene.name} if number is not None and scene.name else {}
            parts = {**own, **scene.metadata, **_time(scene, time), **image.parts}
            found[str(Locator((source_id,), scene=number, time=frame))] = SourceImage(
                paths=paths,
                parts=parts,
                channels=image.channels or (_names(scene) if len(paths) == 1 else ()),
                position=position if number is not None or frame is not None else None,
            )
    return found


def _locator(
    path: str, scene: Scene, number: int | None, frame: int | None, settings: ConversionSettings
) -> Locator:
    pages = settings.pages == "channel" and scene.channels > 1 and not scene.channel_names
    return Locator(
        (path,),
        scene=number,
        time=frame,
        z=settings.z if scene.planes > 1 else None,
        channels=tuple(range(scene.channels)) if pages else None,
    )


def _time(scene: Scene, time: int) -> dict[str, str]:
    if scene.frames == 1:
        return {}
    hours = {"time_hours": f"{scene.hours[time]:.6g}"} if scene.hours else {}
    return {"time_index": str(time), **hours}


def _names(scene: Scene) -> tuple[str, ...]:
    """Channel names where the file has real and different ones."""
    names = scene.channel_names
    generic = all(_NO_NAME.fullmatch(name) for name in names)
    return () if generic or len(set(names)) < len(names) else names
