"""`PopulationRunner`: many nets of one shape on the engine of a population.

Data was checked before it comes here. Arrays have one entry per start in front.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..arrays import Array, empty_beside, to_host
from ..calls import PopulationCall
from ..data.rows import Rows
from ..engine.factory import value_dtype
from ..engine.gpu import is_available
from ..engine.population import make_population_engine, why_one_by_one
from ..engine.protocol import PopulationEngine
from ..metrics import Collected, Metric
from ..network import Net
from ..reference import losses as reference_losses
from ..reference import metrics as reference_metrics
from .tensors import averaged, engine_tensors


class PopulationRunner:
    """A population on an engine.

    Parameters
    ----------
    net : Net
        What the members have in common.
    device : {"cpu", "cuda", "reference"}
    training : dict
        Loss, optimizer and metrics, as engines take them.
    seeds : ndarray of uint64, shape (starts,)
    numbers : dict
        As of `fastdense.engine.population.make_population_engine`.
    batch_rows : int
        Rows of the largest batch.
    reason : str, optional
        Why each member shall have an engine of its own, if the caller wants that whatever the engines can do.

    Attributes
    ----------
    reason : str
        Why the members are trained one by one; empty if one call of a compiled engine trains them all.
    """

    def __init__(
        self,
        net: Net,
        device: str,
        training: dict[str, Any],
        seeds: Array,
        numbers: dict[str, Array],
        batch_rows: int,
        reason: str = "",
    ) -> None:
        self.net, self.device, self.training, self.seeds, self.numbers = net, device, training, seeds, numbers
        self.batch_rows = batch_rows
        without_metrics = training | {"metrics": []}
        self.reason = reason or why_one_by_one(device, net.program, without_metrics, batch_rows, numbers)
        self.nets = self._make(net.program, numbers)
        # the GPU's kernel for many nets computes no metrics
        self._trained = net.trained()
        self._configured = without_metrics if device == "cuda" and not self.reason else training
        self.nets.configure(self._configured)

    def _make(self, program: dict[str, Any], numbers: dict[str, Array]) -> PopulationEngine:
        return make_population_engine(self.device, program, self.seeds, numbers, one_by_one=bool(self.reason))

    def __len__(self) -> int:
        return len(self.seeds)

    def chosen(self, which: Array, step: int) -> PopulationRunner:
        """A runner of some of the members, with the state of their optimizers."""
        state = self.state()
        for key in ("seeds", "solver_numbers"):
            state[key] = state[key][which]
        state["numbers"] = {name: values[which] for name, values in self.numbers.items()}
        state["tensors"] = [tensor[which] for tensor in state["tensors"]]
        state["slots"] = [[array[which] for array in slot] for slot in state["slots"]]
        return PopulationRunner.from_state(self.net, state, step)

    def state(self) -> dict[str, Any]:
        """Everything but the net and the step, as arrays and plain types; see `from_state`."""
        return {
            "device": self.device,
            "training": self.training,
            "seeds": self.seeds,
            "numbers": self.numbers,
            "batch_rows": self.batch_rows,
            "reason": self.reason,
            "tensors": self.tensors(),
            "slots": self.nets.get_slots(),
            "solver_numbers": self.nets.get_numbers(),
        }

    @staticmethod
    def joined(states: Sequence[dict[str, Any]]) -> dict[str, Any]:
        """The state of the nets of several runners of one kind, in this order."""
        first = states[0]
        if len(states) == 1:
            return first
        return {
            **first,
            **{key: np.concatenate([one[key] for one in states]) for key in ("seeds", "solver_numbers")},
            "numbers": {name: np.concatenate([one["numbers"][name] for one in states]) for name in first["numbers"]},
            "tensors": [np.concatenate(each) for each in zip(*(one["tensors"] for one in states), strict=True)],
            "slots": [
                [np.concatenate(each) for each in zip(*slots, strict=True)]
                for slots in zip(*(one["slots"] for one in states), strict=True)
            ],
        }

    @classmethod
    def from_state(cls, net: Net, state: dict[str, Any], step: int) -> PopulationRunner:
        """The runner that `state` described; on "cpu" where it was on a GPU and there is none."""
        device = "cpu" if state["device"] == "cuda" and not is_available() else state["device"]
        given = {key: state[key] for key in ("training", "seeds", "numbers", "batch_rows")}
        made = cls(net, device, reason=state["reason"] if device == state["device"] else "", **given)
        made.set_tensors(state["tensors"])
        slots = [[np.ascontiguousarray(array) for array in slot] for slot in state["slots"]]  # of solvers in float64
        made.nets.set_slots(slots, step, state["solver_numbers"])
        return made

    @property
    def value_dtype(self) -> np.dtype[Any]:
        """Data type of tensors and results."""
        return value_dtype(self.device, self.net.dtype)

    def tensors(self) -> list[Array]:
        """Copies of all tensors, (starts, ...)."""
        return self.nets.get_tensors()

    def set_tensors(self, tensors: list[Array]) -> None:
        """Replace all tensors."""
        self.net.check_signs("fit_many", tensors)
        self._write(self.nets, tensors)

    def take_average(self) -> None:
        """Put the average that each net's optimizer keeps in place of the tensors that it trains."""
        self.set_tensors(averaged(self._trained, self.net, self.tensors(), self.nets.get_slots()[-1]))

    def _write(self, nets: PopulationEngine, tensors: list[Array]) -> None:
        shared = self.net.input_statistics  # the same for all nets
        tensors = [*(tensor[0] for tensor in tensors[:shared]), *tensors[shared:]]
        nets.set_tensors(engine_tensors(self.net, self.value_dtype, tensors))

    def train(self, call: PopulationCall) -> dict[str, Any]:
        """Train whole epochs, one for each row of `call.losses`.

        Returns
        -------
        dict
            "epochs" (starts,): how many each net finished; "interrupted": whether Ctrl-C ended the call; "ended"
            (starts,) or False: nets whose full-batch optimizer has converged.
        """
        return self.nets.train(call)

    def losses(self, data: Rows, weights: Array | None, n_threads: int = 0) -> Array:
        """Mean loss of each net in inference mode, penalties included: (starts,)."""
        totals = self._evaluated(data, weights, n_threads, None)
        losses: Array = totals[:, 0] / totals[:, 1]
        return losses

    def totals(
        self,
        data: Rows,
        weights: Array | None,
        metrics: list[dict[str, Any]],
        n_threads: int = 0,
        which: Array | None = None,
    ) -> Array:
        """Sums of an evaluation of each net, as of `Runner.totals`: (starts, K).

        Parameters
        ----------
        data : Rows
        weights : ndarray of shape (starts, rows), optional
            Sample weights of each net.
        metrics : list of dict
            Metrics, as engines take them.
        n_threads : int
        which : ndarray of bool, shape (starts,), optional
            The nets that are wanted; the sums of the others mean nothing.
        """
        found = self._evaluated(data, weights, n_threads, which)
        if metrics == self._configured["metrics"]:
            return found
        rows = len(data)
        outputs = to_host(self.predict(data.x, n_threads))
        given = data.w if weights is None else weights
        w = np.broadcast_to(np.ones(rows) if given is None else to_host(given), (len(found), rows))
        states = [_states(metric, self.training["loss"], to_host(data.y), outputs, w) for metric in metrics]
        return np.concatenate([found[:, :2], *states], axis=1)

    def collected(
        self, data: Rows, weights: Array | None, metrics: Sequence[Metric], n_threads: int = 0
    ) -> list[dict[str, Any]]:
        """Values of the collected ones of these metrics, by name, for each net."""
        chosen = [metric for metric in metrics if isinstance(metric, Collected)]
        if not chosen:
            return [{} for _ in range(len(self))]
        found, outputs, given = [], to_host(self.predict(data.x, n_threads)), data.w if weights is None else weights
        for i, own in enumerate(outputs):
            predictions = reference_losses.predictions(self.training["loss"], np.asarray(own, dtype=np.float64))
            w = None if given is None else to_host(given if given.ndim == 1 else given[i])
            values = {}
            for metric in chosen:
                seen = own if metric.sees_outputs else predictions
                values[metric.name] = metric.value_of(to_host(data.y), seen, w)
                if np.ndim(values[metric.name]):
                    raise ValueError(
                        f"metric {metric.name!r} gave an array of shape {np.shape(values[metric.name])}; a population "
                        "needs one number for each member: leave it out, and evaluate the members' models with it"
                    )
            found.append(values)
        return found

    def _evaluated(self, data: Rows, weights: Array | None, n_threads: int, which: Array | None) -> Array:
        w = data.w if weights is None else weights
        return self.nets.evaluate(data.encoded(self.net), data.y, w, n_threads=n_threads, which=which)

    def predict(self, x: Array, n_threads: int = 0) -> Array:
        """Outputs: (starts, rows, outputs)."""
        out = empty_beside(x, (len(self), len(x), self.net.outputs), self.value_dtype)
        self.nets.predict(self.net.encoded(x), out, n_threads=n_threads)
        return out

    def layer_outputs(self, x: Array, layer: int, tensors: list[Array] | None = None, n_threads: int = 0) -> Array:
        """Outputs of one layer: (starts, rows, units), with other tensors if given; (1, rows, units) of one in front.

        They are the outputs of a population of nets that end with this layer.
        """
        if layer < len(self.net.front):
            return self.net.front_outputs(x)[layer][None]
        end, ops = self.net.ends[layer] + 1, self.net.program["ops"]
        nets = self._make({**self.net.program, "ops": ops[:end]}, {})
        self._write(nets, (self.tensors() if tensors is None else tensors)[: self.net.slices[layer].stop])
        out = empty_beside(x, (len(self), len(x), self.net.widths[layer]), self.value_dtype)
        nets.predict(self.net.encoded(x), out, n_threads=n_threads)
        return out


def _states(metric: dict[str, Any], loss: dict[str, Any], y: Array, outputs: Array, weights: Array) -> Array:
    """The sums of one metric for the outputs (starts, rows, outputs) of each net: (starts, sums)."""
    found = []
    for own, w in zip(outputs, weights, strict=True):
        predictions = reference_losses.predictions(loss, np.asarray(own, dtype=np.float64))
        found.append(np.ravel(reference_metrics.state(metric, y, predictions, w)))
    return np.stack(found)
