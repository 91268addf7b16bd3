"""The class of an image by a word that stands somewhere in its file name."""

from __future__ import annotations

import re
from collections.abc import Sequence


def named_label(path: str, labels: Sequence[str]) -> str | None:
    """The one of `labels` that the file name contains, or None: folders never count.

    Longer labels are looked for first, and what they take is gone for shorter ones, so that
    `apoptosis_late` is not `apoptosis`. None where no label or several ones remain.
    """
    found = labels_in(path, labels)
    return found[0] if len(found) == 1 else None


def labels_in(path: str, labels: Sequence[str]) -> list[str]:
    """The labels that the file name contains, none within a longer one, in the order given."""
    longest_first = sorted(labels, key=len, reverse=True)
    pattern = "|".join(re.escape(label) for label in longest_first)
    found = set(re.findall(pattern, path.rpartition("/")[2]))
    return [label for label in labels if label in found]
