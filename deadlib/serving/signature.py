"""The served tensors: images or encoded files in; probability, prediction set and more out, or
where in the image the evidence lies.

Everything between lies in the graph: decoding, fitting to size, normalisation, network. Wrong
input is refused there, with a message for the one who sent it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from deadlib.calibration import Calibration, Neighbours
from deadlib.calibration.neighbours import SHORTEST
from deadlib.crops import five_crops
from deadlib.data.plates import PLATE, moved
from deadlib.data.preprocess import Preprocess, fit_size
from deadlib.data.unit import unit_range
from deadlib.models import embedding_network, gradcam, last_convolution
from deadlib.recipe import InputSection

FLOAT_SIGNATURE = "serving_default"
ENCODED_SIGNATURE = "encoded"
GRADCAM_SIGNATURE = "gradcam"
GRADCAM_OF_CLASS_SIGNATURE = "gradcam_of_class"
PLATE_SIGNATURES = {
    FLOAT_SIGNATURE: "plate",
    ENCODED_SIGNATURE: "encoded_plate",
    GRADCAM_SIGNATURE: "gradcam_plate",
    GRADCAM_OF_CLASS_SIGNATURE: "gradcam_of_class_plate",
}
"""What also takes the centre and scale of each image's plate, beside what does not."""
PLATE_INPUTS = ("centre", "scale")
ENCODED_CHANNELS = (1, 3, 4)
"""What a picture file can hold: grey, colour, and, in a PNG, four channels."""

LARGEST_UNIT = 1.001

_PNG, _JPEG, _BMP = b"\x89PNG", b"\xff\xd8\xff", b"BM"


