"""What does a network take for each class? Pictures that raise the score of a class, and how."""

from __future__ import annotations

import csv
import json
import os
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from deadlib._version import __version__
from deadlib.errors import InputError
from deadlib.inputs import ALL, ProgressCallback, Warn, open_input
from deadlib.interpretation import ascent_pictures as pictures
from deadlib.interpretation.ascent import Climbed, Jittered, Published, climb
from deadlib.interpretation.examples import as_seen, verify_shards
from deadlib.interpretation.folder import plain
from deadlib.interpretation.names import OPPOSITE, STARTS, ZEROS
from deadlib.outputs import write_errors
from deadlib.runs import Run
from deadlib.videos import GIF, MP4, can_write_mp4

FIGURE = "class_models.png"
ANIMATION = "ascent.gif"
MOVIE = "ascent.mp4"
TABLE = "scores.csv"
DESCRIPTION = "class_models.json"
CROWDED = 0.1
"""Share of pixels at the limit from which it is mentioned."""


@dataclass(frozen=True)
class ClassModel:
    """One line of scores.csv."""

    file: str
    """Of the picture; the TIFFs have the same name."""
    class_name: str
    start: str
    start_example: str
    """The example that the ascent began with; empty for zeros."""
    start_label: str
    score_before: float
    """Before the softmax, of the class, of the start."""
    score_after: float
    probability_before: float
    probability_after: float
    raised: bool
    at_limit_share: float
    """Share of the values that stand at ± the limit."""


@dataclass(frozen=True)
class _Start:
    kind: str
    class_index: int
    image: NDArray[np.float32]
    example: str = ""
    label: str = ""


def class_models(
    run: Run | str | Path,
    out: str | Path,
    *,
    way: Published | Jittered | None = None,
    starts: Sequence[str] = STARTS,
    classes: Sequence[str] = (),
    source: str | Path | None = None,
    seed: int = 0,
    progress: ProgressCallback | None = None,
    warn: Warn | None = None,
) -> Path:
    """Draw what the network of a run takes for its classes into the folder `out`.

    way: the constants of the ascent; by default those of DeadNet's equation 4. starts: `zeros`, an
    empty image, and `opposite`, an image of another class: one of the training images, drawn by
    `seed`, or of `source`, a dataset or a folder of images. classes: all by default.

    `out` gets class_models.png (a row for each class, a column for each start), ascent.gif, and
    ascent.mp4 where imageio-ffmpeg is installed; each picture as a PNG, a TIFF of 32-bit floats on
    the scale of the network's input and one of 16 bits; scores.csv (`ClassModel`) and
    class_models.json, with the constants and what is to be said of the result. What an earlier
    call left there is replaced. Returns the path of class_models.png.

    Raises InputError where a class, start or source does not fit the run or `out` holds files of
    others, RunError on a damaged run.
    """
    run = run if isinstance(run, Run) else Run.open(run)
    way, out = way or Published(), Path(out)
    _check_names("start", starts, STARTS)
    _check_names("class", classes, run.classes)
    _refuse_foreign(out)
    _check_writable(out)
    chosen = [name for name in run.classes if not classes or name in classes]
    network = run.network()
    begin = _starts(run, network, chosen, starts, source, seed, out, progress, warn)

    def advanced(done: int, total: int) -> None:
        if progress is not None:
            progress("ascent", done, total)

    indices = [start.class_index for start in begin]
    climbed = climb(network, np.stack([each.image for each in begin]), indices, way, advanced)
    sure = [
        np.asarray(keras.ops.softmax(network.predict(images.astype(np.float32), verbose=0)))
        for images in climbed.images
    ]
    probabilities = np.stack(sure)[:, range(len(begin)), indices]
    lines = [
        _line(run, start, climbed, probabilities[:, i], i, way) for i, start in enumerate(begin)
    ]
    with (
        write_errors(out),
        tempfile.TemporaryDirectory(prefix=f".{out.name}.", dir=out.parent) as beside,
    ):
        _write(Path(beside), run, way, starts, lines, climbed, probabilities)
        _move(Path(beside), out)
    return out / FIGURE


