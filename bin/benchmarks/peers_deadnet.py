"""DeadNet's training step in PyTorch, on one batch in memory.

    python peers_deadnet.py {default,channels_last} STEPS BATCH SIZE_PX

For every line on standard input: STEPS steps, then a line on standard output.
"""

from __future__ import annotations

import sys

import torch
from torch import nn


def deadnet(size_px: int) -> nn.Sequential:
    layers: list[nn.Module] = []
    channels, side = 1, size_px - 8
    for filters in (16, 32, 64, 128):
        for _ in range(2):
            first = channels == 1
            layers += [
                nn.Conv2d(channels, filters, 9 if first else 3, padding=0 if first else 1),
                nn.BatchNorm2d(filters, eps=1e-5, momentum=0.05),
                nn.ReLU(inplace=True),
            ]
            channels = filters
        layers.append(nn.MaxPool2d(2, ceil_mode=True))
        side = -(-side // 2)
    layers.append(nn.Flatten())
    features = channels * side**2
    for _ in range(2):
        layers += [nn.Linear(features, 512), nn.ReLU(inplace=True), nn.Dropout(0.5)]
        features = 512
    return nn.Sequential(*layers, nn.Linear(512, 2))


def optimiser_for(network: nn.Module) -> torch.optim.Optimizer:
    """Biases of convolutions: twice the rate, no decay; everything else decays."""
    biases = [layer.bias for layer in network.modules() if isinstance(layer, nn.Conv2d)]
    own = {id(bias) for bias in biases}
    others = [weight for weight in network.parameters() if id(weight) not in own]
    groups = [
        {"params": others, "lr": 3e-4, "weight_decay": 1e-4},
        {"params": biases, "lr": 6e-4, "weight_decay": 0.0},
    ]
    return torch.optim.SGD(groups, momentum=0.9, nesterov=True)


def main() -> None:
    memory, *sizes = sys.argv[1:]
    steps, batch, size_px = map(int, sizes)
    torch.manual_seed(0)
    kind = torch.channels_last if memory == "channels_last" else torch.contiguous_format
    network = deadnet(size_px).to(memory_format=kind).train()
    found = sum(weight.numel() for weight in network.parameters())
    if size_px == 220 and found != 13_404_594:
        raise SystemExit(f"another network: {found} parameters")
    optimiser = optimiser_for(network)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, lambda it: (1 + 1e-5 * it) ** -0.75)
    images = torch.randn(batch, 1, size_px, size_px).contiguous(memory_format=kind)
    labels = torch.arange(batch) % 2
    loss = nn.CrossEntropyLoss()
    for _ in sys.stdin:
        for _ in range(steps):
            optimiser.zero_grad(set_to_none=True)
            loss(network(images), labels).backward()
            optimiser.step()
            schedule.step()
        print("done", flush=True)


if __name__ == "__main__":
    main()
