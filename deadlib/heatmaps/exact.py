"""Windows of a frame through the run's preprocessing and network one by one, as in prediction."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import tensorflow as tf

from deadlib.data.preprocess import fit_size
from deadlib.data.unit import unit_range
from deadlib.heatmaps.regions import Frame, read_region
from deadlib.heatmaps.setting import Setting


class ExactMapper:
    """Answers for any windows of a frame. All batches have one shape, so the graph is made once."""

    def __init__(self, network: keras.Model, setting: Setting, batch: int) -> None:
        self._network = network
        self._setting = setting
        self._batch = batch
        self._answer = tf.function(self._answers, autograph=False)

    def probabilities(self, frame: Frame, tops_px: np.ndarray, lefts_px: np.ndarray) -> np.ndarray:
        """(N, classes) float32 of the windows that begin at these rows and columns, (N,) each.

        Windows are cut when their batch comes; a strip of the frame is read for each run of windows
        with the same top.
        """
        found = []
        strip = _Strip(frame, self._setting, int(lefts_px.min()), int(lefts_px.max()))
        for start in range(0, len(tops_px), self._batch):
            tops = tops_px[start : start + self._batch]
            lefts = lefts_px[start : start + self._batch]
            missing = self._batch - len(tops)
            windows = np.stack(
                [strip.window(int(top), int(left)) for top, left in zip(tops, lefts, strict=True)]
            )
            windows = np.pad(windows, ((0, missing), (0, 0), (0, 0), (0, 0)), mode="edge")
            found.append(np.asarray(self._answer(windows))[: len(tops)])
        return np.concatenate(found)

    def _answers(self, windows: Any) -> Any:
        setting = self._setting
        section = setting.section
        images = unit_range(windows)
        if section.fit == "crop" and images.shape[1:3] != setting.stored_px:
            images = tf.image.resize(images, setting.stored_px, antialias=True)
        if section.fit == "resize" or section.equalise:
            shape = setting.size_px if section.fit == "resize" else setting.stored_px
            images = tf.map_fn(
                lambda image: tf.ensure_shape(fit_size(image, section), (*shape, image.shape[-1])),
                images,
            )
        return tf.nn.softmax(self._network(setting.preprocess(images), training=False))


class _Strip:
    """The rows of a frame that a row of windows looks at, read once."""

    def __init__(self, frame: Frame, setting: Setting, first_px: int, last_px: int) -> None:
        self._frame = frame
        self._rows, self._columns = setting.cut_px
        self._above = (self._rows - setting.window_px[0]) // 2
        self._before = (self._columns - setting.window_px[1]) // 2
        self._first, self._last = first_px, last_px
        self._top: int | None = None
        self._pixels = np.zeros(())

    def window(self, top: int, left: int) -> np.ndarray:
        if top != self._top:
            self._pixels = read_region(
                self._frame,
                top - self._above,
                self._first - self._before,
                self._rows,
                self._last - self._first + self._columns,
            )
            self._top = top
        return self._pixels[:, left - self._first : left - self._first + self._columns]
