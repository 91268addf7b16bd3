"""The model card: what a model was taught, how good it is, and what it must not be asked.

Mitchell et al., Model Cards for Model Reporting (2019). All but the words of its makers is derived
from the run, its dataset's card and an evaluation, so that it cannot say more than is known.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from deadlib.bootstrap import Estimate
from deadlib.outputs import written_whole
from deadlib.pages import render
from deadlib.runs import Run
from deadlib.serving.bundle import CARD, CARD_PAGE
from deadlib.serving.own_words import OwnWords

SCHEMA_VERSION = 1

WORLD = ("cell_line", "treatment", "experiment", "instrument", "modality", "plate")
"""Columns of a manifest that say of which part of the world the images are."""

VALUES_NAMED = 12
FEW_GROUPS = 10


def make_card(
    run: Run,
    name: str,
    version: int,
    described: Mapping[str, Any],
    evaluation: Mapping[str, Any] | None,
    words: OwnWords,
) -> dict[str, Any]:
    """The card as JSON values.

    name, version: of the export; described: its deadlib.json; evaluation: as `read_evaluation`
    gives it, None where there was none; words: of the makers.
    """
    data, section = run.dataset, run.recipe.input
    card = data["card"]
    return {
        "schema_version": SCHEMA_VERSION,
        "name": name,
        "version": version,
        "remarks": remarks(run, evaluation),
        "description": words.description,
        "model": {
            "network": run.recipe.model.name,
            "classes": run.classes,
            "channels": run.channels,
            "input_px": list(section.size_px),
            "fit": section.fit,
            "window_px": described["window_px"],
            "normalise": section.normalise,
            "pixel_size_um": data.get("pixel_size_um"),
            "modality": data.get("modality"),
        },
        "intended_use": [intended(run), *words.intended_use],
        "not_for": ["Diagnosis, or any decision about a patient.", *words.not_for],
        "limits": [*limits_of(run), *words.limits],
        "training": {
            "dataset": data["name"],
            "fingerprint": data["fingerprint"],
            "examples": card["examples"],
            "images": card["images"],
            "groups": card["groups"],
            "counts": card["counts"],
            "split_by": data["split"]["by"],
            "hold_out": data["split"].get("hold_out", []),
            "proof": data["split"].get("proof", []),
            "warnings": card["warnings"],
            "seen": seen(card["columns"]),
        },
        "evaluation": evaluation,
        "calibration": described["calibration"],
        "check": described["check"],
        "licence": words.licence,
        "data_licence": words.data_licence,
        "authors": list(words.authors),
        "contact": words.contact,
        "citation": words.citation,
        "trained_with": {key: run.versions.get(key) for key in described["exported_with"]},
        "exported_with": described["exported_with"],
        "command": run.versions.get("command"),
    }


def write_card(folder: Path, card: Mapping[str, Any]) -> None:
    """Write card.json and card.html into a folder. Raises WriteError."""
    evaluation = card["evaluation"] or {}
    metrics = {
        value["title"]: _estimate(value) for value in (evaluation.get("metrics") or {}).values()
    }
    recall = {
        name: _estimate(value) for name, value in (evaluation.get("recall") or {}).items() if value
    }
    page = render("deadlib.serving", CARD_PAGE, (), card=card, metrics=metrics, recall=recall)
    with written_whole(folder / CARD) as partial:
        partial.write_text(json.dumps(card, indent=1) + "\n", encoding="utf-8")
    with written_whole(folder / CARD_PAGE) as partial:
        partial.write_text(page, encoding="utf-8")


def remarks(run: Run, evaluation: Mapping[str, Any] | None) -> list[dict[str, str]]:
    """What stands at the top: level (alarm or warning) and text."""
    found = []
    if evaluation is None:
        found.append(
            (
                "alarm",
                "Not evaluated: nobody has measured how often this model is right. Do not rely on "
                "its answers. deadlib-predict and deadlib-evaluate measure it; then export again.",
            )
        )
    else:
        found += [
            (remark["level"], remark["text"])
            for remark in evaluation["remarks"]
            if remark["level"] != "note"
        ]
        found += _whose(run, evaluation["model"])
        if evaluation["split"] not in ("test", None):
            found.append(
                (
                    "alarm",
                    f"Its figures are of the split {evaluation['split']}, not of test images: the "
                    "model was taught or chosen by them, and they are too good.",
                )
            )
    if run.calibration is None:
        found.append(
            (
                "warning",
                "Not calibrated: its probabilities are not chances, it never says “unsure”, and it "
                "does not notice images unlike all that it has learnt.",
            )
        )
    found += [
        ("warning", f"On the training data: {text}") for text in run.dataset["card"]["warnings"]
    ]
    return [{"level": level, "text": text} for level, text in found]


def _whose(run: Run, measured: Mapping[str, Any] | None) -> list[tuple[str, str]]:
    """What speaks against the figures being those of this model, calibrated as it is now."""
    if measured is None:
        return [
            (
                "warning",
                "The report does not say which model its figures are of, so nothing shows that "
                "they are of this one.",
            )
        ]
    if measured["trained_on_fingerprint"] != run.dataset["fingerprint"]:
        return [
            (
                "alarm",
                "Its figures are of another model: one that was trained on other images. "
                "deadlib-predict and deadlib-evaluate measure this one; then export again.",
            )
        ]
    if measured["calibrated"] != (run.calibration is not None):
        return [
            (
                "warning",
                "Its figures were measured before it was calibrated, or otherwise: those of "
                "probabilities are not of the ones that it gives now. Predict and evaluate again, "
                "then export.",
            )
        ]
    return []


def intended(run: Run) -> str:
    """What the model can be asked at all."""
    images = f"{run.dataset['modality']} images" if run.dataset.get("modality") else "images"
    channels = ", ".join(run.channels)
    return (
        f"Research: telling {' and '.join(run.classes)} apart in {images} ({channels}) taken as "
        "those that it was trained on."
    )


def limits_of(run: Run) -> list[str]:
    """What the model cannot know, in sentences, from what it was taught."""
    data, section, card = run.dataset, run.recipe.input, run.dataset["card"]
    found = [
        f"It knows nothing but {_or(run.classes)}. Whatever else an image shows, dust and empty "
        "fields included, gets one of these names."
    ]
    size = data.get("pixel_size_um")
    if size is None:
        found.append(
            "The pixel size of its training images is not recorded: of another magnification its "
            "answers mean nothing, and nobody can check that."
        )
    else:
        found.append(
            f"Its training images have {size:g} µm per pixel; of another magnification its answers "
            "mean nothing."
        )
    if not data.get("modality"):
        found.append(
            "How its training images were taken (phase contrast, fluorescence) is not recorded."
        )
    if section.fit == "crop":
        rows, columns = section.size_px
        found.append(
            f"Of an image it sees the central {rows} × {columns} px, and nothing around them."
            if section.crops == 1
            else f"Of an image it sees five windows of {rows} × {columns} px."
        )
    for name, values in seen(card["columns"]).items():
        found.append(_seen_sentence(name, values))
    if "cell_line" not in card["columns"]:
        found.append(
            "Its dataset does not say which cell lines it shows: of any line but those of the "
            "training nothing is known."
        )
    if run.recipe.loss.targets == "votes":
        found.append(
            "It was taught how annotators voted: its probabilities say what such people would "
            "answer, and their common errors are its own."
        )
    few = {label: count for label, count in card["counts"].get("train", {}).items() if count < 100}
    if few:
        counted = ", ".join(f"{label} {count}" for label, count in few.items())
        found.append(f"Few training images of a class: {counted}.")
    groups = data["split"].get("groups", {}).get("train")
    if groups is not None and groups < FEW_GROUPS:
        found.append(
            f"It was taught by {groups} independent groups ({' and '.join(data['split']['by'])}): "
            "what they have in common it takes for granted."
        )
    if section.normalise.startswith("plate"):
        found.append(
            "It compares an image with its plate: send the statistics of the plate too, or it "
            "takes every image for one of a plate like those of the training."
        )
    return found


def seen(columns: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Of which cell lines, treatments, plates ... the images are: how many, and which if few."""
    found = {}
    for name in WORLD:
        column = columns.get(name)
        if column and column["values"]:
            named = sorted(column.get("by_class", {}))
            found[name] = {
                "values": column["values"],
                "absent": column["absent"],
                "names": named if len(named) <= VALUES_NAMED else None,
            }
    return found


def _seen_sentence(name: str, values: Mapping[str, Any]) -> str:
    count, words = values["values"], name.replace("_", " ")
    if values["names"]:
        told = (
            f"Its dataset has the {words}{'' if count == 1 else 's'} {', '.join(values['names'])}."
        )
    else:
        told = f"Its dataset has {count:,} {words}s."
    absent = f" {values['absent']:,} images do not say theirs." if values["absent"] else ""
    other = " It was never shown another." if count == 1 else " Others it was never shown."
    return told + absent + other


def _or(names: Sequence[str]) -> str:
    return " or ".join([", ".join(names[:-1]), names[-1]]) if len(names) > 1 else names[0]


def _estimate(value: Mapping[str, Any]) -> Estimate:
    return Estimate(value["value"], value["low"], value["high"], reason=value.get("reason"))
