"""Settings that make sense, and settings that do not."""

from __future__ import annotations

from typing import Any

import pytest

from tfrecords_tools.errors import PlanError
from tfrecords_tools.settings import ConversionSettings, parse_hold_out


@pytest.mark.parametrize(
    "settings",
    [
        ConversionSettings(),
        ConversionSettings(
            labels="boxes", table="cells.csv", context=0.5, channels=("phase",), split_by=("plate",)
        ),
        ConversionSettings(tile=(2, 3), hold_out=("experiment=N4",), fractions=(0.8, 0.2, 0.0)),
    ],
)
def test_settings_survive_json(settings: ConversionSettings) -> None:
    assert ConversionSettings.from_json(settings.to_json()) == settings


def test_settings_of_another_version_are_refused() -> None:
    with pytest.raises(PlanError, match="unknown flavour"):
        ConversionSettings.from_json({"flavour": "sweet"})


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"labels": "folders"}, "one of folder, names, pattern"),
        ({"labels": "pattern"}, "need a pattern"),
        ({"labels": "table"}, "need a table"),
        ({"tile": (2, 2), "crop_px": 64}, "choose one"),
        ({"stride_px": 4}, "a crop size with it"),
        ({"context": 0.5}, "table of boxes"),
        ({"labels": "boxes", "table": "a.csv", "context": 0.5, "box_px": 9}, "choose one"),
        ({"fractions": (0.5, 0.5, 0.5)}, "add up to 1"),
        ({"fractions": (0.5, 0.5)}, "three shares"),
        ({"hold_out": ("plate",)}, "column=value"),
        ({"hold_out": ("nowhere:plate=1",)}, "column=value"),
        ({"channels": ("DNA", "DNA")}, "twice"),
        ({"examples_per_shard": 0}, "1 or more"),
        ({"layout": "operetta"}, "expected one of auto, files, harmony"),
        ({"lattice": "exclusive"}, "give a crop size"),
        ({"labels": "rules"}, "need label rules"),
        ({"label_rules": ("dead: dose > 0",)}, "to come from folder"),
        ({"labels": "rules", "label_rules": ("dose > 0",)}, "expected CLASS: conditions"),
        ({"lattice": "half"}, "expected one of inclusive, exclusive"),
        ({"pages": "t"}, "expected one of time, z, channel"),
        ({"split_by": ("example", "plate")}, "ungrouped"),
    ],
)
def test_contradictions_are_refused(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(PlanError, match=message):
        ConversionSettings(**arguments)


def test_a_hold_out_goes_to_test_unless_it_says_otherwise() -> None:
    assert parse_hold_out("experiment=N4") == ("test", "experiment", "N4")
    assert parse_hold_out("validation:plate=2") == ("validation", "plate", "2")
    assert parse_hold_out("well=A:1") == ("test", "well", "A:1")


def test_for_prediction_everything_is_test_and_labels_may_be_missing() -> None:
    settings = ConversionSettings(
        labels="boxes",
        table="/elsewhere/cells.csv",
        context=0.5,
        split_by=("plate",),
        hold_out=("plate=1",),
        channels=("phase",),
        z="focus",
        pages="z",
        layout="files",
    ).for_prediction()
    assert settings.fractions == (0.0, 0.0, 1.0)
    assert settings.table == "cells.csv"
    assert (settings.split_by, settings.hold_out) == ((), ())
    assert (settings.context, settings.channels) == (0.5, ("phase",))
    assert (settings.z, settings.pages, settings.layout) == ("focus", "z", "files")
    assert not settings.labels_required


def test_new_images_are_read_whatever_the_encoding_of_the_old_ones_holds() -> None:
    assert ConversionSettings(encoding="jpeg:90").for_prediction().encoding == "raw"


@pytest.mark.parametrize("encoding", ["gif", "png:3", "jpeg:0", "jpeg:101", "jpeg:", "jpeg:x"])
def test_an_unknown_encoding_is_refused(encoding: str) -> None:
    with pytest.raises(PlanError, match="expected one of raw, png, jpeg"):
        ConversionSettings(encoding=encoding)
