"""EfficientNet-B0 of timm: training steps or answers, on one batch in memory.

    python peers_efficientnet.py {train,predict} {default,channels_last} STEPS BATCH SIZE_PX

For every line on standard input: STEPS steps, then a line on standard output.
"""

from __future__ import annotations

import sys
from collections.abc import Callable

import timm
import torch
from torch import nn

CHANNELS = 4
CLASSES = 3


def training(network: nn.Module, images: torch.Tensor) -> Callable[[], object]:
    network.train()
    labels = torch.arange(len(images)) % CLASSES
    loss = nn.CrossEntropyLoss()
    optimiser = torch.optim.Adam(network.parameters(), lr=1e-4, weight_decay=1e-3)

    def step() -> None:
        optimiser.zero_grad(set_to_none=True)
        loss(network(images), labels).backward()
        optimiser.step()

    return step


def predicting(network: nn.Module, images: torch.Tensor) -> Callable[[], object]:
    network.eval()

    def step() -> torch.Tensor:
        with torch.inference_mode():
            return network(images)

    return step


def main() -> None:
    mode, memory, *sizes = sys.argv[1:]
    steps, batch, size_px = map(int, sizes)
    torch.manual_seed(0)
    kind = torch.channels_last if memory == "channels_last" else torch.contiguous_format
    network = timm.create_model(
        "efficientnet_b0", in_chans=CHANNELS, num_classes=CLASSES, drop_path_rate=0.2
    ).to(memory_format=kind)
    found = sum(weight.numel() for weight in network.parameters())
    if found != 4_007_836 + 3_843:
        raise SystemExit(f"another network: {found} parameters")
    images = torch.randn(batch, CHANNELS, size_px, size_px).contiguous(memory_format=kind)
    step = {"train": training, "predict": predicting}[mode](network, images)
    for _ in sys.stdin:
        for _ in range(steps):
            step()
        print("done", flush=True)


if __name__ == "__main__":
    main()
