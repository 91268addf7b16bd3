"""Makes one_cycle.npz with PyTorch: rates and momenta of OneCycleLR, and weights under AdamW.

    python tests/golden/make_one_cycle.py     # in an environment with torch

fastai 1.0 reaches the peak at step int(0.3 n) and would reach the end at step n; OneCycleLR counts
its phases to the steps before. With one step more, and a rise that ends where fastai's ends, both
are the same. AdamW decays decoupled, weight -= rate x decay x weight, as fastai's `true_wd`, on all
weights (`bn_wd`).
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

STEPS, PEAK, DECAY, MOMENTA = (7, 10, 101), 1e-3, 0.01, (0.95, 0.85)
ADAM = {"betas": (0.95, 0.99), "eps": 1e-8}


def cycle(optimiser: torch.optim.Optimizer, steps: int) -> torch.optim.lr_scheduler.OneCycleLR:
    return torch.optim.lr_scheduler.OneCycleLR(
        optimiser,
        max_lr=PEAK,
        total_steps=steps + 1,
        pct_start=(int(0.3 * steps) + 1) / (steps + 1),
        max_momentum=MOMENTA[0],
        base_momentum=MOMENTA[1],
        div_factor=25.0,
        final_div_factor=1e4,
    )


def main() -> None:
    found = {}
    rng = np.random.default_rng(0)
    for steps in STEPS:
        weight = torch.nn.Parameter(torch.tensor(rng.normal(size=5)))
        gradients = rng.normal(size=(steps, 5))
        found[f"start_{steps}"] = weight.detach().numpy().copy()
        found[f"gradients_{steps}"] = gradients
        optimiser = torch.optim.AdamW([weight], weight_decay=DECAY, **ADAM)
        schedule = cycle(optimiser, steps)
        rates, momenta, weights = [], [], []
        for gradient in gradients:
            rates.append(optimiser.param_groups[0]["lr"])
            momenta.append(optimiser.param_groups[0]["betas"][0])
            weight.grad = torch.tensor(gradient)
            optimiser.step()
            schedule.step()
            weights.append(weight.detach().numpy().copy())
        found[f"rates_{steps}"] = np.array(rates)
        found[f"momenta_{steps}"] = np.array(momenta)
        found[f"weights_{steps}"] = np.array(weights)
    np.savez(Path(__file__).with_name("one_cycle.npz"), **found)


if __name__ == "__main__":
    main()