def sentences(lines: Sequence[ClassModel], way: Published | Jittered) -> list[str]:
    """What a reader of the pictures has to know: ascents that failed or ran into the limit."""
    said = []
    milder = (
        f"--step {way.step / 10:g}"
        if isinstance(way, Published)
        else f"--total-variation {way.total_variation / 10:g}"
    )
    for line in lines:
        which = f"{line.class_name}, from {line.start}"
        if line.start == ZEROS and line.score_after == line.score_before:
            said.append(
                f"{which}: the score has no slope at an empty image, so no step leads anywhere; "
                f"use --start {OPPOSITE}"
            )
        elif not line.raised:
            said.append(
                f"{which}: the ascent did not raise the score ({line.score_before:.2f} to "
                f"{line.score_after:.2f}): the picture says nothing about the class; try {milder}"
            )
        elif line.probability_after < 0.5:
            said.append(
                f"{which}: the score rose ({line.score_before:.2f} to {line.score_after:.2f}), but "
                f"the network is still not convinced (probability {line.probability_after:.2f}); "
                f"try more --iterations, or another {milder.split()[0]}"
            )
        if line.at_limit_share > CROWDED:
            said.append(
                f"{which}: {line.at_limit_share:.0%} of the values stand at the limit of "
                f"±{way.limit:g}; try {milder}"
            )
    return said


def read_description(out: Path) -> dict[str, Any]:
    """class_models.json of a folder that `class_models` wrote."""
    found: dict[str, Any] = json.loads((out / DESCRIPTION).read_text(encoding="utf-8"))
    return found


def _starts(
    run: Run,
    network: keras.Model,
    classes: Sequence[str],
    kinds: Sequence[str],
    source: str | Path | None,
    seed: int,
    out: Path,
    progress: ProgressCallback | None,
    warn: Warn | None,
) -> list[_Start]:
    """Class by class, in the order of `kinds`."""
    indices = [run.classes.index(name) for name in classes]
    empty = np.zeros(network.input_shape[1:], np.float32)
    found = {(ZEROS, index): _Start(ZEROS, index, empty) for index in indices}
    if OPPOSITE in kinds:
        opposite = _opposites(run, indices, source, seed, out, progress, warn)
        found |= {(OPPOSITE, start.class_index): start for start in opposite}
    return [found[kind, index] for index in indices for kind in kinds]


def _opposites(
    run: Run,
    classes: Sequence[int],
    source: str | Path | None,
    seed: int,
    out: Path,
    progress: ProgressCallback | None,
    warn: Warn | None,
) -> Iterator[_Start]:
    source = source or run.dataset["path"]
    if not Path(source).is_dir():
        raise InputError(
            f"{source}: not found, and the ascent from an image of another class begins with an "
            "image of it; give a dataset or a folder of labelled images with --source, or use "
            "--start zeros"
        )
    converted = out.with_name(f"{out.name}-dataset")
    given = open_input(run, source, converted, progress=progress, warn=warn)
    examples = given.examples("train" if given.is_training_dataset else ALL)
    generator = np.random.default_rng(seed)
    for index in classes:
        others = examples[examples["label"].notna() & (examples["label"] != run.classes[index])]
        if others.empty:
            raise InputError(
                f"{source}: no image of another class than {run.classes[index]} to start from; "
                "give another --source, or use --start zeros"
            )
        row = int(others.index.to_numpy()[generator.integers(len(others))])
        verify_shards(given, examples.loc[[row]])
        seen = as_seen(given, [given.image(row)], np.array([row]))
        example, label = examples.loc[row, ["example_id", "label"]]
        yield _Start(OPPOSITE, index, seen[0], str(example), str(label))


def _line(
    run: Run,
    start: _Start,
    climbed: Climbed,
    probabilities: NDArray[Any],
    number: int,
    way: Published | Jittered,
) -> ClassModel:
    name = run.classes[start.class_index]
    scores = climbed.scores[:, number]
    return ClassModel(
        file=f"{start.class_index + 1}-{plain(name)}-from-{start.kind}.png",
        class_name=name,
        start=start.kind,
        start_example=start.example,
        start_label=start.label,
        score_before=float(scores[0]),
        score_after=float(scores[-1]),
        probability_before=float(probabilities[0]),
        probability_after=float(probabilities[-1]),
        raised=bool(scores[-1] > scores[0]),
        at_limit_share=float((np.abs(climbed.result[number]) >= way.limit).mean()),
    )


