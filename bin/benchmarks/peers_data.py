"""PyTorch's DataLoader on a folder of PNG files: `read`, or `recipe` with albumentations.

    python peers_data.py {read,recipe} FOLDER BATCH

For every line on standard input: one pass, then a line on standard output. The worker processes
are kept from pass to pass.
"""

from __future__ import annotations

import sys
from pathlib import Path

import cv2
import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

PROCESSES = 2
FRAME_DEVIATION_PX = 10
GRID_PX = 128


class Pictures(Dataset):
    def __init__(self, folder: str, recipe: bool) -> None:
        self.paths = sorted(str(path) for path in Path(folder).glob("*.png"))
        self.recipe = recipe
        self.change = None

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> torch.Tensor:
        image = cv2.imread(self.paths[index], cv2.IMREAD_UNCHANGED)
        if not self.recipe:
            return torch.from_numpy(image)
        if self.change is None:
            self.change = deadnet_a(image.shape[0])
        floats = (image / np.float32(65535))[..., None]
        return torch.from_numpy(np.ascontiguousarray(self.change(image=floats)["image"]))


def deadnet_a(size_px: int):
    """The crop before the blur, which is the cheaper order and differs at its borders alone."""
    import albumentations

    # ThinPlateSpline moves its points by N(0, scale / 10) of the image's size.
    scale = 10 * FRAME_DEVIATION_PX / size_px
    return albumentations.Compose(
        [
            albumentations.ThinPlateSpline(
                (scale, scale), num_control_points=size_px // GRID_PX + 1, p=1
            ),
            albumentations.SquareSymmetry(p=1),
            albumentations.RandomCrop(256, 256),
            albumentations.RandomCrop(220, 220),
            albumentations.GaussianBlur(blur_limit=0, sigma_limit=(1.1, 1.5), p=1),
            albumentations.Normalize(normalization="image", p=1),
        ]
    )


def main() -> None:
    work, folder, batch = sys.argv[1:]
    cv2.setNumThreads(1)
    loader = DataLoader(
        Pictures(folder, work == "recipe"),
        batch_size=int(batch),
        shuffle=True,
        num_workers=PROCESSES,
        persistent_workers=True,
    )
    for _ in sys.stdin:
        for _ in loader:
            pass
        print("done", flush=True)


if __name__ == "__main__":
    main()
