"""Labels that stand in file names: on the name only, the longest, exactly one."""

from __future__ import annotations

from pathlib import Path

import pytest
from picture_folder import write_pictures

from tfrecords_tools import ConversionSettings, ImageError, PlanError, make_plan
from tfrecords_tools.naming import labels_in, named_label


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("U2_CPT2_1H.png", "CPT"),
        ("celldeath/U2_DMSO_1H.png", "DMSO"),
        ("CPT/U2_DMSO_1H.png", "DMSO"),
        ("late_CPTlate_3H.png", "CPTlate"),
        ("plain_3H.png", None),
        ("CPT_DMSO.png", None),
        ("CPT_CPTlate.png", None),
        ("CPTlate.png", "CPTlate"),
    ],
)
def test_the_longest_label_of_the_name_alone(path: str, expected: str | None) -> None:
    assert named_label(path, ("CPT", "DMSO", "CPTlate")) == expected


def test_a_label_within_a_longer_one_does_not_count() -> None:
    assert labels_in("a.celldeath.png", ("cell", "death", "celldeath")) == ["celldeath"]
    assert labels_in("a.b", ("a.b", "x")) == ["a.b"]
    assert labels_in("axb", ("a.b",)) == []


def test_a_conversion_labels_by_names_and_names_what_it_cannot(tmp_path: Path) -> None:
    source = write_pictures(tmp_path / "celldeath", 6, side_px=20)
    for number, path in enumerate(sorted(source.rglob("*.png"))):
        path.rename(source / f"{('CPT', 'DMSO')[number % 2]}_{number}.png")
    settings = ConversionSettings(labels="names", label_names=("CPT", "DMSO", "celldeath"))
    plan = make_plan(source, settings)
    assert list(plan.classes) == ["CPT", "DMSO"]
    assert all(row.source_id.startswith(row.label) for row in plan.examples.itertuples())
    (source / "CPT_0.png").rename(source / "CPT_or_DMSO.png")
    (source / "DMSO_1.png").rename(source / "neither.png")
    with pytest.raises(ImageError) as refused:
        make_plan(source, settings)
    assert "CPT_or_DMSO.png: its name has CPT and DMSO of the labels" in str(refused.value)
    assert "neither.png: its name has none of the labels" in str(refused.value)


def test_label_names_and_their_source_go_together() -> None:
    with pytest.raises(PlanError, match="label names"):
        ConversionSettings(labels="names")
    with pytest.raises(PlanError, match="label names"):
        ConversionSettings(label_names=("a", "b"))
    with pytest.raises(PlanError, match="twice"):
        ConversionSettings(labels="names", label_names=("a", "a"))
