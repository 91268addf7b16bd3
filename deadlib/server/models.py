"""The models of a server: their versions come, answer and go without a request being lost."""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from deadlib.data.unit import unit_range
from deadlib.errors import ExportError, WebError
from deadlib.server.batching import Batcher, OverloadedError, Row
from deadlib.server.metrics import Metrics
from deadlib.server.settings import Settings
from deadlib.server.tensors import TensorInfo, short_decimals
from deadlib.serving import Bundle, open_bundle
from tfrecords_tools.errors import ToolsError

SAVED_MODEL = "saved_model.pb"
ANSWERS, EVIDENCE, EVIDENCE_OF_CLASS = "serving_default", "gradcam", "gradcam_of_class"

LOADING, AVAILABLE, UNLOADING, END = "LOADING", "AVAILABLE", "UNLOADING", "END"

OTHER_SIZE = 2.0
"""An image so many times larger or smaller than those of the training is told of."""

_ASSERTED = re.compile(r"assertion failed: \[deadlib: (.*?)\]((?: \[[^\]]*\])*)", re.DOTALL)

_log = logging.getLogger(__name__)


class NotServedError(WebError):
    """A model or version that is not there; the message is that of TensorFlow Serving."""


class SlowRequestError(WebError):
    """A request that takes too long to arrive."""


@dataclass(frozen=True)
class Answer:
    """What a model says of one image."""

    class_name: str
    probability: dict[str, float]
    """Of each class, in the model's order; calibrated where `calibrated`."""
    calibrated: bool
    version: int
    prediction_set: tuple[str, ...] | None = None
    """Of a calibrated model: the classes that it may be."""
    unsure: bool | None = None
    """Whether the set holds other than just one class; None where nothing is calibrated."""
    out_of_distribution: float | None = None
    """The share of known images that are more like the training images than this one."""
    unlike_training: bool | None = None
    """Whether that share is above the model's threshold."""
    warnings: tuple[str, ...] = ()
    evidence: np.ndarray | None = None
    """(h, w) float32, 0 and above: what speaks for the class, where it was asked for."""


@dataclass(frozen=True)
class Refused:
    """An image that cannot be answered, and why, in words."""

    error: str


@dataclass(eq=False)
class Version:
    """One exported version, from the moment it is found to after it is given up."""

    number: int
    folder: Path
    fingerprint: tuple[int, int]
    state: str = LOADING
    error: str = ""
    bundle: Bundle | None = None
    signature_defs: Mapping[str, Any] = field(default_factory=dict)
    """SignatureDef protocol buffers, as TensorFlow Serving tells them."""
    differences: Mapping[str, float] = field(default_factory=dict)
    """Of each signature, from the stored answers."""
    warnings: list[str] = field(default_factory=list)
    """What the check against the stored answers found."""
    in_use: int = 0
    unused: asyncio.Event | None = None

    @property
    def opened(self) -> Bundle:
        """The exported model, of a version that is served."""
        if self.bundle is None:
            raise NotServedError(f"{self.folder}: {self.error or 'is given up'}")
        return self.bundle

    def inputs(self, signature: str) -> dict[str, TensorInfo] | None:
        """The inputs of a signature by name; None where there is none of this name."""
        if signature not in self.signature_defs:
            return None
        return {
            name: TensorInfo(_dtype_name(info.dtype), tuple(d.size for d in info.tensor_shape.dim))
            for name, info in self.signature_defs[signature].inputs.items()
        }

    def run(self, signature: str, rows: list[dict[str, np.ndarray]]) -> list[dict[str, np.ndarray]]:
        """Answer rows, each the inputs of one image by name, all of equal shapes. Blocks."""
        import tensorflow as tf

        inputs = {
            name: tf.constant(
                [row[name].tolist() for row in rows]
                if rows[0][name].dtype.kind == "O"
                else np.stack([row[name] for row in rows])
            )
            for name in rows[0]
        }
        outputs = self.opened.signatures[signature](**inputs)
        arrays = {name: value.numpy() for name, value in outputs.items()}
        # bytes stay what they are in an array of objects
        return [
            {name: np.asarray(array[i], array.dtype) for name, array in arrays.items()}
            for i in range(len(rows))
        ]