class ServedNetwork:
    """A network with its preprocessing, as the signatures of a SavedModel.

    Two answer what an image is, of floats or of files, and two show where the evidence for a class
    lies (Grad-CAM): for the most probable one, or for one that is asked about. A network that
    compares images with their plates has each once more, with the centre and scale of each image's
    plate; without these, an image is taken for one of a plate like the mean of the training plates.

    network: preprocessed images (B, H, W, C) to logits (B, K). integers: the run was trained on
    integer images: floats above 1 are then a mistake of the sender, and files can be taken.
    calibration: of the run; with one, probabilities are calibrated and there are two more answers.
    """

    def __init__(
        self,
        network: keras.Model,
        preprocess: Preprocess,
        section: InputSection,
        *,
        classes: Sequence[str],
        channels: Sequence[str],
        integers: bool,
        calibration: Calibration | None = None,
    ) -> None:
        self._network = embedding_network(network, section.crops)
        self._with_maps = gradcam.with_maps(network, last_convolution(network))
        window = (*section.size_px, len(channels))
        crops = () if section.crops == 1 else (section.crops,)
        # each traced once, for whichever signatures ask it
        self._logits_and_embedding = tf.function(
            lambda seen: self._network(seen, training=False),
            input_signature=[tf.TensorSpec((None, *crops, *window), tf.float32)],
        )
        self._heat_of = tf.function(
            self._heat_of_window,
            input_signature=[
                tf.TensorSpec((None, *window), tf.float32),
                tf.TensorSpec((None,), tf.int32),
            ],
        )
        self._preprocess = preprocess
        self._section = section
        self._classes = tuple(classes)
        self._channels = tuple(channels)
        self._integers = integers
        self._calibration = calibration

    def variables(self) -> tf.Module:
        """What holds the variables of the signatures, to save them with.

        Keras's own variables are saved as copies, which only `tf.saved_model.load` joins to the
        graph again; a session, which is how TensorFlow Serving loads, would find the graph's empty.
        """
        module = tf.Module(name="deadlib")
        module.weights = [variable.value for variable in self._network.variables]
        return module

    def signatures(self) -> dict[str, Any]:
        """The functions to save, by signature name."""
        image = tf.TensorSpec((None, None, None, None), tf.float32, name="image")
        class_index = tf.TensorSpec((None,), tf.int32, name="class_index")
        found = {
            FLOAT_SIGNATURE: tf.function(self._of_floats, input_signature=[image]),
            GRADCAM_SIGNATURE: tf.function(self._evidence, input_signature=[image]),
            GRADCAM_OF_CLASS_SIGNATURE: tf.function(
                self._evidence_for, input_signature=[image, class_index]
            ),
        }
        if self._integers and len(self._channels) in ENCODED_CHANNELS:
            image_bytes = tf.TensorSpec((None,), tf.string, name="image_bytes")
            found[ENCODED_SIGNATURE] = tf.function(self._of_files, input_signature=[image_bytes])
        if self._section.normalise in PLATE:
            plate = [
                tf.TensorSpec((None, len(self._channels)), tf.float32, name=name)
                for name in PLATE_INPUTS
            ]
            for name, function in list(found.items()):
                signature = [*function.input_signature, *plate]
                found[PLATE_SIGNATURES[name]] = tf.function(
                    function.python_function, input_signature=signature
                )
        return found

    def _of_floats(
        self, image: tf.Tensor, centre: tf.Tensor | None = None, scale: tf.Tensor | None = None
    ) -> dict[str, tf.Tensor]:
        return self._answer(self._seen(self._checked(image), self._fitted, centre, scale))

    def _of_files(
        self,
        image_bytes: tf.Tensor,
        centre: tf.Tensor | None = None,
        scale: tf.Tensor | None = None,
    ) -> dict[str, tf.Tensor]:
        def prepare(data: tf.Tensor) -> tf.Tensor:
            return self._fitted(self._decoded(data))

        return self._answer(self._seen(image_bytes, prepare, centre, scale))

    def _evidence(
        self, image: tf.Tensor, centre: tf.Tensor | None = None, scale: tf.Tensor | None = None
    ) -> dict[str, tf.Tensor]:
        seen = self._seen(self._checked(image), self._fitted, centre, scale)
        if self._section.crops == 1:
            return self._heat(seen, tf.fill(tf.shape(image)[:1], -1))
        logits, _ = self._logits_and_embedding(seen)
        return self._heat(seen, tf.argmax(logits, axis=1, output_type=tf.int32))

    def _evidence_for(
        self,
        image: tf.Tensor,
        class_index: tf.Tensor,
        centre: tf.Tensor | None = None,
        scale: tf.Tensor | None = None,
    ) -> dict[str, tf.Tensor]:
        with tf.control_dependencies([_known_class(class_index, len(self._classes))]):
            seen = self._seen(self._checked(image), self._fitted, centre, scale)
        return self._heat(seen, class_index)

    def _heat(self, seen: tf.Tensor, class_index: tf.Tensor) -> dict[str, tf.Tensor]:
        """Of five windows the central one is looked at."""
        window = seen if self._section.crops == 1 else seen[:, -1]
        return {"evidence": self._heat_of(window, class_index)}

    def _heat_of_window(self, window: tf.Tensor, class_index: tf.Tensor) -> tf.Tensor:
        return gradcam.heat(*gradcam.maps_and_weights(self._with_maps, window, class_index))

    def _checked(self, image: tf.Tensor) -> tf.Tensor:
        with tf.control_dependencies(_finite(image) + (_unit(image) if self._integers else [])):
            return tf.identity(image)

    def _seen(
        self,
        given: tf.Tensor,
        prepare: Callable[[tf.Tensor], tf.Tensor],
        centre: tf.Tensor | None,
        scale: tf.Tensor | None,
    ) -> tf.Tensor:
        """What the network sees of the images: (B, *size_px, C), or five windows of each."""
        crops = () if self._section.crops == 1 else (self._section.crops,)
        shape = (*crops, *self._section.size_px, len(self._channels))
        fitted = tf.map_fn(prepare, given, fn_output_signature=tf.TensorSpec(shape, tf.float32))
        if centre is not None and scale is not None:
            with tf.control_dependencies([_positive(scale)]):
                mean, deviation = (
                    np.array(part, np.float32)
                    for part in (self._preprocess.mean, self._preprocess.deviation)
                )
                fitted = moved(fitted, centre, scale, mean, deviation)
        return fitted if self._preprocess.crops_last else self._preprocess.normalise(fitted)

    def _answer(self, seen: tf.Tensor) -> dict[str, tf.Tensor]:
        logits, embedding = self._logits_and_embedding(seen)
        names = tf.constant(self._classes)
        answer = {
            "class_name": tf.gather(names, tf.argmax(logits, axis=1)),
            "class_names": tf.tile(names[None], (tf.shape(logits)[0], 1)),
            "embedding": embedding,
        }
        if self._calibration is None:
            return answer | {"probability": tf.nn.softmax(logits)}
        # In double, as deadlib computes it: a class lies in the set or not by a hair.
        sure = tf.cast(logits, tf.float64) / self._calibration.temperature
        probability = tf.nn.softmax(sure)
        return answer | {
            "probability": tf.cast(probability, tf.float32),
            "prediction_set": probability >= self._calibration.least,
            "out_of_distribution": out_of_distribution(embedding, self._calibration.neighbours),
        }

    def _decoded(self, data: tf.Tensor) -> tf.Tensor:
        """One PNG, JPEG or BMP file as (H, W, C) float32 in unit range, opaque alpha dropped."""
        image = decode_file(data)
        expected = len(self._channels)
        found = tf.shape(image)[-1]
        opaque = tf.equal(found, expected + 1) & tf.reduce_all(image[..., expected:] >= 1.0)
        return tf.cond(opaque, lambda: image[..., :expected], lambda: image)

    def _fitted(self, image: tf.Tensor) -> tf.Tensor:
        """One image (H, W, C) in unit range at the size that the network takes, or its crops;
        normalised where that is done before a window is cut."""
        expected = len(self._channels)
        found = tf.shape(image)
        right = _refuse_unless(
            tf.equal(found[-1], expected),
            f"deadlib: this model takes {expected} channels ({', '.join(self._channels)}), found",
            found[-1],
        )
        with tf.control_dependencies([right]):
            image = tf.identity(image)
        # A graph that is being traced for other channels must still be built; `right` refuses it.
        image = tf.reshape(image[..., :expected], (found[0], found[1], expected))
        rows, columns = self._section.size_px
        image = fit_size(image, self._section)
        if self._section.fit == "resize":
            return image
        large = _refuse_unless(
            (found[0] >= rows) & (found[1] >= columns),
            f"deadlib: this model takes images of at least {rows} x {columns} px, found",
            found[:2],
        )
        with tf.control_dependencies([large]):
            if self._preprocess.crops_last:
                image = self._preprocess.normalise(image[None])[0]
            if self._section.crops > 1:
                return five_crops(image[None], (rows, columns))[0]
            top, left = (found[0] - rows) // 2, (found[1] - columns) // 2
            return tf.image.crop_to_bounding_box(image, top, left, rows, columns)


