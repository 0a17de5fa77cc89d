"""The parts of a population, each with an engine of its own, trained side by side."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Sequence

import numpy as np

from ..arrays import Array
from ..callbacks import ProgressBar
from ..engine.turns import Turns, turns_on
from .population import PopulationFit, Trained


class Together:
    """The parts of a population, each with an engine of its own, trained side by side.

    A part goes through its epochs by itself, validation and callbacks included. Threads always take on the part that is
    least far, so parts that end early leave their time to the others, and a deadline finds all at about one epoch.

    Parameters
    ----------
    device : {"cpu", "cuda", "reference"}
    n_threads : int
        0 for as many as this process may use.
    bar : ProgressBar
    interrupted : bool
        Whether Ctrl-C came before, so that there is nothing to train.

    Attributes
    ----------
    interrupted : bool
        Whether Ctrl-C came.
    """

    def __init__(self, device: str, n_threads: int, bar: ProgressBar, interrupted: bool = False) -> None:
        self.device, self.n_threads, self.bar, self.interrupted = device, n_threads, bar, interrupted
        self._shown = 0

    def begin(
        self, parts: int, search: Callable[[int, int, Callable[[], object]], Trained], without: Callable[[int], Trained]
    ) -> list[Trained]:
        """Members of each part as their search found them.

        Parameters
        ----------
        parts : int
        search : callable
            ``search(part, threads, look)``; it ends early where `look` raises KeyboardInterrupt.
        without : callable
            ``without(part)``: the members of a part whose search Ctrl-C came before.
        """
        found: dict[int, Trained] = {}

        def turn(part: int, threads: int, look: Callable[[], object]) -> None:
            found[part] = search(part, threads, look)
            if found[part].interrupted:
                raise KeyboardInterrupt

        if not self.interrupted:
            self._take_turns(parts, turn, lambda: None)
        return [found[part] if part in found else without(part) for part in range(parts)]

    def train(self, fits: Sequence[PopulationFit], epochs: int) -> None:
        """Train all fits to the end, to their deadline or to Ctrl-C."""
        bar = self.bar
        bar.set_params({"epochs": epochs, "steps": fits[0].batches, "verbose": bar.verbose, "initial_epoch": 0})

        def turn(part: int, threads: int, look: Callable[[], object]) -> float | None:
            fit = fits[part]
            fit.look = look
            if fit.going:
                fit.advance(threads)
            if fit.interrupted:
                raise KeyboardInterrupt
            return fit.epoch if fit.going else None

        self._shown = min(fit.epoch for fit in fits)
        bar.on_train_begin()
        try:
            if not self.interrupted:
                self._take_turns(len(fits), turn, lambda: self._show(fits, epochs))
                self._show(fits, epochs)
        finally:
            bar.close()
        for fit in fits:
            fit.finish()

    def losses(self, fits: Sequence[PopulationFit]) -> list[Array]:
        """Final loss of the members of each fit; that of their last epoch where Ctrl-C comes, or has come before."""
        found: dict[int, Array] = {}

        def turn(part: int, threads: int, look: Callable[[], object]) -> None:
            found[part] = fits[part].losses(threads)

        if not self.interrupted:  # all rows for all members may take long
            self._take_turns(len(fits), turn, lambda: None)
        return [found[part] if part in found else fit.last_losses() for part, fit in enumerate(fits)]

    def _take_turns(
        self,
        parts: int,
        turn: Callable[[int, int, Callable[[], object]], float | None],
        show: Callable[[], object],
    ) -> None:
        turns, owner = turns_on(self.device, self.n_threads), threading.get_ident()

        def look() -> None:
            if threading.get_ident() == owner:
                show()
            else:
                _raise_if_stopped(turns)

        try:
            turns.run(parts, lambda part, threads: turn(part, threads, look), show)
        except KeyboardInterrupt:
            self.interrupted = True

    def _show(self, fits: Sequence[PopulationFit], epochs: int) -> None:
        """Show the epochs that all parts have behind them, and how far they are."""
        if self.bar.verbose == 0:
            return
        going = [fit for fit in fits if fit.going]
        done = min((fit.epoch for fit in going), default=max(fit.epoch for fit in fits))
        if done > self._shown:
            losses = np.concatenate([fit.history[self._shown : done] for fit in fits], axis=1)
            finite = np.where(np.isfinite(losses), losses, np.inf)
            columns = {"best": finite.min(axis=1).tolist(), "median": np.median(finite, axis=1).tolist()}
            self.bar.on_epochs_end(self._shown, columns)
            self._shown = done
        elif going and self.bar.wants_progress:
            far = sum(fit.epoch + fit.fraction for fit in going) / len(going)
            self.bar.running(self._shown, far - self._shown, math.nan)


def _raise_if_stopped(turns: Turns) -> None:
    if turns.stop.is_set():
        raise KeyboardInterrupt