class Key(NamedTuple):
    """What rows must share to be answered together."""

    model: str
    version: Version
    signature: str
    shapes: tuple[tuple[int, ...], ...]


@dataclass
class Model:
    """A folder of versions under a name."""

    name: str
    folder: Path
    versions: dict[int, Version] = field(default_factory=dict)

    def available(self) -> list[Version]:
        """What is served, the highest last."""
        # a copy, as another thread may add the version that it loads
        found = [v for v in tuple(self.versions.values()) if v.state == AVAILABLE]
        return sorted(found, key=lambda version: version.number)


class Models:
    """All models of a server, behind one queue.

    `load` first, in any thread; then `start` and `stop` in the event loop that asks.
    """

    def __init__(self, folders: Mapping[str, Path | str], settings: Settings) -> None:
        self.settings = settings
        self._models = {name: Model(name, Path(folder)) for name, folder in folders.items()}
        self._batcher = Batcher(_run, settings, self._told_of_batch)
        self.metrics = Metrics(lambda: self._batcher.waiting)
        self._polling: asyncio.Task[None] | None = None
        self._retiring: set[asyncio.Task[None]] = set()

    @property
    def names(self) -> list[str]:
        """The first is the one that is asked where none is named."""
        return list(self._models)

    @property
    def waiting(self) -> int:
        """Images in the queue."""
        return self._batcher.waiting

    def load(self) -> None:
        """Load what every folder holds. Raises WebError where a model has no usable version."""
        for model in self._models.values():
            _refuse_no_versions(model)
            for number in self._wanted(model):
                self._load(model, number)
            if not model.available():
                errors = "; ".join(v.error for v in model.versions.values())
                raise WebError(f"model {model.name}: {errors}")

    async def start(self) -> None:
        self._batcher.start()
        self._polling = asyncio.create_task(self._poll())

    async def stop(self) -> None:
        """End when what waits is answered."""
        if self._polling is not None:
            self._polling.cancel()
            await asyncio.gather(self._polling, return_exceptions=True)
        await self._batcher.close()

    def model(self, name: str) -> Model | None:
        return self._models.get(name)

    def served(self, name: str) -> list[Version]:
        """The versions of a model that answer, the highest last; none of an unknown model."""
        model = self._models.get(name)
        return model.available() if model else []

    def version(self, name: str, number: int | None = None) -> Version:
        """The version that answers: the highest, or the one asked for. Raises NotServedError."""
        found = self.served(name)
        if number is not None:
            found = [version for version in found if version.number == number]
        if not found:
            asked = f"Latest({name})" if number is None else f"Specific({name}, {number})"
            raise NotServedError(f"Servable not found for request: {asked}")
        return found[-1]

    @contextmanager
    def using(self, name: str, number: int | None = None) -> Iterator[Version]:
        """The version of `version`, which is not given up before the block ends."""
        version = self.version(name, number)
        with _used(version):
            yield version

    def bundle(self, name: str) -> Bundle:
        """The exported model that answers now. Raises NotServedError."""
        return self.version(name).opened

    @asynccontextmanager
    async def reading(self, name: str, length: str | None) -> AsyncIterator[None]:
        """While a request for a model is read: refused at once where too much waits already.

        length: its Content-Length. Raises OverloadedError, and SlowRequestError where the sender
        takes too long.
        """
        nbytes = int(length) if length else self.settings.largest_request_bytes
        try:
            with self._batcher.admitted(nbytes):
                async with asyncio.timeout(self.settings.read_seconds):
                    yield
        except TimeoutError:
            raise SlowRequestError(
                f"the request did not arrive within {self.settings.read_seconds:g} s"
            ) from None
        except OverloadedError:
            self.metrics.refusals.labels(name).inc()
            raise

    async def ask(
        self,
        name: str,
        version: Version,
        asked: Sequence[tuple[str, dict[str, np.ndarray]]],
        *,
        patient: bool = False,
    ) -> list[dict[str, np.ndarray] | BaseException]:
        """Each row (signature, inputs of one image) through the queue; a bad one gives its error.

        Raises OverloadedError and TooManyImagesError as `Batcher.ask` does.
        """
        rows = [
            Row(
                Key(name, version, signature, tuple(array.shape for array in inputs.values())),
                inputs,
                sum(_nbytes(array) for array in inputs.values()),
            )
            for signature, inputs in asked
        ]
        with _used(version):
            try:
                answers = await self._batcher.ask(rows, patient=patient)
            except OverloadedError:
                self.metrics.refusals.labels(name).inc()
                raise
        failed = sum(isinstance(answer, BaseException) for answer in answers)
        self.metrics.images.labels(name, "refused").inc(failed)
        self.metrics.images.labels(name, "answered").inc(len(answers) - failed)
        return answers

    async def predict(
        self,
        name: str,
        images: Sequence[np.ndarray],
        *,
        explain: bool = False,
        class_index: int | None = None,
        version: int | None = None,
        patient: bool = False,
    ) -> list[Answer | Refused]:
        """What the model says of images (H, W, C): uint8 or uint16 as stored, or float32.

        explain: with the evidence for the most probable class, or for the class of `class_index`,
        where the model was exported with it. version: the highest where None. patient: wait for
        room in the queue, rather than be refused.
        Raises NotServedError, and OverloadedError or TooManyImagesError where nothing of it was
        taken.
        """
        with self.using(name, version) as asked:
            refusals = [refusal(asked.opened, image) for image in images]
            good = [image for image, why in zip(images, refusals, strict=True) if why is None]
            units = await asyncio.to_thread(lambda: [unit_range(image) for image in good])
            rows: list[tuple[str, dict[str, Any]]] = [(ANSWERS, {"image": u}) for u in units]
            if explain:
                rows += [_explained(asked, unit, class_index) for unit in units]
            found = await self.ask(name, asked, rows, patient=patient) if rows else []
            answers = iter(_read(asked, image, found, i, len(good)) for i, image in enumerate(good))
            return [Refused(why) if why else next(answers) for why in refusals]

    def _told_of_batch(self, key: Key, rows: int, seconds: float) -> None:
        self.metrics.batch_images.labels(key.model, key.signature).observe(rows)
        self.metrics.batch_seconds.labels(key.model, key.signature).observe(seconds)

    async def _poll(self) -> None:
        while True:
            await asyncio.sleep(self.settings.poll_seconds)
            for model in self._models.values():
                try:
                    await self._refresh(model)
                except OSError as error:
                    _log.warning("%s: cannot be looked at: %s", model.folder, error)

    async def _refresh(self, model: Model) -> None:
        """Load what is new; give up what it replaces once that has answered what it was asked."""
        wanted = await asyncio.to_thread(self._wanted, model)
        for number in wanted:
            if await asyncio.to_thread(_worth_loading, model.versions.get(number)):
                await asyncio.to_thread(self._load, model, number)
        served = model.available()
        if sum(version.number in wanted for version in served) < len(wanted):
            return
        for version in served:
            if version.number not in wanted:
                task = asyncio.create_task(self._retire(model, version))
                self._retiring.add(task)
                task.add_done_callback(self._retiring.discard)

    def _wanted(self, model: Model) -> list[int]:
        """The highest versions on the disk; those that are served, where it shows none at all."""
        numbers = sorted(_versions(model.folder))[-self.settings.keep_versions :]
        return numbers or [version.number for version in model.available()]

    def _load(self, model: Model, number: int) -> None:
        folder = model.folder / str(number)
        version = Version(number, folder, _fingerprint(folder))
        model.versions[number] = version
        _log.info("model %s: version %d is loaded", model.name, number)
        try:
            bundle = open_bundle(folder)
            version.signature_defs = _signature_defs(folder)
            version.differences = _checked(bundle, version.warnings)
        except Exception as error:  # TensorFlow raises anything on damaged files
            version.state, version.error = END, _first_line(error)
            self.metrics.load_failures.labels(model.name).inc()
            _log.error("model %s: version %d is not served: %s", model.name, number, version.error)
            return
        for warning in version.warnings:
            _log.warning("model %s: %s", model.name, warning)
        for signature, difference in version.differences.items():
            gauge = self.metrics.golden_difference.labels(model.name, str(number), signature)
            gauge.set(difference)
        version.bundle, version.state = bundle, AVAILABLE
        self.metrics.versions.labels(model.name, str(number)).set(1)
        _log.info("model %s: version %d is served", model.name, number)

    async def _retire(self, model: Model, version: Version) -> None:
        version.state = UNLOADING
        self.metrics.versions.labels(model.name, str(version.number)).set(0)
        if version.in_use:
            version.unused = asyncio.Event()
            await version.unused.wait()
        version.bundle, version.state = None, END
        _log.info("model %s: version %d is given up", model.name, version.number)


