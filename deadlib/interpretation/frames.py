"""Whole frames: where the network looks, window by window, as one map at full resolution."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from deadlib.acquisition import AS_TOLD_BY_FILES, Acquisition
from deadlib.data.preprocess import fit_size, preprocess_for
from deadlib.data.unit import unit_range
from deadlib.errors import InputError
from deadlib.inputs import AUTO, REFUSE, ProgressCallback, RunInput, Warn, open_input
from deadlib.interpretation import folder, pictures, report
from deadlib.interpretation.consistency import PAIRS, Pairs, consistency
from deadlib.interpretation.examples import pixel_size_um, verify_shards
from deadlib.interpretation.heat import border_share, half_heat_area
from deadlib.interpretation.maps import check_maps, read_map, write_map
from deadlib.interpretation.question import GRADCAM, Question, ask, described
from deadlib.interpretation.stitch import Corner, corners, stitched
from deadlib.outputs import write_errors, written_whole
from deadlib.runs import Run
from deadlib.windows import normalised_with, training_window
from tfrecords_tools.cut import Window, read_window

OVERVIEW_FRAMES = 12
OVERVIEW_SIDE_PX = 352
COMPARED_FRAMES = 8
BRIGHT_PERCENT = 99.9
COMMON_SCALE = "strongest places of all frames"


@dataclass(frozen=True)
class ExplainedFrame:
    """One line of maps.csv: a frame and a class."""

    file: str
    map: str
    """The file of the frame's maps; each class is a plane of it."""
    example_id: str
    split: str
    target: str
    """The class whose evidence is drawn."""
    strongest: float
    """The largest evidence at one place, in units of the score; 0: nothing speaks for the class."""
    border_share: float
    half_heat_area: float
    method: str
    weights: str
    layer: str
    windows: int
    stride_px: int


@dataclass(frozen=True)
class _Frames:
    """What is asked of every frame of one call."""

    given: RunInput
    question: Question
    classes: Sequence[str]
    """Whose evidence is drawn."""
    window_px: tuple[int, int]
    stride_px: int
    batch: int


