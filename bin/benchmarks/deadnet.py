"""DeadNet's training step against the same network in PyTorch."""

from __future__ import annotations

import statistics
import tempfile
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import click
from common import Peer, rounded, seconds, write_images

RECIPE = Path(__file__).parents[2] / "configs" / "deadnet_a.yaml"
FORMATS = ("default", "channels_last")


@click.command()
@click.option("--rounds", default=5, help="everything in turn, so many times")
@click.option("--steps", default=8, help="in each round")
@click.option("--batch", default=20)
@click.option("--size-px", default=220)
def deadnet(rounds: int, steps: int, batch: int, size_px: int) -> None:
    """Images per second of the published training, Caffe's multipliers and all, from ready batches.

    deadlib: its own step from configs/deadnet_a.yaml, from a dataset held in memory, without
    augmentation. PyTorch: the same network, loss and optimiser from one batch in memory, in either
    memory format; the faster of both in each round counts.
    """
    with ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory())
        work: dict[str, Callable[[], None]] = {}
        work["deadlib"] = _own_steps(Path(folder), steps, batch, size_px)
        for name in FORMATS:
            work[name] = stack.enter_context(Peer("peers_deadnet.py", name, steps, batch, size_px))
        times: dict[str, list[float]] = {name: [] for name in work}
        for round_ in range(rounds + 1):
            for name, function in work.items():
                elapsed = seconds(function)
                if round_:
                    times[name].append(elapsed)
                    print(f"{name}: {steps * batch / elapsed:.1f} images/s", flush=True)
    for name, found in times.items():
        print(f"{steps * batch / statistics.median(found):6.1f} images/s {name}, median")
    faster = [min(pair) for pair in zip(*(times[name] for name in FORMATS), strict=True)]
    ratios = [theirs / ours for theirs, ours in zip(faster, times["deadlib"], strict=True)]
    middle = statistics.median(ratios)
    print(f"speed, deadlib / PyTorch: median {middle:.2f}, all {rounded(ratios)}")


def _own_steps(folder: Path, steps: int, batch: int, size_px: int) -> Callable[[], None]:

    import deadlib
    from deadlib.training.build import build_trainer
    from deadlib.training.devices import make_repeatable
    from deadlib.training.fit import describe_dataset

    write_images(folder / "source", 4 * batch, size_px=size_px)
    settings = deadlib.ConversionSettings(fractions=(0.5, 0.25, 0.25))
    dataset = deadlib.convert(folder / "source", folder / "dataset", settings)
    changes = {
        "dataset": dataset.folder,
        "augment": "[]",
        "input.normalise": "none",
        "input.size_px": [size_px, size_px],
        "optimiser.multipliers": "caffe",
        "training.batch": batch,
    }
    recipe = deadlib.load_recipe(RECIPE, [f"{key}={value}" for key, value in changes.items()])
    make_repeatable(recipe.seed, recipe.training.deterministic)
    described = describe_dataset(dataset, recipe)
    trainer = build_trainer(recipe, dataset, described, cache=folder / "cache")
    batches = trainer.batches(0)
    done = iter(range(10**9))

    def work() -> None:
        for _ in range(steps):
            trainer.step(next(batches), next(done))
        trainer.totals.numpy()

    return work