def out_of_distribution(embedding: tf.Tensor, known: Neighbours) -> tf.Tensor:
    """Graph op: `Neighbours.out_of_distribution` of embeddings (B, D), as (B,) float32."""
    # Doubles, as in deadlib: near examples differ by the last digits of these sums.
    known_embedding = tf.cast(embedding, tf.float64)
    length = tf.norm(known_embedding, axis=1, keepdims=True)
    part, others = known_embedding / tf.maximum(length, SHORTEST), known.reference.astype(float)
    squares = (
        tf.reduce_sum(tf.square(part), axis=1, keepdims=True)
        + np.square(others).sum(axis=1)
        - 2 * tf.matmul(part, others, transpose_b=True)
    )
    nearest = -tf.math.top_k(-squares, k=known.neighbours).values[:, -1]
    distance = tf.cast(tf.sqrt(tf.maximum(nearest, 0)), tf.float32)
    # Beyond the last all are closer; before the first none is.
    distances = np.append(known.distances, np.float32(np.inf))
    shares = np.append(known.shares, np.float32(1))
    after = tf.searchsorted(distances, distance, side="right")
    low = tf.maximum(after - 1, 0)
    step = tf.gather(distances, after) - tf.gather(distances, low)
    way = tf.math.divide_no_nan(distance - tf.gather(distances, low), step)
    rise = tf.gather(shares, after) - tf.gather(shares, low)
    found = tf.gather(shares, low) + tf.clip_by_value(way, 0, 1) * rise
    beyond = distance > known.distances[-1]
    return tf.where(beyond, 1.0, found)


