"""Settings from YAML, as a person writes it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tfrecords_tools.errors import PlanError
from tfrecords_tools.settings import ConversionSettings
from tfrecords_tools.settings_file import read_settings


def written(folder: Path, text: str) -> Path:
    path = folder / "data.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def test_values_become_what_the_settings_hold(tmp_path: Path) -> None:
    path = written(
        tmp_path,
        """
        labels: rules
        label_rules:
          - "healthy: light_dose_s == 0"
          - sick: dying_share >= 0.9 and time_index < 5
        tile: 2x3
        z: 3
        channels: phase
        fractions: [0.5, 0.25, 0.25]
        hold_out: [position=P01, "validation:position=P02"]
        allow_mixed: true
        """,
    )
    found = read_settings(path)
    assert found == {
        "labels": "rules",
        "label_rules": (
            "healthy: light_dose_s == 0",
            "sick: dying_share >= 0.9 and time_index < 5",
        ),
        "tile": (2, 3),
        "z": "3",
        "channels": ("phase",),
        "fractions": (0.5, 0.25, 0.25),
        "hold_out": ("position=P01", "validation:position=P02"),
        "allow_mixed": True,
    }
    settings = ConversionSettings(**found)
    assert ConversionSettings.from_json(settings.to_json()) == settings


def test_rules_may_stand_as_classes_with_their_conditions(tmp_path: Path) -> None:
    text = "label_rules:\n  healthy: light_dose_s == 0\n  sick: light_dose_s >= 100\n"
    assert read_settings(written(tmp_path, text))["label_rules"] == (
        "healthy: light_dose_s == 0",
        "sick: light_dose_s >= 100",
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("label_rule: []", "label_rule: no such setting; did you mean label_rules"),
        ("labels_required: false", "no such setting"),
        ("crop_px: wide", "crop_px: 'wide' is not what is expected"),
        ("tile: 2by2", "tile: '2by2' is not what is expected"),
        ("fractions: [0.5, 0.5]", "fractions"),
        ("just words", "expected lines such as"),
        ("", "expected lines such as"),
        ("a: [", "no YAML"),
    ],
)
def test_mistakes_are_named(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(PlanError, match=message):
        read_settings(written(tmp_path, text))


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(PlanError, match=r"nowhere\.yaml: cannot be read"):
        read_settings(tmp_path / "nowhere.yaml")
