"""A measured share, 0 to 1, in place of predictions: of a dye in the nucleus, say.

What an assay measures by hand and what a network answers are then put to the same curves.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from deadlib.errors import PredictionError
from deadlib.predictions import PredictionTable, read_frame, require_column
from tfrecords_tools.table import PROBABILITY

REST = "rest"


def read_readout(path: str | Path, column: str) -> tuple[PredictionTable, tuple[str, ...]]:
    """A table of measurements as one of predictions: the column as the probability of a class of
    its name, what is left to 1 as that of the class `rest`; and remarks on what was left out.

    Raises PredictionError where there is no such column, or a value is no number in 0 to 1.
    """
    path = Path(path)
    frame, _ = read_frame(path)
    require_column(path, frame, column, "asked for as the readout")
    missing = frame[column].isna()
    frame = frame[~missing]
    if frame.empty:
        raise PredictionError(f"{path}: column {column} is empty in every row; name another one")
    values = pd.to_numeric(frame[column], errors="coerce").astype(float)
    wrong = ~values.between(0, 1)
    if wrong.any():
        place = int(wrong.to_numpy().argmax())
        raise PredictionError(
            f"{path}, row {values.index[place]}, column {column}: found "
            f"{frame[column].to_list()[place]!r}, expected a share in 0 to 1; rows like this: "
            f"{int(wrong.sum())}; bring the readout to that scale first, as r / (1 + r) does with "
            "a ratio"
        )
    shares = values.to_numpy()
    frame = frame.drop(columns=[name for name in frame if str(name).startswith(PROBABILITY)])
    frame = frame.assign(**{PROBABILITY + column: shares, PROBABILITY + REST: 1 - shares})
    table = PredictionTable(path, frame, (column, REST), np.stack([shares, 1 - shares], axis=1))
    if not missing.any():
        return table, ()
    return table, (f"{int(missing.sum()):,} rows without {column} are left out.",)