def refusal(bundle: Bundle, image: np.ndarray) -> str | None:
    """Why a model cannot answer an image (H, W, C), as far as its description tells."""
    channels = bundle.channels
    if image.ndim != 3 or image.dtype.name not in ("uint8", "uint16", "float32"):
        return (
            f"{image.dtype.name} of shape {image.shape}, expected (H, W, C) uint8, uint16 or "
            "float32"
        )
    if image.shape[2] != len(channels):
        names = ", ".join(channels)
        return (
            f"the image has {image.shape[2]} channels; this model takes {len(channels)} ({names})"
        )
    window = bundle.window_px
    if bundle.fit != "resize" and window and (np.array(image.shape[:2]) < window).any():
        return (
            f"the image has {image.shape[0]} x {image.shape[1]} px; this model takes at least "
            f"{window[0]} x {window[1]} px"
        )
    if image.dtype.kind == "f" and not np.isfinite(image).all():
        return "the image has values that are not finite (NaN or infinite)"
    return None


def in_words(error: BaseException) -> str:
    """What a model said of an image: the sentence for its sender where there is one."""
    if isinstance(error, ToolsError):
        return str(error)
    text = graph_message(error)
    found = _ASSERTED.search(text)
    if found is None:
        return text.partition("\n")[0]
    values = re.findall(r"\[([^\]]*)\]", found[2])
    return " ".join([found[1], *values])