def explain_frames(
    run: Run | str | Path,
    source: str | Path,
    out: str | Path,
    *,
    split: str = AUTO,
    count: int | None = None,
    stride_px: int | None = None,
    batch: int = 32,
    method: str = GRADCAM,
    weights: str | None = None,
    layer: str | None = None,
    target: str | None = None,
    maps: str = "ome-tiff",
    seed: int = 0,
    on_bad_image: str = REFUSE,
    acquisition: Acquisition = AS_TOLD_BY_FILES,
    progress: ProgressCallback | None = None,
    warn: Warn | None = None,
) -> Path:
    """Draw where the network looks in whole frames, larger than its window; return report.html.

    Windows of the size that the network was trained on are laid over each frame, `stride_px` apart
    (by default half a window), and their maps blended. source: a folder of frames, read as the
    training images were but not cut, or a dataset of whole frames. count: how many, evenly spread;
    by default all. target: the name of a class; by default every class. weights: by default `class`
    for Grad-CAM, so that overlapping windows agree. batch: windows asked at once. maps: `ome-tiff`
    or `tiff`.

    `out` gets, for each frame, a picture with heat per class at the frame's own resolution and a
    file of maps; overview.png, maps.csv (`ExplainedFrame`), report.html, and consistency.json with
    class weights. One colour means the same heat in all frames and classes. Memory does not grow
    with the number of frames.
    Raises as `explain`, and InputError where the window is larger than a frame.
    """
    run = run if isinstance(run, Run) else Run.open(run)
    out = Path(out)
    if (count is not None and count < 1) or batch < 1:
        raise InputError(f"--count {count}, --batch {batch}: expected 1 or more")
    check_maps(maps)
    window_px = training_window(run)
    classes = _asked_classes(run, target)
    folder.refuse_foreign(out)
    converted = out.with_name(f"{out.name}-dataset")
    given = open_input(
        run,
        source,
        converted,
        whole_images=True,
        on_bad_image=on_bad_image,
        acquisition=acquisition,
        progress=progress,
        warn=warn,
    )
    chosen = _spread(given.examples(split), count)
    stride_px = max(1, min(window_px) // 2) if stride_px is None else stride_px
    sizes = chosen[["height_px", "width_px"]].drop_duplicates().to_numpy().tolist()
    for size in sizes:
        corners((size[0], size[1]), window_px, stride_px)
    verify_shards(given, chosen)
    weights = weights or ("class" if method == GRADCAM else "image")
    question = ask(given, layer=layer, method=method, weights=weights, progress=progress, warn=warn)
    frames = _Frames(given, question, classes, window_px, stride_px, batch)
    folder.start(out)
    lines, bright = _write_maps(frames, chosen, out, maps, _ticker(progress, "frames", len(chosen)))
    thumbnails = _draw(frames, lines, bright, out, _ticker(progress, "pictures", len(lines)))
    title = _title(run, question, classes)
    sheet = pictures.sheet(thumbnails, title, side_px=OVERVIEW_SIDE_PX, strongest=COMMON_SCALE)
    with write_errors(out):
        sheet.save(out / folder.OVERVIEW)
    pairs = None if question.class_weights is None else _neighbours(frames, chosen, seed)
    seen = f"{window_px[0]} x {window_px[1]} px, every {stride_px} px"
    return report.write(
        out,
        [asdict(line) for line in lines],
        title=title[0],
        caption=title[1],
        facts=described(given, question) | {"windows": seen},
        agreed=None if pairs is None else consistency(question, pairs),
    )


def _asked_classes(run: Run, target: str | None) -> list[str]:
    if target is not None and target not in run.classes:
        raise InputError(
            f"--target {target}: of whole frames, expected a class of the run: "
            f"{', '.join(run.classes)}; leave it out for all of them"
        )
    return run.classes if target is None else [target]


def _spread(frames: pd.DataFrame, count: int | None) -> pd.DataFrame:
    """At most `count` frames, evenly spread over all."""
    if count is None or count >= len(frames):
        return frames
    return frames.iloc[np.linspace(0, len(frames) - 1, count).round().astype(int)]


def _ticker(progress: ProgressCallback | None, stage: str, total: int) -> Callable[[int], None]:
    return lambda done: None if progress is None else progress(stage, done, total)


def _write_maps(
    frames: _Frames, chosen: pd.DataFrame, out: Path, kind: str, tick: Callable[[int], None]
) -> tuple[list[ExplainedFrame], float]:
    """Write the maps of each frame. Returns their lines, and the heat that is drawn brightest."""
    given, question = frames.given, frames.question
    class_index = [given.run.classes.index(name) for name in frames.classes]
    about = described(given, question)
    lines: list[ExplainedFrame] = []
    bright = 0.0
    for number, (row, example) in enumerate(chosen.iterrows(), start=1):
        frame = _frame(given, int(str(row)))
        shape = (frame.shape[0], frame.shape[1])
        windows = corners(shape, frames.window_px, frames.stride_px)

        def heat_of(part: list[Corner], frame: np.ndarray = frame) -> np.ndarray:
            return question.heat_for_each(_seen(frames, frame, part), class_index)

        heat = stitched(heat_of, windows, shape, frames.window_px, frames.batch)
        stem = folder.file_stem(number, example["example_id"])
        path = folder.map_path(out, stem, kind)
        planes = np.moveaxis(heat, -1, 0)
        write_map(path, planes, frames.classes, about=about, pixel_size_um=pixel_size_um(given))
        bright = max(bright, float(np.percentile(heat, BRIGHT_PERCENT)))
        lines += [
            ExplainedFrame(
                file=f"{stem}-{folder.plain(name)}.png",
                map=path.name,
                example_id=example["example_id"],
                split=example["split"],
                target=name,
                strongest=float(plane.max()),
                border_share=border_share(plane),
                half_heat_area=half_heat_area(plane),
                method=question.method,
                weights=question.weights,
                layer=question.layer,
                windows=len(windows),
                stride_px=frames.stride_px,
            )
            for name, plane in zip(frames.classes, planes, strict=True)
        ]
        tick(number)
    return lines, bright


def _draw(
    frames: _Frames,
    lines: Sequence[ExplainedFrame],
    bright: float,
    out: Path,
    tick: Callable[[int], None],
) -> list[pictures.Picture]:
    """Write the picture of each line, in colours of one scale. Returns some, small, by class."""
    given = frames.given
    row_of = {name: row for row, name in given.dataset.manifest["example_id"].items()}
    found = list(dict.fromkeys(line.example_id for line in lines))
    places = np.linspace(0, len(found) - 1, min(len(found), OVERVIEW_FRAMES)).round().astype(int)
    shown = {found[place] for place in places}
    thumbnails = []
    for number, line in enumerate(lines, start=1):
        image = given.image(int(str(row_of[line.example_id])))
        plane = read_map(out / line.map)[list(frames.classes).index(line.target)]
        colours = pictures.as_colours(image, given.run.channels)
        grey = pictures.enlarged(colours, plane.shape)
        overlay = pictures.with_heat(grey, np.minimum(plane / max(bright, 1e-12), 1))
        with written_whole(out / line.file) as partial:
            overlay.save(partial, format="PNG")
        if line.example_id in shown:
            picture = pictures.Picture(
                image=grey,
                overlay=overlay,
                name=line.example_id,
                verdict=f"strongest {line.strongest:.3g}",
                right=None,
                heading=f"heat for {line.target}",
            )
            thumbnails.append(pictures.thumbnail(picture, OVERVIEW_SIDE_PX))
        tick(number)
    return sorted(thumbnails, key=lambda each: each.heading)


def _frame(given: RunInput, row: int) -> np.ndarray:
    """A whole frame (H, W, C) float32 in unit range, corrected for its plate."""
    image = unit_range(given.image(row))
    return given.corrected(image[None], np.array([row]))[0]


def _seen(frames: _Frames, frame: np.ndarray, windows: Sequence[Corner]) -> np.ndarray:
    """What the network gets of windows of a frame: (B, rows, columns, C) float32.

    Where statistics are those of the stored image around the window, as much is cut out, beyond the
    frame's border its mirror image.
    """
    run = frames.given.run
    section = run.recipe.input
    rows, columns = normalised_with(run) if section.fit == "crop" else frames.window_px
    above, before = (rows - frames.window_px[0]) // 2, (columns - frames.window_px[1]) // 2
    cut = [
        read_window(frame, Window(top - above, left - before, rows, columns))
        for top, left in windows
    ]
    fitted = np.stack([np.asarray(fit_size(each, section)) for each in cut])
    return np.asarray(preprocess_for(section, run.dataset)(fitted), np.float32)


def _neighbours(frames: _Frames, chosen: pd.DataFrame, seed: int) -> Pairs | None:
    """Pairs of neighbouring windows of some frames; None where windows do not overlap."""
    generator = np.random.default_rng(seed)
    found: list[tuple[np.ndarray, np.ndarray]] = []
    shifts: list[tuple[int, int]] = []
    compared = _spread(chosen, COMPARED_FRAMES)
    for row in compared.index:
        frame = _frame(frames.given, int(row))
        windows = corners((frame.shape[0], frame.shape[1]), frames.window_px, frames.stride_px)
        pairs = _next_to(windows, frames.stride_px, frames.window_px)
        for place in generator.permutation(len(pairs))[: -(-PAIRS // len(compared))]:
            first, second = pairs[place]
            seen = _seen(frames, frame, [first, second])
            found.append((seen[0], seen[1]))
            shifts.append((second[0] - first[0], second[1] - first[1]))
    if not found:
        return None
    first_seen, second_seen = (np.stack(side) for side in zip(*found, strict=True))
    return Pairs(first_seen, second_seen, np.array(shifts), frames.window_px)


def _next_to(
    windows: Sequence[Corner], stride_px: int, window_px: tuple[int, int]
) -> list[tuple[Corner, Corner]]:
    """Windows that lie one stride apart, below or beside each other, and overlap."""
    there = set(windows)
    steps = [
        step
        for step, side in zip(((stride_px, 0), (0, stride_px)), window_px, strict=True)
        if stride_px < side
    ]
    return [
        ((top, left), (top + down, left + right))
        for top, left in windows
        for down, right in steps
        if (top + down, left + right) in there
    ]


def _title(run: Run, question: Question, classes: Sequence[str]) -> list[str]:
    return [
        f"Which places of the frames speak for {' and for '.join(classes)}? Run {run.folder.name}, "
        f"{run.recipe.model.name}, layer {question.layer}.",
        f"Left the frame, right the same with heat ({question.method}); one colour means the same "
        "in all frames.",
    ]
