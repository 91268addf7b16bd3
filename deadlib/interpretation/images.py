"""Choose examples, ask the network where it looked, and lay the answer over the images."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import numpy as np

from deadlib.acquisition import AS_TOLD_BY_FILES, Acquisition
from deadlib.errors import InputError
from deadlib.inputs import AUTO, REFUSE, ProgressCallback, RunInput, Warn, open_input
from deadlib.interpretation import folder, pictures, report
from deadlib.interpretation.answers import Explained, answers
from deadlib.interpretation.consistency import consistency, overlapping_crops
from deadlib.interpretation.draw import draw
from deadlib.interpretation.examples import LABEL, PREDICTED, choose, pixel_size_um
from deadlib.interpretation.maps import check_maps, write_map
from deadlib.interpretation.names import QUICK
from deadlib.interpretation.question import Question, ask, described
from deadlib.interpretation.trust import Trust
from deadlib.outputs import write_errors
from deadlib.runs import Run


def explain(
    run: Run | str | Path,
    source: str | Path,
    out: str | Path,
    *,
    split: str = AUTO,
    count: int = 16,
    method: str = "gradcam",
    weights: str = "image",
    layer: str | None = None,
    target: str = PREDICTED,
    maps: str | None = None,
    sanity: bool | None = None,
    seed: int = 0,
    on_bad_image: str = REFUSE,
    acquisition: Acquisition = AS_TOLD_BY_FILES,
    progress: ProgressCallback | None = None,
    warn: Warn | None = None,
) -> Path:
    """Draw maps of where the network looked in `count` examples; return the page report.html.

    The examples are drawn at random by `seed`, as many of each class as there are. method: a name
    of `names.METHODS`. weights: `image`, or `class` for the mean over all training images of the
    class. target: whose evidence is drawn, `predicted`, `label`, or the name of a class. layer: by
    default the last feature map. maps: also write each map, as `tiff` or `ome-tiff`. sanity: test
    whether the maps depend on the weights (`sanity.check`); by default with methods that are quick.

    `out` gets one picture per example (image, and image with heat), overview.png with all of them,
    maps.csv with a line for each (`Explained`, `heat.border_share`, `heat.half_heat_area`),
    report.html, and sanity.json with the share of heat on background and the test of the maps,
    which sanity.png shows; with class weights, and where crops of one image overlap,
    consistency.json. What an earlier call left there is replaced.
    on_bad_image: `refuse`, or `skip` images of a folder that cannot be used. acquisition: what the
    files do not say of how they were taken. `warn` (by default a UserWarning) tells of images that
    were skipped or taken otherwise than in training, and of labels that the run does not know.

    Raises InputError where images, layer, method or target do not fit the run or `out` holds files
    of others, RunError on a damaged run, DatasetError on a damaged dataset.
    """
    run = run if isinstance(run, Run) else Run.open(run)
    out = Path(out)
    if count < 1:
        raise InputError(f"--count {count}: expected 1 or more")
    check_maps(maps)
    folder.refuse_foreign(out)
    converted = out.with_name(f"{out.name}-dataset")
    given = open_input(
        run,
        source,
        converted,
        on_bad_image=on_bad_image,
        acquisition=acquisition,
        progress=progress,
        warn=warn,
    )
    chosen = choose(given, split, target, count, seed)
    question = ask(given, layer=layer, method=method, weights=weights, progress=progress, warn=warn)
    folder.start(out)
    lines: list[dict[str, object]] = []
    thumbnails: list[pictures.Picture] = []
    trust = Trust(given, question, chosen)
    rows = (int(row) for row in chosen.index)
    for row, answer in zip(rows, answers(given, question, chosen, target), strict=True):
        trust.add(row, answer)
        line = answer.line
        picture = draw(answer, run.channels, run.recipe.input)
        with write_errors(out):
            pictures.captioned(picture).save(out / line.file)
        lines.append(asdict(line) | _write_map(out, line, answer.heat, given, question, maps))
        thumbnails.append(pictures.thumbnail(picture))
        if progress is not None:
            progress("explain", len(lines), len(chosen))
    title = _title(run, question, target)
    with write_errors(out):
        pictures.sheet(thumbnails, title).save(out / folder.OVERVIEW)
    found = None
    if question.class_weights is not None:
        pairs = overlapping_crops(given, given.examples(split), seed)
        found = None if pairs is None else consistency(question, pairs)
    gate = method in QUICK if sanity is None else sanity
    return report.write(
        out,
        lines,
        title=title[0],
        caption=title[1],
        facts=described(given, question),
        agreed=found,
        further=trust.write(out, gate=gate, seed=seed, progress=progress),
    )


def _write_map(
    out: Path,
    line: Explained,
    heat: np.ndarray,
    given: RunInput,
    question: Question,
    maps: str | None,
) -> dict[str, str]:
    """Write the map if that was asked; the column of maps.csv that names it."""
    if maps is None:
        return {}
    path = folder.map_path(out, Path(line.file).stem, maps)
    about = described(given, question)
    write_map(path, heat[None], [line.target], about=about, pixel_size_um=pixel_size_um(given))
    return {"map": path.name}


def _title(run: Run, question: Question, target: str) -> list[str]:
    whose = {PREDICTED: "the predicted class", LABEL: "the true class"}.get(target, target)
    return [
        f"Which places spoke for {whose}? Run {run.folder.name}, {run.recipe.model.name}, "
        f"layer {question.layer}.",
        f"Left the image, right the same with heat ({question.method}), each map scaled to its own "
        f"strongest place.{_CENTRAL if run.recipe.input.crops > 1 else ''}",
    ]


_CENTRAL = " The network sees five windows of an image; the maps are of the central one."