def graph_message(error: BaseException) -> str:
    """What TensorFlow said, without what it puts around the message of a graph."""
    if isinstance(error, UnicodeDecodeError):  # it quoted bytes of a file that are no text
        text = error.object.decode("utf-8", "replace")
    else:
        text = str(error).strip() or type(error).__name__
    start = text.find("assertion failed:")
    return text[max(start, 0) :].partition(" [Op:")[0]


def _run(key: Key, rows: list[dict[str, np.ndarray]]) -> list[dict[str, np.ndarray]]:
    return key.version.run(key.signature, rows)


def _explained(
    version: Version, unit: np.ndarray, class_index: int | None
) -> tuple[str, dict[str, Any]]:
    signature = EVIDENCE if class_index is None else EVIDENCE_OF_CLASS
    inputs = version.inputs(signature)
    if inputs is None:
        raise NotServedError("this model was exported without evidence (gradcam); export it again")
    row: dict[str, Any] = {"image": unit}
    if class_index is not None:
        row["class_index"] = np.asarray(class_index, np.int32)
    return signature, row


def _read(
    version: Version, image: np.ndarray, found: list[Any], i: int, n: int
) -> Answer | Refused:
    """The answer to image `i` of `n`: its outputs stand at i, its evidence, if any, at n + i."""
    bundle = version.opened
    outputs = found[i]
    if isinstance(outputs, BaseException):
        return Refused(in_words(outputs))
    evidence = found[n + i] if len(found) > n else None
    warnings = list(warnings_about(bundle, image))
    if isinstance(evidence, BaseException):
        warnings.append(f"no evidence: {in_words(evidence)}")
        evidence = None
    classes = bundle.classes
    values = short_decimals(outputs["probability"]).tolist()
    calibrated = "prediction_set" in outputs
    chosen = far = unlike = None
    if calibrated:
        kept = zip(classes, outputs["prediction_set"], strict=True)
        chosen = tuple(name for name, inside in kept if inside)
        far = float(outputs["out_of_distribution"])
        above = bundle.out_of_distribution_above
        unlike = None if above is None else far > above
    return Answer(
        class_name=outputs["class_name"].item().decode(),
        probability=dict(zip(classes, values, strict=True)),
        calibrated=calibrated,
        version=version.number,
        prediction_set=chosen,
        unsure=None if chosen is None else len(chosen) != 1,
        out_of_distribution=far,
        unlike_training=unlike,
        warnings=tuple(warnings),
        evidence=None if evidence is None else evidence["evidence"],
    )


