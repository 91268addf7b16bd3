"""Choose examples, ask the network where it looked, and lay the answer over the images."""

from __future__ import annotations

import csv
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import keras
import numpy as np
import pandas as pd

from deadlib.data.preprocess import fit_size, preprocess_for
from deadlib.data.unit import unit_range
from deadlib.errors import InputError
from deadlib.inputs import (
    AUTO,
    REFUSE,
    ProgressCallback,
    RunInput,
    Warn,
    open_input,
    spread_over_labels,
)
from deadlib.interpretation import gradcam, pictures
from deadlib.models import last_convolution
from deadlib.outputs import write_errors, written_whole
from deadlib.recipe import InputSection
from deadlib.runs import Run

OVERVIEW = "overview.png"
TABLE = "maps.csv"
PREDICTED = "predicted"
LABEL = "label"
BATCH = 16
LONGEST_NAME = 60

_PICTURE = re.compile(r"\d{2,}-.*\.png|overview\.png")


@dataclass(frozen=True)
class Explained:
    """One line of maps.csv."""

    file: str
    example_id: str
    split: str
    label: str | None
    predicted: str
    probability: float
    """Of the predicted class."""
    target: str
    """The class whose evidence is drawn."""
    target_probability: float
    strongest: float
    """The largest evidence at one place, in units of the score; 0: nothing speaks for the class."""
    border_share: float
    half_heat_area: float
    """Both of the window that the network saw."""


def explain(
    run: Run | str | Path,
    source: str | Path,
    out: str | Path,
    *,
    split: str = AUTO,
    count: int = 16,
    layer: str | None = None,
    target: str = PREDICTED,
    seed: int = 0,
    on_bad_image: str = REFUSE,
    progress: ProgressCallback | None = None,
    warn: Warn | None = None,
) -> Path:
    """Draw Grad-CAM maps of `count` examples into the folder `out`; return its overview.png.

    The examples are drawn at random by `seed`, as many of each class as there are. target: whose
    evidence is drawn, `predicted`, `label`, or the name of a class. layer: by default the last
    feature map. `out` gets one picture per example (image, and image with heat), overview.png with
    all of them, and maps.csv with a line for each (`Explained`, `gradcam.border_share`,
    `gradcam.half_heat_area`). What an earlier call left there is replaced.
    on_bad_image: `refuse`, or `skip` images of a folder that cannot be used. `warn` (by default a
    UserWarning) tells of these, and of labels that the run does not know.

    Raises InputError where images, layer or target do not fit the run or `out` holds files of
    others, RunError on a damaged run, DatasetError on a damaged dataset.
    """
    run = run if isinstance(run, Run) else Run.open(run)
    out = Path(out)
    if count < 1:
        raise InputError(f"--count {count}: expected 1 or more")
    _refuse_foreign(out)
    converted = out.with_name(f"{out.name}-dataset")
    given = open_input(
        run, source, converted, on_bad_image=on_bad_image, progress=progress, warn=warn
    )
    examples = _known_target(given.examples(split), target, run)
    chosen = spread_over_labels(examples, count, seed)
    _verify_shards(given, chosen)
    network = run.network()
    layer = layer or last_convolution(network)
    lines: list[Explained] = []
    drawn: list[pictures.Picture] = []
    for start in range(0, len(chosen), BATCH):
        part = chosen.iloc[start : start + BATCH]
        for line, picture in _explain_batch(given, network, part, layer, target, start):
            lines.append(line)
            drawn.append(picture)
        if progress is not None:
            progress("explain", len(lines), len(chosen))
    _write(out, lines, drawn, _title(run, layer, target))
    return out / OVERVIEW


def _refuse_foreign(out: Path) -> None:
    """Raise InputError where `out` holds files, but nothing of an earlier call, even a broken one.

    Hidden files do not count.
    """
    if not out.is_dir():
        return
    with write_errors(out):
        names = [path.name for path in out.iterdir() if not path.name.startswith(".")]
    if TABLE not in names and not all(_PICTURE.fullmatch(name) for name in names):
        raise InputError(
            f"{out}: holds files that deadlib-explain did not write (no {TABLE} among them), "
            "expected a new or empty folder, or one of earlier maps; give another --out"
        )


def _verify_shards(given: RunInput, examples: pd.DataFrame) -> None:
    """Raise DatasetError where a shard that is about to be read was cut or edited."""
    dataset = given.dataset
    used = [shard for shard in dataset.info["shards"] if shard["file"] in set(examples["shard"])]
    replace(dataset, info={**dataset.info, "shards": used}).verify_checksums()


def _known_target(examples: pd.DataFrame, target: str, run: Run) -> pd.DataFrame:
    if target == PREDICTED or target in run.classes:
        return examples
    if target != LABEL:
        raise InputError(
            f"--target {target}: unknown; expected {PREDICTED}, {LABEL}, or a class of the run: "
            f"{', '.join(run.classes)}"
        )
    labelled = examples[examples["label"].notna()]
    if labelled.empty:
        raise InputError(
            f"--target {LABEL}: none of the {len(examples)} examples has a label; use "
            f"{PREDICTED} or the name of a class"
        )
    return labelled


