"""Every source image decoded once: what it is, whether it can be used, whether it fits the rest."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from tfrecords_tools.errors import ImageError, PlanError
from tfrecords_tools.images import ImageFacts, examine
from tfrecords_tools.journal import Journal
from tfrecords_tools.pool import Workers, run_tasks
from tfrecords_tools.settings import ConversionSettings
from tfrecords_tools.sources import Problem

# Starting processes takes longer than looking at so few images, and so does looking up notes.
_IMAGES_WORTH_A_POOL = 200
_IMAGES_PER_TASK = 16
_NEARLY_ALL = 0.9

_DEFAULT_CHANNELS = {1: ("intensity",), 3: ("red", "green", "blue")}


class _Task(NamedTuple):
    source: Path
    images: tuple[tuple[str, tuple[str, ...]], ...]
    sketched: bool


def examine_images(
    source: Path,
    images: Mapping[str, tuple[str, ...]],
    *,
    sketched: bool = False,
    workers: Workers = 1,
    journal: Journal | None = None,
    progress: Callable[[str, int, int], None] | None = None,
) -> tuple[dict[str, ImageFacts], list[Problem]]:
    """Facts by source id, and a problem for each image that cannot be read.

    Few images are looked at here and now; of many, the facts are kept in the journal and those
    that it knows are taken from there. Problems are never kept. `sketched`: with the sketches that
    similar images are found by.
    """
    found: dict[str, ImageFacts | str] = {}

    def collect(results: list[tuple[str, ImageFacts | str]]) -> None:
        found.update(results)
        if journal is not None:
            journal.note([(images[key], f) for key, f in results if isinstance(f, ImageFacts)])
        if progress is not None and len(found) < len(images):
            progress("looking at images", len(found), len(images))

    if len(images) < _IMAGES_WORTH_A_POOL:
        workers, journal = 1, None
    tasks = _tasks(source.absolute(), images, journal, found, sketched)
    run_tasks(_examine_task, tasks, workers=workers, finished=collect)
    if progress is not None:
        progress("looking at images", len(found), len(images))
    facts = {key: found[key] for key in images}
    problems = [Problem(key, fact) for key, fact in facts.items() if isinstance(fact, str)]
    return {key: fact for key, fact in facts.items() if isinstance(fact, ImageFacts)}, problems


def _tasks(
    source: Path,
    images: Mapping[str, tuple[str, ...]],
    journal: Journal | None,
    found: dict[str, ImageFacts | str],
    sketched: bool,
) -> Iterator[_Task]:
    """Tasks for the images that are not in the journal yet; what it knows goes to `found`."""
    waiting: list[tuple[str, tuple[str, ...]]] = []
    items = list(images.items())
    for place, (key, paths) in enumerate(journal.in_order(items) if journal else items):
        if journal is not None:
            if place % _IMAGES_PER_TASK == 0:
                journal.read_news()
            known = journal.recall(paths)
            if known is not None and (known.sketch is not None or not sketched):
                found[key] = known
                continue
        waiting.append((key, paths))
        if len(waiting) == _IMAGES_PER_TASK:
            yield _Task(source, tuple(waiting), sketched)
            waiting = []
    if waiting:
        yield _Task(source, tuple(waiting), sketched)


def channel_names(settings: ConversionSettings, facts: Mapping[str, ImageFacts]) -> tuple[str, ...]:
    """The names given, or intensity; red, green, blue; channel_1 and so on.

    Raises PlanError where no image has as many channels as there are names.
    """
    counts = Counter(fact.channels for fact in facts.values())
    if not settings.channels:
        count = counts.most_common(1)[0][0]
        numbered = tuple(f"channel_{number + 1}" for number in range(count))
        return _DEFAULT_CHANNELS.get(count, numbered)
    if len(settings.channels) not in counts:
        found = " or ".join(str(count) for count in sorted(counts))
        raise PlanError(
            f"--channels names {len(settings.channels)} ({', '.join(settings.channels)}), but the "
            f"images have {found}; give one name for each channel, in order"
        )
    return settings.channels


def odd_ones(
    facts: Mapping[str, ImageFacts], settings: ConversionSettings, channels: int
) -> list[Problem]:
    """Images that do not fit the others.

    The number of channels must always agree. Size (of whole images and tiles) and bit depth may
    vary, but where all images but one, or more than 90 %, are alike, the others are taken for
    mistakes unless `allow_mixed`. Boxes are cut from images of any size and depth.
    """
    problems = [
        Problem(key, f"{fact.channels} channels, expected {channels}, as the others; convert it")
        for key, fact in facts.items()
        if fact.channels != channels
    ]
    if settings.allow_mixed or settings.labels == "boxes":
        return problems
    advice = "export it as the others, or accept it with --allow-mixed"
    depths = {key: fact.dtype for key, fact in facts.items()}
    problems += [
        Problem(key, f"{depths[key]} pixels, expected {usual}, as the others; {advice}")
        for key, usual in _odd(depths).items()
    ]
    if settings.crop_px is None and settings.labels != "annotations":
        sizes = {
            key: f"{fact.height_px} x {fact.width_px} px (rows x columns)"
            for key, fact in facts.items()
        }
        problems += [
            Problem(key, f"{sizes[key]}, expected {usual}, as the others; {advice}")
            for key, usual in _odd(sizes).items()
        ]
    return problems


def summary(facts: Mapping[str, ImageFacts], channels: Sequence[str]) -> dict[str, Any]:
    """Intensity ranges by channel, sizes and data types of the images, as JSON values."""
    dtypes = Counter(fact.dtype for fact in facts.values())
    sizes = Counter((fact.height_px, fact.width_px) for fact in facts.values())
    return {
        "intensity": {
            name: {
                "low": min(fact.low[place] for fact in facts.values()),
                "high": max(fact.high[place] for fact in facts.values()),
                "dtypes": sorted(dtypes),
            }
            for place, name in enumerate(channels)
        },
        "sizes": [
            {"height_px": height, "width_px": width, "images": count}
            for (height, width), count in sorted(
                sizes.items(), key=lambda item: (-item[1], item[0])
            )
        ],
        "dtypes": dict(sorted(dtypes.items())),
    }


def is_blank(fact: ImageFacts) -> bool:
    """Whether every channel has one value only: nothing by which two images could be the same."""
    return fact.low == fact.high


def _odd(values: Mapping[str, str]) -> dict[str, str]:
    """The keys that deviate from what nearly all have, with what those have."""
    if not values:
        return {}
    usual, count = Counter(values.values()).most_common(1)[0]
    others = len(values) - count
    nearly_all = count > 1 and (others == 1 or count > _NEARLY_ALL * len(values))
    return {key: usual for key, value in values.items() if value != usual} if nearly_all else {}


def _examine_task(task: _Task) -> list[tuple[str, ImageFacts | str]]:
    return [(key, _examine_one(task.source, paths, task.sketched)) for key, paths in task.images]


def _examine_one(source: Path, paths: Sequence[str], sketched: bool) -> ImageFacts | str:
    try:
        return examine([source / path for path in paths], sketched)
    except ImageError as error:
        # The message names the file by its whole path; the list of problems names it already.
        text = str(error)
        return text.removeprefix(f"{source / paths[0]}: ") if len(paths) == 1 else text
