"""docs/augmentation.md says what the code does.

To make it again:
python -c "from deadlib.augment.reference import reference_text as t; print(t(), end='')"
"""

from __future__ import annotations

from pathlib import Path

from deadlib.augment import AUGMENTATIONS
from deadlib.augment.reference import reference_text

PAGE = Path(__file__).parent.parent.parent / "docs" / "augmentation.md"


def test_the_page_is_up_to_date() -> None:
    assert PAGE.read_text(encoding="utf-8") == reference_text()


def test_every_augmentation_and_setting_is_on_the_page() -> None:
    text = reference_text()
    for name, kind in AUGMENTATIONS.items():
        section = text.split(f"## {name}\n")[1].split("\n## ")[0]
        for key in set(kind.Settings.model_fields) - {"probability"}:
            assert f"`{key}`" in section