def _write(
    folder: Path,
    run: Run,
    way: Published | Jittered,
    kinds: Sequence[str],
    lines: Sequence[ClassModel],
    climbed: Climbed,
    probabilities: NDArray[Any],
) -> None:
    # The value that is white stays the same during an ascent, so that contrast is seen to grow.
    scales = [pictures.scale_of(image) for image in climbed.result]
    frames = [
        _page(run, way, kinds, lines, climbed, probabilities, scales, moment)
        for moment in range(len(climbed.iterations))
    ]
    frames[-1].save(folder / FIGURE)
    pictures.write_ascent(folder / ANIMATION, GIF, frames)
    if can_write_mp4():
        pictures.write_ascent(folder / MOVIE, MP4, frames)
    for line, image, scale in zip(lines, climbed.result, scales, strict=True):
        picture = folder / line.file
        pictures.drawn(image, scale, run.channels).save(picture)
        pictures.write_values(picture.with_suffix(".tif"), image)
        pictures.write_counts(picture.with_name(f"{picture.stem}-16bit.tif"), image, way.limit)
    with (folder / TABLE).open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(asdict(lines[0])))
        writer.writeheader()
        writer.writerows(asdict(line) for line in lines)
    description = {
        "deadlib": __version__,
        "run": str(run.folder),
        "method": type(way).__name__.lower(),
        "constants": asdict(way),
        "sentences": sentences(lines, way),
        "white_is": dict(zip([line.file for line in lines], scales, strict=True)),
        "files": sorted(path.name for path in folder.iterdir()),
    }
    (folder / DESCRIPTION).write_text(json.dumps(description, indent=2) + "\n", encoding="utf-8")


def _page(
    run: Run,
    way: Published | Jittered,
    kinds: Sequence[str],
    lines: Sequence[ClassModel],
    climbed: Climbed,
    probabilities: NDArray[Any],
    scales: Sequence[float],
    moment: int,
) -> Any:
    panels = []
    for i, line in enumerate(lines):
        score, sure = climbed.scores[moment, i], probabilities[moment, i]
        words = (
            f"score {line.score_before:.1f} → {score:.1f}, probability {sure:.2f}",
            f"white is +{scales[i]:.2g}, grey is 0"
            if line.raised
            else "the score did not rise: do not interpret",
        )
        picture = pictures.drawn(climbed.images[moment, i], scales[i], run.channels)
        panels.append(pictures.Panel(picture, words))
    rows = list(dict.fromkeys(line.class_name for line in lines))
    wide = len(kinds)
    return pictures.page(
        [
            f"What does the network take for each class? Run {run.folder.name}, "
            f"{run.recipe.model.name}.",
            f"{_words(way)}.",
            f"Iteration {climbed.iterations[moment]} of {way.iterations}.",
        ],
        [{ZEROS: "from an empty image", OPPOSITE: "from another class"}[kind] for kind in kinds],
        rows,
        [panels[row * wide : (row + 1) * wide] for row in range(len(rows))],
    )


def _words(way: Published | Jittered) -> str:
    if isinstance(way, Jittered):
        return f"Jitter of {way.jitter_px} px, total variation {way.total_variation:g}"
    sign = "−" if way.literal_sign else "+"
    return (
        f"Step {way.step:g}, decay {way.decay:g}, smoothness {sign}{way.smoothness:g}, "
        f"within ±{way.limit:g}"
    )


def _check_names(option: str, given: Sequence[str], known: Sequence[str]) -> None:
    for name in given:
        if name not in known:
            raise InputError(f"--{option} {name}: unknown; expected one of {', '.join(known)}")


def _refuse_foreign(out: Path) -> None:
    """Raise InputError where `out` holds files, but no earlier class models."""
    if not out.exists():
        return
    with write_errors(out):
        names = [path.name for path in out.iterdir() if not path.name.startswith(".")]
    if names and DESCRIPTION not in names:
        raise InputError(
            f"{out}: holds files that deadlib-class-model did not write (no {DESCRIPTION} among "
            "them), expected a new or empty folder, or one of earlier class models; give another "
            "--out"
        )


def _check_writable(out: Path) -> None:
    """Raise WriteError before the work, not after it."""
    with write_errors(out):
        out.parent.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryDirectory(prefix=f".{out.name}.", dir=out.parent).cleanup()


def _move(folder: Path, out: Path) -> None:
    """Replace what an earlier call left; the description, which names all files, comes last."""
    out.mkdir(exist_ok=True)
    if (out / DESCRIPTION).is_file():
        for name in read_description(out)["files"]:
            if Path(name).name == name:
                (out / name).unlink(missing_ok=True)
    for path in sorted(folder.iterdir(), key=lambda path: path.name == DESCRIPTION):
        os.replace(path, out / path.name)