def warnings_about(bundle: Bundle, image: np.ndarray) -> Iterator[str]:
    """What to be careful about in the answer to an image (H, W, C)."""
    if str(bundle.description["input"]["normalise"]).startswith("plate"):
        yield (
            "this model compares images with their plates; this one was taken for one of a plate "
            "like the mean of the training plates"
        )
    window = bundle.window_px
    if bundle.fit != "resize" and window and image.shape[:2] != window:
        yield (
            f"only the window of {window[0]} x {window[1]} px in the middle of the image was "
            f"looked at; the image has {image.shape[0]} x {image.shape[1]} px"
        )
    if bundle.fit == "resize" and window:
        # the whole image is brought to the network's size, whatever the cells' size in it
        enlarged = max(window[0] / image.shape[0], window[1] / image.shape[1])
        shrunk = max(image.shape[0] / window[0], image.shape[1] / window[1])
        if max(enlarged, shrunk) >= OTHER_SIZE:
            yield (
                f"the image has {image.shape[0]} x {image.shape[1]} px, and the model learnt from "
                f"images of {window[0]} x {window[1]} px: cells may seem far "
                f"{'larger' if enlarged > shrunk else 'smaller'} to it than those that it knows"
            )


@contextmanager
def _used(version: Version) -> Iterator[None]:
    version.in_use += 1
    try:
        yield
    finally:
        version.in_use -= 1
        if not version.in_use and version.unused is not None:
            version.unused.set()


def _refuse_no_versions(model: Model) -> None:
    folder = model.folder
    if _versions(folder):
        return
    if (folder / SAVED_MODEL).is_file():
        raise WebError(
            f"{folder}: is one version of a model, expected the folder above it: {folder.parent}"
        )
    raise WebError(
        f"{folder}: holds no exported model (a folder named 1, 2, ... with {SAVED_MODEL}); "
        "make one: deadlib-export RUN FOLDER"
    )


def _versions(folder: Path) -> list[int]:
    if not folder.is_dir():
        return []
    return [
        int(path.name)
        for path in folder.iterdir()
        if path.name.isdecimal() and (path / SAVED_MODEL).is_file()
    ]


def _worth_loading(known: Version | None) -> bool:
    """Whether a version is new, wanted again, or has changed since it failed."""
    if known is None or known.state != END:
        return known is None
    return not known.error or known.fingerprint != _fingerprint(known.folder)


def _fingerprint(folder: Path) -> tuple[int, int]:
    """Newest change and size of all files: whether one that failed is worth another attempt."""
    try:
        found = [path.stat() for path in folder.rglob("*")]
    except OSError:
        return (0, 0)
    return max((s.st_mtime_ns for s in found), default=0), sum(s.st_size for s in found)


def _checked(bundle: Bundle, warnings: list[str]) -> Mapping[str, float]:
    """Load the model and compare it with its stored answers, which warms it up as well."""
    if not bundle.signatures:
        raise ExportError(f"{bundle.folder}: holds no signature; export it again")
    try:
        return bundle.check(warn=warnings.append)
    except ToolsError as error:
        warnings.append(str(error))
        return {}


def _signature_defs(folder: Path) -> Mapping[str, Any]:
    from tensorflow.core.protobuf.saved_model_pb2 import SavedModel

    saved = SavedModel.FromString((folder / SAVED_MODEL).read_bytes())
    return dict(saved.meta_graphs[0].signature_def)


def _dtype_name(number: int) -> str:
    from tensorflow.core.framework import types_pb2

    return str(types_pb2.DataType.Name(number))


def _nbytes(array: np.ndarray) -> int:
    return len(array.item()) if array.dtype.kind == "O" and array.ndim == 0 else array.nbytes


def _first_line(error: BaseException) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