def decode_file(data: tf.Tensor) -> tf.Tensor:
    """Graph op: the bytes () of a PNG (8 or 16 bit), JPEG or BMP as (H, W, C) float32 in 0..1.

    Not tf.io.decode_image: as uint16 it gives an 8-bit BMP's values times 256, and it decodes JPEG
    with a fast transform that differs by several grey levels from what pillow reads.
    """

    def png() -> tf.Tensor:
        return unit_range(tf.io.decode_png(data, dtype=tf.uint16))

    def jpeg() -> tf.Tensor:
        exact = tf.io.decode_jpeg(data, dct_method="INTEGER_ACCURATE")
        return unit_range(exact)

    def bmp() -> tf.Tensor:
        with tf.control_dependencies([_grey_palette(data)]):
            image = tf.io.decode_bmp(data)
        # The fourth byte of a BMP's pixel is padding.
        return unit_range(image[..., :3])

    def unknown() -> tf.Tensor:
        known = "deadlib: not a PNG, JPEG or BMP file; send other images as floats; it begins with"
        with tf.control_dependencies([_refuse_unless(tf.constant(False), known, _head(data, 4))]):
            return tf.zeros((1, 1, 1))

    image = tf.case(
        [
            (tf.equal(_head(data, 4), _PNG), png),
            (tf.equal(_head(data, 3), _JPEG), jpeg),
            (tf.equal(_head(data, 2), _BMP), bmp),
        ],
        default=unknown,
    )
    return tf.ensure_shape(image, (None, None, None))


def _grey_palette(data: tf.Tensor) -> tf.Operation:
    """TensorFlow reads a BMP's colour numbers as grey values: refuse other than a grey palette."""
    pixels_at = tf.io.decode_raw(tf.strings.substr(data, 10, 4), tf.int32)[0]
    palette_at = 14 + tf.io.decode_raw(tf.strings.substr(data, 14, 4), tf.int32)[0]
    bits = tf.io.decode_raw(tf.strings.substr(data, 28, 2), tf.uint16)[0]
    entries = tf.where(tf.equal(bits, 8), (pixels_at - palette_at) // 4, 0)
    palette = tf.io.decode_raw(tf.strings.substr(data, palette_at, 4 * entries), tf.uint8)
    colours = tf.cast(tf.reshape(palette, (-1, 4))[:, :3], tf.int32)
    grey = tf.reduce_all(tf.equal(colours, tf.range(entries)[:, None]))
    message = "deadlib: a BMP with a palette of colours; save it as PNG; number of colours:"
    return _refuse_unless(grey, message, entries)


def _head(data: tf.Tensor, size: int) -> tf.Tensor:
    return tf.strings.substr(data, 0, size)


def _finite(image: tf.Tensor) -> list[tf.Operation]:
    broken = tf.reduce_sum(tf.cast(~tf.math.is_finite(image), tf.int32))
    message = "deadlib: expected finite intensities; number of NaN or infinite ones:"
    return [_refuse_unless(tf.equal(broken, 0), message, broken)]


def _positive(scale: tf.Tensor) -> tf.Operation:
    message = "deadlib: expected a finite scale above 0 for every image and channel, found"
    usable = tf.math.is_finite(scale) & (scale > 0)
    return _refuse_unless(tf.reduce_all(usable), message, scale)


def _known_class(class_index: tf.Tensor, classes: int) -> tf.Operation:
    message = f"deadlib: expected a class_index from 0 to {classes - 1}, found"
    known = (class_index >= 0) & (class_index < classes)
    return _refuse_unless(tf.reduce_all(known), message, class_index)


def _unit(image: tf.Tensor) -> list[tf.Operation]:
    low, high = tf.reduce_min(image), tf.reduce_max(image)
    message = (
        "deadlib: expected intensities in 0-1: divide 8-bit images by 255, 16-bit ones by 65535; "
        "found from, to:"
    )
    return [_refuse_unless((low >= 0) & (high <= LARGEST_UNIT), message, tf.stack([low, high]))]


def _refuse_unless(condition: tf.Tensor, message: str, found: tf.Tensor) -> tf.Operation:
    return tf.debugging.Assert(condition, [message, found])
