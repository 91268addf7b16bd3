"""Images cut into tiles on disk, under the names and with the pixels of the celldeath slicer.

A tile of `a/b.png` is `a/b.png_ROW_COLUMN.png`. Where a part is set apart as test, whole images
move, never tiles of one image: what may be parted, and what is held out, a conversion's plan says.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from tfrecords_tools.cut import WINDOW, Window, read_window
from tfrecords_tools.encodings import encode_image
from tfrecords_tools.errors import DatasetError, PlanError, WriteError
from tfrecords_tools.images import read_stack
from tfrecords_tools.pattern import CelldeathNames
from tfrecords_tools.plan import Plan, make_plan
from tfrecords_tools.pool import Progress, Workers, run_tasks
from tfrecords_tools.settings import SPLITS, ConversionSettings
from tfrecords_tools.shards import write_whole
from tfrecords_tools.sources import find_images

TRAIN, _, TEST = SPLITS


@dataclass(frozen=True)
class Slicing:
    """The tiles of a folder, and where each goes.

    folders: split -> folder below OUT; plan: the conversion's plan, with its audit.
    """

    plan: Plan
    folders: dict[str, str]

    @property
    def tiles(self) -> dict[str, tuple[str, Window]]:
        """Path below OUT -> the image that it is cut from, and the window there."""
        rows = self.plan.examples
        columns = [rows[name] for name in ("split", "source_id", "example_id", *WINDOW)]
        found = {}
        for split, source_id, name, top, left, height, width in zip(*columns, strict=True):
            path = PurePosixPath(self.folders[split]) / f"{name}.png"
            found[path.as_posix()] = (source_id, Window(top, left, height, width))
        return found


def plan_slicing(
    source: str | Path,
    grid: tuple[int, int],
    *,
    share: float | None = None,
    hold_out: tuple[str, ...] = (),
    split_by: tuple[str, ...] = (),
    join_similar: bool = False,
    pattern: str | None = None,
    seed: int = 0,
    workers: Workers = 1,
    progress: Progress | None = None,
) -> Slicing:
    """Plan the tiles of every image below `source`, its subfolders included.

    Args:
        source: folder of images with 8 or 16 bits and 1 or 3 channels.
        grid: rows and columns; `cut.grid_of` gives those of 2, 4, 6 and 8 tiles.
        share: of the images, whole ones, that goes to `test`; the rest to `train`.
        hold_out: `column=value` of what goes to `test` instead.
        split_by: columns whose values are not torn apart; by default wells where names tell them,
            else images.
        join_similar: images that show the same cells are not torn apart either.
        pattern: how metadata stands in the names; by default `celldeath` where it fits them all.
        seed: decides which images a share takes.
        workers, progress: as in `make_plan`.

    Raises what `make_plan` raises; PlanError also for a share beside held-out images, or images
    that a PNG cannot hold.
    """
    source = Path(source)
    if share is not None and hold_out:
        raise PlanError("a share and held-out images both say what is test; choose one")
    if share is not None and not 0 < share < 1:
        raise PlanError(f"share {share:g}: expected more than 0 and less than 1, such as 0.2")
    apart = share is not None or bool(hold_out)
    plan = make_plan(
        source,
        ConversionSettings(
            labels="none",
            labels_required=False,
            pattern=pattern or _fitting_pattern(source),
            tile=grid,
            split_by=split_by,
            join_similar=join_similar,
            find_similar=apart,
            hold_out=hold_out,
            fractions=(1 - share, 0.0, share) if share is not None else (1.0, 0.0, 0.0),
            seed=seed,
        ),
        workers=workers,
        progress=progress,
    )
    if len(plan.channels) not in (1, 3) or "float32" in plan.facts["dtypes"]:
        raise PlanError(
            f"{source}: images of {len(plan.channels)} channels, {', '.join(plan.facts['dtypes'])};"
            " tiles are PNG files, which hold 1 or 3 channels of 8 or 16 bits: deadlib-convert "
            "--tile cuts any image"
        )
    return Slicing(plan, {TRAIN: TRAIN, TEST: TEST} if apart else {TRAIN: "."})


def _fitting_pattern(source: Path) -> str | None:
    names = CelldeathNames()
    return "celldeath" if all(names.match(path) for path in find_images(source)) else None


class _Task(NamedTuple):
    out: Path
    paths: tuple[Path, ...]
    tiles: tuple[tuple[str, Window], ...]


def write_tiles(
    slicing: Slicing, out: str | Path, *, workers: Workers = 1, progress: Progress | None = None
) -> int:
    """Write the tiles into `out`, which may be missing, empty, or hold some of these very tiles.

    Returns how many there are. Each file is there whole or not at all; the same call goes on where
    one was stopped. Raises DatasetError where `out` holds other files, as a tile from an earlier
    slicing could stand in train and test then, and WriteError where the disk refuses.
    """
    out, tiles = Path(out), slicing.tiles
    if out.resolve().is_relative_to(slicing.plan.source.resolve()):
        raise PlanError(
            f"{out}: lies inside {slicing.plan.source}, so the next slicing would cut tiles of "
            "tiles; give a folder beside it"
        )
    if out.exists() and not out.is_dir():
        raise PlanError(f"{out}: a file, expected a new or empty folder; give another name")
    foreign = [path for path in _files(out) if path not in tiles]
    if foreign:
        raise DatasetError(
            f"{out}: holds {foreign[0]}{' and other files' if len(foreign) > 1 else ''}, which "
            "this command does not write; give a new or empty folder"
        )
    done = 0

    def finished(count: int) -> None:
        nonlocal done
        done += count
        if progress is not None:
            progress("writing tiles", done, len(tiles))

    try:
        run_tasks(_write_image, _tasks(slicing, out), workers=workers, finished=finished)
    except OSError as error:
        raise WriteError(
            f"{error.filename or out}: cannot be written ({error.strerror or error}); make room or "
            "make the folder writable, and start the same command again"
        ) from None
    return len(tiles)


def _files(folder: Path) -> Iterator[str]:
    for path in sorted(folder.rglob("*")) if folder.is_dir() else ():
        if path.is_file() and not path.name.endswith(".partial"):
            yield path.relative_to(folder).as_posix()


def _tasks(slicing: Slicing, out: Path) -> Iterator[_Task]:
    """The tiles of one image after another, as an image is read once."""
    plan = slicing.plan
    rows = plan.examples.drop_duplicates("source_id")
    paths = dict(zip(rows["source_id"], rows["source_paths"], strict=True))
    of_image: dict[str, list[tuple[str, Window]]] = {}
    for tile, (source_id, window) in slicing.tiles.items():
        of_image.setdefault(source_id, []).append((tile, window))
    source = plan.source.absolute()
    for source_id, tiles in of_image.items():
        files = tuple(source / path for path in paths[source_id])
        yield _Task(out.absolute(), files, tuple(tiles))


def _write_image(task: _Task) -> int:
    image = read_stack(task.paths)
    for name, window in task.tiles:
        path = task.out / name
        path.parent.mkdir(parents=True, exist_ok=True)
        data = encode_image(read_window(image, window), "png")
        write_whole(path, bytes(data), path.parent)
    return len(task.tiles)