def _explain_batch(
    given: RunInput,
    network: keras.Model,
    examples: pd.DataFrame,
    layer: str,
    target: str,
    start: int,
) -> list[tuple[Explained, pictures.Picture]]:
    run = given.run
    section = run.recipe.input
    stored = [given.image(int(row)) for row in examples.index]
    preprocess = preprocess_for(section, run.dataset)
    fitted = np.stack([np.asarray(fit_size(unit_range(image), section)) for image in stored])
    seen = np.asarray(preprocess(given.corrected(fitted, examples.index.to_numpy())))
    probabilities = np.asarray(keras.ops.softmax(network.predict_on_batch(seen)))
    predicted = [run.classes[index] for index in probabilities.argmax(axis=1)]
    labels = [label if isinstance(label, str) else None for label in examples["label"]]
    asked = {PREDICTED: predicted, LABEL: labels}.get(target, [target] * len(stored))
    targets = [run.classes.index(str(name)) for name in asked]
    heat = gradcam.heat_maps(network, seen, targets, layer)
    explained = []
    for i, (_, example) in enumerate(examples.iterrows()):
        shape = stored[i].shape[:2]
        placed = gradcam.place(heat[i], shape, section)
        top, left, rows, columns = gradcam.seen_window(shape, section)
        window = placed[top : top + rows, left : left + columns]
        line = Explained(
            file=f"{start + i + 1:02d}-{_file_name(example['example_id'])}.png",
            example_id=example["example_id"],
            split=example["split"],
            label=labels[i],
            predicted=predicted[i],
            probability=float(probabilities[i].max()),
            target=run.classes[targets[i]],
            target_probability=float(probabilities[i, targets[i]]),
            strongest=float(heat[i].max()),
            border_share=gradcam.border_share(window),
            half_heat_area=gradcam.half_heat_area(window),
        )
        explained.append((line, _draw(stored[i], placed, line, run.channels, section)))
    return explained


def _draw(
    image: np.ndarray,
    heat: np.ndarray,
    line: Explained,
    channels: Sequence[str],
    section: InputSection,
) -> pictures.Picture:
    size = pictures.shown_size(heat.shape)
    shown = pictures.enlarged(pictures.as_colours(image, channels), size)
    larger = gradcam.enlarge(heat, size)
    overlay = pictures.with_heat(shown, larger / max(float(larger.max()), 1e-12))
    if section.fit == "crop":
        scale = size[0] / heat.shape[0]
        window = [round(edge * scale) for edge in gradcam.seen_window(heat.shape, section)]
        overlay = pictures.with_window(overlay, (window[0], window[1], window[2], window[3]))
    return pictures.Picture(
        image=shown,
        overlay=overlay,
        name=line.example_id,
        verdict=_verdict(line),
        right=None if line.label is None else line.label == line.predicted,
        heading=f"label: {line.label}" if line.label is not None else "without a label",
    )


def _verdict(line: Explained) -> str:
    said = f"predicted {line.predicted} {line.probability:.2f}"
    if line.label is not None and line.label != line.predicted:
        said += f", label {line.label}"
    if line.target != line.predicted:
        said += f"; heat for {line.target} {line.target_probability:.2f}"
    return said if line.strongest > 0 else f"{said}; nothing here speaks for {line.target}"


def _title(run: Run, layer: str, target: str) -> list[str]:
    whose = {PREDICTED: "the predicted class", LABEL: "the true class"}.get(target, target)
    return [
        f"Which places spoke for {whose}? Run {run.folder.name}, {run.recipe.model.name}, "
        f"layer {layer}.",
        "Left the image, right the same with Grad-CAM heat, each map scaled to its own strongest "
        "place.",
    ]


def _write(
    out: Path, lines: list[Explained], drawn: list[pictures.Picture], title: list[str]
) -> None:
    """Replace what an earlier call left; the table, which names the pictures, comes last."""
    with write_errors(out):
        out.mkdir(parents=True, exist_ok=True)
        _remove_earlier(out)
        for line, picture in zip(lines, drawn, strict=True):
            pictures.captioned(picture).save(out / line.file)
        pictures.sheet(drawn, title).save(out / OVERVIEW)
    with (
        written_whole(out / TABLE) as partial,
        partial.open("w", newline="", encoding="utf-8") as file,
    ):
        writer = csv.DictWriter(file, list(asdict(lines[0])))
        writer.writeheader()
        writer.writerows(asdict(line) for line in lines)


def _remove_earlier(out: Path) -> None:
    table = out / TABLE
    if table.is_file():
        for name in pd.read_csv(table)["file"].map(str):
            if _PICTURE.fullmatch(name) and "/" not in name:
                (out / name).unlink(missing_ok=True)
        table.unlink()


def _file_name(example_id: str) -> str:
    return re.sub(r"[^\w-]+", "_", example_id)[-LONGEST_NAME:]
