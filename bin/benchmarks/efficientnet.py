"""EfficientNet-B0 for four channels against timm's: a training step, and prediction."""

from __future__ import annotations

import statistics
from collections.abc import Callable
from contextlib import ExitStack

import click
from common import Peer, rounded, seconds

CHANNELS = 4
CLASSES = 3
FORMATS = ("default", "channels_last")


@click.command()
@click.option("--rounds", default=3, help="everything in turn, so many times")
@click.option("--steps", default=4, help="in each round")
@click.option("--batch", default=8)
@click.option("--size-px", default=(224, 512), multiple=True)
@click.option("--mode", type=click.Choice(["train", "predict"]), multiple=True)
def efficientnet(
    rounds: int, steps: int, batch: int, size_px: tuple[int, ...], mode: tuple[str, ...]
) -> None:
    """Images per second of EfficientNet-B0, 4 channels, 3 classes, from one batch in memory.

    train: forward, backward and Adam with L2 decay, stochastic depth on, of the network as
    deadlib-train has it. predict: as deadlib-predict has it. PyTorch: timm's efficientnet_b0 in
    either memory format; the faster of both in each round counts.
    """
    for one in mode or ("train", "predict"):
        for size in size_px:
            _compare(one, rounds, steps, batch, size)


def _compare(mode: str, rounds: int, steps: int, batch: int, size_px: int) -> None:
    ours = {"train": _training, "predict": _predicting}[mode](batch, size_px)

    def own() -> None:
        for _ in range(steps):
            ours()

    with ExitStack() as stack:
        work: dict[str, Callable[[], None]] = {"deadlib": own}
        for name in FORMATS:
            arguments = (mode, name, steps, batch, size_px)
            work[name] = stack.enter_context(Peer("peers_efficientnet.py", *arguments))
        times: dict[str, list[float]] = {name: [] for name in work}
        for round_ in range(rounds + 1):
            for name, function in work.items():
                elapsed = seconds(function)
                if round_:
                    times[name].append(elapsed)
    for name, found in times.items():
        speed = steps * batch / statistics.median(found)
        print(f"{speed:6.1f} images/s {name}, {mode}, {size_px} px, median", flush=True)
    faster = [min(pair) for pair in zip(*(times[name] for name in FORMATS), strict=True)]
    ratios = [theirs / own for theirs, own in zip(faster, times["deadlib"], strict=True)]
    middle = statistics.median(ratios)
    print(f"{mode}, {size_px} px, deadlib / PyTorch: median {middle:.2f}, all {rounded(ratios)}")


def _training(batch: int, size_px: int) -> Callable[[], object]:
    import keras
    import tensorflow as tf

    from deadlib.models import build_network, learning
    from deadlib.recipe import ModelSection, OptimiserSection
    from deadlib.training.optimisers import build_optimiser

    section = ModelSection(name="efficientnetb0")
    plain = build_network(section, size_px=(size_px, size_px), channels=CHANNELS, classes=CLASSES)
    network = learning(plain, section)
    variables = network.trainable_variables
    schedule = keras.optimizers.schedules.CosineDecay(1e-4, 10**6)
    optimiser = build_optimiser(OptimiserSection(name="adam", weight_decay=1e-3), schedule)
    optimiser.build(variables)
    images, labels = _batch(batch, size_px)

    def step() -> tf.Tensor:
        with tf.GradientTape() as tape:
            logits = network(images, training=True)
            loss = tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits)
            loss = tf.reduce_mean(loss)
        optimiser.apply(tape.gradient(loss, [v.value for v in variables]), variables)
        return loss

    compiled = tf.function(step, autograph=False)
    return lambda: compiled().numpy()


def _predicting(batch: int, size_px: int) -> Callable[[], object]:
    from deadlib.models import answering_network, build_network, for_prediction, halves
    from deadlib.recipe import ModelSection

    section = ModelSection(name="efficientnetb0")
    plain = build_network(section, size_px=(size_px, size_px), channels=CHANNELS, classes=CLASSES)
    network = answering_network(*(for_prediction(half, section) for half in halves(plain)))
    images = _batch(batch, size_px)[0].numpy()
    return lambda: network.predict_on_batch(images)


def _batch(batch: int, size_px: int) -> tuple:
    import tensorflow as tf

    images = tf.random.stateless_normal((batch, size_px, size_px, CHANNELS), (0, 0))
    return images, tf.range(batch) % CLASSES
