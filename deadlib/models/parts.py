"""What the families share: the pooled embedding and the check of the image's size."""

from __future__ import annotations

from typing import Any

import keras

from deadlib.errors import RecipeError

EMBEDDING = "embedding"
LOGITS = "logits"


def pooled_embedding(features: Any, dropout: float) -> Any:
    """Average a feature map over the image: (B, H, W, D) to (B, D), float32, then dropout."""
    embedding = keras.layers.GlobalAveragePooling2D(name=EMBEDDING, dtype="float32")(features)
    return keras.layers.Dropout(dropout, name="dropout", dtype="float32")(embedding)


def require_size(image: Any, smallest_px: int, name: str) -> None:
    """Raise RecipeError where the image is too small for the network `name`."""
    rows, columns = image.shape[1:3]
    if min(rows, columns) < smallest_px:
        raise RecipeError(
            f"input.size_px: {rows} x {columns} is too small for {name}; "
            f"give at least {smallest_px} x {smallest_px}, or choose another model.name"
        )
