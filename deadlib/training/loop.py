"""Rounds: steps, validation, checkpoints, history; stopped and taken up again at any step."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from math import ceil, isfinite
from pathlib import Path

import keras
import numpy as np

from deadlib import runs
from deadlib.crops import one_by_one
from deadlib.errors import RecipeError, RunError
from deadlib.recipe import Recipe, recipe_text
from deadlib.training.board import Board
from deadlib.training.build import Trainer
from deadlib.training.checkpoint import (
    assign_arrays,
    load_checkpoint,
    save_checkpoint,
    variable_arrays,
)
from deadlib.training.devices import has_gpu
from deadlib.training.phases import phase_at
from deadlib.training.state import TOTALS, HistoryRow, State, write_history
from deadlib.training.step import Batch, prepare
from deadlib.training.stop import StoppedError, StopRequest
from deadlib.training.validation import (
    Predictions,
    confusion_counts,
    is_higher_better,
    measure,
    predict_batches,
)
from deadlib.training.waiting import Clock

Progress = Callable[[str, int, int], None]
OnRound = Callable[[HistoryRow], None]

LATEST = "latest"
KEPT = "kept"
NETWORK = "network"
LEARNT = "learnt"
OPTIMISER = "optimiser"

WATCHED_EVERY = 16
"""One of so many steps on a GPU is watched for how long it waits for input."""


@dataclass
class Loop:
    """One training, from wherever `state` stands to its end."""

    recipe: Recipe
    folder: Path
    classes: list[str]
    groups: np.ndarray
    """The group of every manifest row."""
    trainer: Trainer
    plain: keras.Model
    """The network as it is saved: float32, for one device."""
    progress: Progress | None = None
    on_round: OnRound | None = None
    state: State = field(default_factory=State)

    def restore(self) -> None:
        """Go on from the latest checkpoint, if there is one. Raises RunError if it is damaged."""
        found = load_checkpoint(self._checkpoints / LATEST)
        if found is None:
            return
        arrays, stored = found
        self.state = State.from_json(stored)
        for prefix, variables in (
            (NETWORK, self.trainer.parts.network.variables),
            (LEARNT, list(self.trainer.learnt)),
            (OPTIMISER, self._optimiser.variables),
        ):
            assign_arrays(prefix, variables, arrays, self._checkpoints / LATEST)

    def run(self) -> None:
        """Train to the end.

        Raises StoppedError after a signal, with a checkpoint written; RecipeError where the loss
        is no longer a number.
        """
        board = Board(self.folder / runs.TENSORBOARD)
        board.write_recipe(recipe_text(self.recipe))
        patience = self.recipe.validation.patience_epochs
        batches = self.trainer.batches(self.state.step)
        try:
            with StopRequest() as stop:
                while not self.state.is_finished(self.trainer.rounds, patience):
                    self._train(batches, stop, board)
                    predictions = self._validate(stop)
                    self._finish_round(predictions, board)
        finally:
            board.close()

    def kept_network(self) -> keras.Model:
        """The network with the weights kept. Raises RunError where there are none."""
        found = load_checkpoint(self._checkpoints / KEPT)
        if found is None:
            raise RunError(f"{self._checkpoints / KEPT}: missing; start again with --overwrite")
        assign_arrays(NETWORK, self.plain.weights, found[0], self._checkpoints / KEPT)
        return self.plain

    @property
    def _checkpoints(self) -> Path:
        return self.folder / runs.CHECKPOINTS

    @property
    def _optimiser(self) -> keras.optimizers.Optimizer:
        """That of the step to come; the one before it has done its part when a phase ends."""
        return phase_at(self.trainer.phases, self.state.step).optimiser

    def _train(self, batches: Iterator[Batch], stop: StopRequest, board: Board) -> None:
        """The steps that the running round still lacks."""
        state, trainer, training = self.state, self.trainer, self.recipe.training
        number = len(state.history)
        start, end = trainer.rounds.end(number - 1), trainer.rounds.end(number)
        trainer.totals.assign(state.totals)
        clock = Clock(trainer.totals.numpy, WATCHED_EVERY if has_gpu() else 1)
        while state.step < end:
            batch = clock.waiting(lambda: next(batches))
            if state.step == start and _is_power_of_two(number + 1):
                board.write_batch(self._augmented(batch), state.step)
            trainer.step(batch, state.step)
            state.step += 1
            if self.progress is not None:
                self.progress("training", state.step, trainer.rounds.total)
            if _is_due(state.step, training.snapshot_every_steps):
                self._save_snapshot()
            self._obey(stop, clock)
            if _is_due(state.step, training.checkpoint_every_steps) and state.step < end:
                self._add_sums(clock)
                self._save()
        self._add_sums(clock)

    def _validate(self, stop: StopRequest) -> Predictions:
        batches = self.trainer.validation_batches()
        return predict_batches(self.trainer.forward, batches, lambda: self._obey(stop))

    def _finish_round(self, predictions: Predictions, board: Board) -> None:
        row = self._history_row(predictions)
        state, parts = self.state, self.trainer.parts
        state.history.append(row)
        state.totals, state.seconds, state.waited_seconds = [0.0] * len(TOTALS), 0.0, 0.0
        validation = self.recipe.validation
        value = row[f"validation_{validation.metric}"]
        higher = is_higher_better(validation.metric)
        if validation.keep == "last" or state.is_improvement(value, higher):
            state.kept_step, state.kept_value = state.step, value
            arrays = variable_arrays(NETWORK, parts.network.weights)
            save_checkpoint(self._checkpoints / KEPT, arrays, row)
        self._save()
        write_history(self.folder / runs.HISTORY, state.history)
        board.write_round(row, confusion_counts(predictions), self.classes)
        if self.on_round is not None:
            self.on_round(row)

    def _history_row(self, predictions: Predictions) -> HistoryRow:
        state, trainer = self.state, self.trainer
        loss, right, examples, metric = state.totals
        epoch, last = trainer.rounds.epochs(state.step), state.step - 1
        if not isfinite(loss):
            raise RecipeError(
                f"training diverged in epoch {ceil(epoch)}: the loss is {loss} by step "
                f"{state.step}; set a lower optimiser.learning_rate or optimiser.clip_norm, and "
                "start again with --overwrite"
            )
        return {
            "epoch": int(epoch) if epoch.is_integer() else epoch,
            "steps": state.step,
            "learning_rate": phase_at(trainer.phases, last).learning_rate(last),
            "train_loss": loss / examples,
            "train_accuracy": right / examples,
            **({"train_metric_loss": metric / examples} if trainer.parts.metric_loss else {}),
            **measure(predictions, self.groups),
            "images_per_second": examples / state.seconds,
            "input_wait_share": state.waited_seconds / state.seconds,
            "seconds": state.seconds,
        }

    def _augmented(self, batch: Batch) -> np.ndarray:
        """What the network will get, (B, H, W, C)."""
        trainer = self.trainer
        if trainer.host_augment is None:
            batch = {**batch, "image": trainer.images(batch)}
        return np.asarray(one_by_one(prepare(trainer.parts, batch, self.state.step)[0]))

    def _add_sums(self, clock: Clock) -> None:
        """Bring what was summed on the device and on the clock into the state."""
        self.state.totals = [float(total) for total in self.trainer.totals.numpy()]
        seconds, waited = clock.read()
        self.state.seconds += seconds
        self.state.waited_seconds += waited

    def _save(self) -> None:
        arrays = {
            **variable_arrays(NETWORK, self.trainer.parts.network.variables),
            **variable_arrays(LEARNT, list(self.trainer.learnt)),
            **variable_arrays(OPTIMISER, self._optimiser.variables),
        }
        save_checkpoint(self._checkpoints / LATEST, arrays, self.state.to_json())

    def _save_snapshot(self) -> None:
        self.plain.set_weights(self.trainer.parts.network.get_weights())
        runs.save_network(self.plain, runs.snapshot_path(self.folder, self.state.step))

    def _obey(self, stop: StopRequest, clock: Clock | None = None) -> None:
        """Raise StoppedError, after a checkpoint, if a signal has come."""
        if stop.number is None:
            return
        if clock is not None:
            self._add_sums(clock)
        self._save()
        raise StoppedError(
            f"stopped after step {self.state.step}, checkpoint written; continue with\n  "
            f"deadlib-train {self.folder / runs.RECIPE} --run {self.folder} --resume",
            stop.number,
        )


def _is_due(step: int, every: int | None) -> bool:
    return every is not None and step % every == 0


def _is_power_of_two(number: int) -> bool:
    return number & (number - 1) == 0
