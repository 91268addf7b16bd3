"""A made-up screen as a prediction table, whose batch effect is known."""

from __future__ import annotations

import numpy as np
import pandas as pd

CLASSES = ("healthy", "apoptosis", "ferroptosis")
TREATMENTS = {"healthy": "DMSO", "apoptosis": "Stauro", "ferroptosis": "Erastin"}


def screen(
    plates: int = 3,
    wells: int = 24,
    fields: int = 3,
    width: int = 12,
    plate_shift: float = 0.0,
    class_shift: float = 3.0,
    seed: int = 0,
) -> pd.DataFrame:
    """Fields of wells of plates: a well's class and its plate each move it, noise besides."""
    rng = np.random.default_rng(seed)
    of_class = rng.normal(size=(3, width)) * class_shift
    of_plate = rng.normal(size=(plates, width)) * plate_shift
    rows = []
    for plate in range(plates):
        for well in range(wells):
            label = CLASSES[well % 3]
            centre = of_class[well % 3] + of_plate[plate] + rng.normal(size=width)
            for field in range(fields):
                vector = centre + rng.normal(size=width)
                rows.append(
                    {
                        "example_id": f"P{plate + 1}/{well}/{field}",
                        "split": "train" if plate < plates - 1 else "test",
                        "label": label,
                        "plate": f"P{plate + 1}",
                        "well": f"{'ABCDEFGHIJKLMNOP'[well // 12]}{well % 12 + 1:02d}",
                        "field": str(field + 1),
                        "treatment": TREATMENTS[label],
                        "concentration_um": 0.0 if label == "healthy" else 10.0 ** (well % 5 - 2),
                        "viability": 1.0 if label == "healthy" else 0.3 + 0.02 * well,
                        "predicted": label,
                        **{f"probability_{c}": 0.8 if c == label else 0.1 for c in CLASSES},
                        "embedding": vector.astype(np.float32),
                    }
                )
    return pd.DataFrame(rows)
