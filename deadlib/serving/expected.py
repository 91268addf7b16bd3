"""What a run answers for stored images of its dataset, by its own network and NumPy."""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from deadlib.calibration import softmax
from deadlib.data.plates import PLATE, moved
from deadlib.data.preprocess import fit_size, preprocess_for
from deadlib.data.unit import unit_range
from deadlib.data.view import open_viewed
from deadlib.inputs import RunInput, channel_positions, spread_over_labels
from deadlib.models import embedding_network, gradcam, last_convolution
from deadlib.runs import Run
from deadlib.serving.golden import Golden
from tfrecords_tools.errors import ToolsError

GOLDEN_EXAMPLES = 8


def expected_of(run: Run) -> tuple[str, Golden]:
    """Where the images are from, and what is expected for them."""
    origin, names, images, plates = _stored_images(run)
    section = run.recipe.input
    fitted = [np.asarray(fit_size(unit_range(image), section))[None] for image in images]
    answers = _answers(run, fitted)
    if plates:
        reference = run.dataset["statistics"]
        ends = [np.float32(reference[name]) for name in ("mean", "deviation")]
        on_plates = [
            np.asarray(moved(image, centre[None], scale[None], *ends))
            for image, centre, scale in zip(fitted, plates["centre"], plates["scale"], strict=True)
        ]
        plates |= _answers(run, on_plates)
    return origin, Golden(names, images, answers, plates, run.calibration)


def _answers(run: Run, fitted: list[np.ndarray]) -> dict[str, np.ndarray]:
    """What is served for images (1, H, W, C) fitted to size, by the network and NumPy."""
    plain = run.network()
    network = embedding_network(plain, run.recipe.input.crops)
    preprocess = preprocess_for(run.recipe.input, run.dataset)
    # One at a time: with fit=crop the stored sizes may differ.
    answers = [network.predict_on_batch(np.asarray(preprocess.crops(image))) for image in fitted]
    logits = np.concatenate([np.asarray(answer[0]) for answer in answers])
    embedding = np.concatenate([np.asarray(answer[1]) for answer in answers])
    explained = gradcam.with_maps(plain, last_convolution(plain))
    seen = tf.concat([preprocess(image) for image in fitted], axis=0)
    likeliest = tf.constant(logits.argmax(axis=1).astype(np.int32))
    evidence = gradcam.heat(*gradcam.maps_and_weights(explained, seen, likeliest))
    found = {"embedding": embedding, "evidence": np.asarray(evidence)}
    if run.calibration is None:
        return found | {"probability": softmax(logits).astype(np.float32)}
    probability = run.calibration.probabilities(logits)
    return found | {
        "probability": probability.astype(np.float32),
        "prediction_set": run.calibration.prediction_sets(probability),
        "out_of_distribution": run.calibration.out_of_distribution(embedding).astype(np.float32),
    }


def _stored_images(
    run: Run,
) -> tuple[str, list[str], list[np.ndarray], dict[str, np.ndarray]]:
    """Where they are from, their ids, images (H, W, C) in the network's order of channels, and the
    centre and scale (N, C) of their plates where the run needs them."""
    path = run.dataset["path"]
    try:
        dataset = open_viewed(run.recipe, path)
    except ToolsError:
        return _noise(run, f"seeded noise: {path} is not there any more")
    if dataset.fingerprint != run.dataset["fingerprint"]:
        return _noise(run, f"seeded noise: {path} is not the dataset that the run was trained on")
    given = RunInput(run, dataset, channel_positions(run, dataset))
    examples = dataset.manifest.reset_index(drop=True)
    held_back = examples[examples["split"] == "test"]
    chosen = spread_over_labels(examples if held_back.empty else held_back, GOLDEN_EXAMPLES, seed=0)
    rows = chosen.index.to_numpy()
    images = [given.image(int(row)) for row in rows]
    correction, plates = given.correction, {}
    if correction is not None and run.recipe.input.illumination:
        images = [
            np.asarray(correction.flattened(unit_range(image)[None], row[None]))[0]
            for image, row in zip(images, rows, strict=True)
        ]
    if correction is not None and run.recipe.input.normalise in PLATE:
        key = correction.key[rows]
        plates = {"centre": correction.centre[key], "scale": correction.scale[key]}
    return str(path), list(chosen["example_id"]), images, plates


def _noise(run: Run, origin: str) -> tuple[str, list[str], list[np.ndarray], dict[str, np.ndarray]]:
    shape = run.dataset.get("image_shape") or run.recipe.input.size_px
    generator = np.random.default_rng(0)
    size = (GOLDEN_EXAMPLES, shape[0], shape[1], len(run.channels))
    images = list(generator.integers(0, 256, size, dtype=np.uint8))
    plates = {}
    if run.recipe.input.normalise in PLATE:
        # White noise in 0-1 has a mean of 1/2 and a deviation of the root of 1/12.
        values = {"centre": 0.5, "scale": 0.2887}
        plates = {
            name: np.full((GOLDEN_EXAMPLES, len(run.channels)), value, np.float32)
            for name, value in values.items()
        }
    return origin, [f"noise {number}" for number in range(GOLDEN_EXAMPLES)], images, plates
