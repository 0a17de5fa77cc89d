"""`Runner`: a net on an engine, with its tensors and the state of its training.

Data was checked before it comes here and is passed to the engine without a copy; arrays on a GPU come only for device
"cuda". Results are on the GPU if x is. Methods may be called from several threads, which then wait for one another.
"""

from __future__ import annotations

import math
import weakref
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ..arrays import Array, empty_beside, to_host
from ..calls import Progress, RanksCall, TrainCall
from ..data.rows import Rows
from ..engine.factory import check_device, make_engine, value_dtype
from ..engine.protocol import Engine
from ..layers.adapting import Adapting
from ..layers.preprocessing import blocks
from ..layers.scaling import Moments
from ..losses import Loss, PerHead
from ..metrics import Metric, OfHead
from ..network import Net
from ..optimizers import Optimizer
from .hook import Hook, Values
from .lock import CallLock
from .tensors import averaged, engine_tensors

if TYPE_CHECKING:
    from .derivatives import DerivativeSteps


class Runner:
    """A net on an engine.

    Parameters
    ----------
    net : Net
    device : {"cpu", "cuda", "reference"}
    values : sequence of ndarray, optional
        All tensors, instead of the net's first values.

    Attributes
    ----------
    epochs_trained : int
        Whole epochs in the net's life: the key of the next shuffle.
    changes : int
        How often weights or loss may have changed: what was measured of a net no longer holds then.
    lock : CallLock
        Held by each method; hold it around several of them that must see one and the same state.
    """

    def __init__(self, net: Net, device: str, values: Sequence[Array] | None = None) -> None:
        self.net, self.device = net, check_device(device)
        self.epochs_trained = self.changes = 0
        self.lock = CallLock()
        self._training: dict[str, Any] | None = None
        self._hook: Hook | None = None
        self.loss_weight = 1.0
        self._trained: list[bool] = []
        self._steps: tuple[Engine, DerivativeSteps] | None = None
        self._last: Callable[[], Rows | None] = lambda: None  # the data of the last call of `train`
        self._own_engine = make_engine(device, net.program)
        first = net.initial_values() if values is None else values
        net.check_signs("Model", first)
        self._write(self._engine, first)

    @property
    def value_dtype(self) -> np.dtype[Any]:
        """Data type of tensors and results."""
        return value_dtype(self.device, self.net.dtype)

    @property
    def _engine(self) -> Engine:
        if self.lock.lost:
            raise RuntimeError(
                "this process was forked while another thread used the model, whose copy here is an unfinished one; "
                "fork when no thread uses it, or start processes by multiprocessing.get_context('spawn'), which get "
                "the model pickled"
            )
        return self._own_engine

    @property
    def step(self) -> int:
        """Optimizer steps since the engine was configured."""
        with self.lock:
            return self._engine.step

    # ---- tensors and state -----------------------------------------------------------------------------------------

    def _write(self, engine: Engine, tensors: Sequence[Array]) -> None:
        self.changes += 1
        engine.set_tensors(engine_tensors(self.net, self.value_dtype, tensors))

    def _ready(self) -> Engine:
        """The engine, with the statistics of a layer that was adapted since the last call."""
        changed = self.net.changed_statistics()
        if changed:
            tensors = list(self._engine.get_tensors())
            for one in changed:
                tensors[one.tensors] = one.values()
            self._write(self._engine, tensors)
        return self._engine

    def tensors(self) -> list[Array]:
        """Copies of all tensors."""
        with self.lock:
            return list(self._ready().get_tensors())

    def set_tensors(self, tensors: Sequence[Array]) -> None:
        """Replace all tensors; statistics that thereby change count as known."""
        with self.lock:
            before, taken = self._ready().get_tensors(), []
            for one in self.net.statistics:
                new = [np.array(tensor, dtype=np.float64) for tensor in tensors[one.tensors]]
                if not all(map(np.array_equal, new, before[one.tensors])):
                    taken.append((one, one.layer.checked_statistics(*new)))  # raises before anything is changed
            self.net.check_signs("set_weights", tensors)
            for one, values in taken:
                one.take(values, "adapt")
            self._write(self._engine, tensors)

    def configure(self, optimizer: Optimizer, loss: Loss, metrics: Sequence[Metric], loss_weight: float = 1.0) -> None:
        """Choose loss, optimizer and metrics; the optimizer's state is reset.

        `loss_weight` is the factor of the loss that the weights of rows hold.
        """
        hook = Hook(loss, metrics, loss_weight)
        training: dict[str, Any] = {
            "loss": loss.lower_for(self.net.outputs),
            "optimizer": {**optimizer.lower(), **optimizer.factors("compile", self.net.trained_names)},
            "metrics": lowered(metrics, loss, self.net.outputs),
            "hook": hook if hook.needed else None,
            "frozen": self.net.frozen(),
        }
        with self.lock:
            self.changes += 1
            self._engine.configure(training)
            self._training, self._hook, self.loss_weight = training, hook if hook.needed else None, loss_weight
            self._trained = self.net.trained()

    def slots(self) -> list[list[Array]]:
        """Copies of the optimizer's state: for each slot one array per trainable tensor."""
        with self.lock:
            return [list(slot) for slot in self._engine.get_state()["slots"]] if self._training else []

    def numbers(self) -> Array:
        """The rest of the optimizer's state, float64; most optimizers have none."""
        with self.lock:
            return np.asarray(self._engine.get_state()["numbers"]) if self._training else np.zeros(0)

    def set_slots(self, slots: Sequence[Sequence[Array]], step: int, numbers: Array | None = None) -> None:
        """Replace the optimizer's state; first-order optimizers have no `numbers`."""
        rest = np.zeros(0) if numbers is None else numbers
        with self.lock:
            self._engine.set_state({"step": step, "slots": [list(slot) for slot in slots], "numbers": rest})

    def averaged_tensors(self) -> list[Array]:
        """Copies of all tensors, with the optimizer's average in place of those that it trains, once there is one."""
        with self.lock:
            tensors = self.tensors()
            return averaged(self._trained, self.net, tensors, self.slots()[-1]) if self.step else tensors

    def take_average(self) -> None:
        """Put the optimizer's average in place of the tensors that it trains."""
        with self.lock:
            self._write(self._engine, self.averaged_tensors())

    def move(self, device: str) -> None:
        """Change the device."""
        check_device(device)
        with self.lock:
            if device == self.device:
                return
            engine, here = make_engine(device, self.net.program), self.device
            tensors, slots, numbers = self._ready().get_tensors(), self.slots(), self.numbers()
            changes = self.changes
            try:
                self.device = device
                self._write(engine, tensors)
                if self._training is not None:
                    engine.configure(self._training)
                    kept = [[np.asarray(array, dtype=self.value_dtype) for array in slot] for slot in slots]
                    engine.set_state({"step": self.step, "slots": kept, "numbers": numbers})
            except BaseException:
                self.device = here
                raise
            self._own_engine, self.changes = engine, changes  # another place, the same net
            self._last = lambda: None  # the new engine has seen no data

    # ---- training --------------------------------------------------------------------------------------------------

    def train(
        self,
        optimizer: Optimizer,
        data: Rows,
        validation: Rows | None,
        *,
        batch_size: int,
        shuffle: bool,
        steps: int,
        first_batch: int = 0,
        stop_on_nan: bool = False,
        progress: Progress | None = None,
        n_threads: int = 0,
        whole_epochs: bool = True,
        anew: bool = True,
        probe_level: int | None = None,
        probe_first: bool = False,
        ranks: RanksCall | None = None,
        result: dict[str, Any] | None = None,
    ) -> dict[str, Any]:
        """Make steps; `step` and `epochs_trained` are correct afterwards, also after an exception.

        Parameters
        ----------
        optimizer : Optimizer
            Gives the learning rates.
        data : Rows
            The caller may not change what it holds before its last call with this very object.
        validation : Rows or None
        steps : int
        whole_epochs : bool
            False makes steps that belong to no epoch.
        anew : bool
            Whether the first batch of the rows starts the collected metrics anew.
        batch_size, shuffle, first_batch, stop_on_nan, progress, n_threads, probe_level, probe_first, ranks, result
            As in `TrainCall`.

        Returns
        -------
        dict
            `result`, or a new one: with "collected", "val_collected": values of the collected metrics, one dict for
            each row of "totals" and "val_totals"; "partial_collected": those of the epoch of the last step so far.
        """
        with self.lock:
            engine, begun, done = self._ready(), self.step, 0
            self.changes += 1
            goes_on, self._last = self._last() is data, weakref.ref(data)
            result = {} if result is None else result
            result.pop("steps", None)
            call = TrainCall(
                data.encoded(self.net),
                data.y,
                data.w,
                optimizer.learning_rates(begun, steps),
                batch_size,
                shuffle,
                epoch=self.epochs_trained,
                first_batch=first_batch,
                val=None if validation is None else (validation.encoded(self.net), validation.y, validation.w),
                stop_on_nan=stop_on_nan,
                progress=progress,
                n_threads=n_threads,
                goes_on=goes_on,
                probe_level=probe_level,
                probe_first=probe_first,
                ranks=ranks,
                result=result,
            )
            if self._hook is not None:
                self._hook.forget(anew)
            try:
                if data.dy is None:
                    engine.train(call)
                else:
                    self._derivative_steps(engine).train(call, data.dy)
                if self._hook is not None:
                    result["partial_collected"] = self._hook.current(training=True)
            except KeyboardInterrupt:
                if "steps" not in result:
                    raise
                result["interrupted"] = True  # after the engine's end
            finally:
                done = engine.step - begun
                if self._hook is not None and "totals" in result:
                    result["collected"] = self._hook.epochs(True, len(result["totals"]))
                    result["val_collected"] = self._hook.epochs(False, len(result["val_totals"]))
                if whole_epochs:
                    self.epochs_trained += (first_batch + done) // math.ceil(len(data) / batch_size)
        return result

    def _derivative_steps(self, engine: Engine) -> DerivativeSteps:
        """What makes this engine's steps where derivatives are given; it keeps the totals of an epoch."""
        from .derivatives import DerivativeSteps  # seldom needed

        if self._steps is None or self._steps[0] is not engine:
            self._steps = engine, DerivativeSteps(engine, self.net.outputs, self.net.seed)
        return self._steps[1]

    def probe_period(self, rows: int, batch_size: int) -> int:
        """Number of steps between probes that makes their cost small."""
        return self._engine.probe_period(rows, batch_size)

    def not_adapted(self) -> list[Adapting]:
        """Layers that take numbers from data, and have none yet."""
        with self.lock:
            self._ready()
            return [one.layer for one in self.net.statistics if one.origin is None]

    def adapt(self, x: Array) -> None:
        """Give layers that take numbers from data, and have none yet, those of the rows `x`."""
        with self.lock:
            engine = self._ready()
            unknown = [one for one in self.net.statistics if one.origin is None]
            if not unknown:
                return
            tensors = list(engine.get_tensors())
            try:
                for one in unknown:
                    rows = self.net.reaching(one.index, one.layer.chosen_rows(x), tensors)
                    values = one.layer.measured(f"{type(one.layer).__name__}.adapt", rows)
                    one.take(values, "fit")
                    tensors[one.tensors] = one.values()
                self._write(engine, tensors)
            except BaseException:
                for one in unknown:
                    one.forget()
                raise
            finally:
                self.net.encoding = object()

    def adapt_by_parts(self, parts: Iterable[Array], merged: Callable[[Moments], Moments] = lambda own: own) -> None:
        """Give the one layer that has no numbers from data yet, a `Normalization`, those of the rows in all parts.

        `merged` adds the moments of rows elsewhere.
        """
        with self.lock:
            engine = self._ready()
            (one,) = [one for one in self.net.statistics if one.origin is None]
            tensors, moments = list(engine.get_tensors()), Moments(f"{type(one.layer).__name__}.adapt")
            for x in parts:
                moments.add(self.net.reaching(one.index, x, tensors))
            one.take(merged(moments).result(), "fit")
            tensors[one.tensors] = one.values()
            self._write(engine, tensors)
            self.net.encoding = object()

    # ---- use -------------------------------------------------------------------------------------------------------

    def totals(self, data: Rows, n_threads: int, hook_rows: int = 0, *, anew: bool = True) -> tuple[Array, Values]:
        """Sums of an evaluation: loss times rows, rows, and the states of the metrics; and values of collected metrics.

        `hook_rows`: rows of the batches that custom losses and collected metrics see; 0: as many as are quick. `anew`:
        whether the rows start the collected metrics anew.
        """
        with self.lock:
            engine = self._ready()
            x = data.encoded(self.net)
            if self._hook is None:
                return engine.evaluate(x, data.y, data.w, n_threads=n_threads), {}
            self._hook.forget(anew)
            totals = engine.evaluate(x, data.y, data.w, n_threads=n_threads, hook_rows=hook_rows)
            return totals, self._hook.current(training=False)

    def predict_row(self, x: object) -> Array | None:
        """Outputs (1, outputs) if `x` is one row of floats in C order and the engine is quick at it, else None.

        It needs no checks before, and no lock: an engine that is busy answers None.
        """
        return None if self.net.front else self._encoded_row(x)

    def _encoded_row(self, x: object) -> Array | None:
        return (self._ready() if self.net.statistics else self._engine).predict_row(x)

    def predict(self, x: Array, n_threads: int) -> Array:
        """Outputs, (rows, outputs)."""
        if len(x) == 1:
            return self.predict_encoded(self.current_net().encoded(x), n_threads)
        with self.lock:
            out = empty_beside(x, (len(x), self.net.outputs), self.value_dtype)
            engine = self._ready()
            for part in blocks(len(x), self.net.program["inputs"]) if self.net.front else [slice(None)]:
                engine.predict(self.net.encoded(x[part]), out[part], n_threads=n_threads)
        return out

    def predict_encoded(self, x: Array, n_threads: int) -> Array:
        """Outputs, (rows, outputs), for rows that the layers in front of the net have encoded already."""
        row = self._encoded_row(x) if len(x) == 1 else None
        if row is not None:
            return row
        with self.lock:
            out = empty_beside(x, (len(x), self.net.outputs), self.value_dtype)
            self._ready().predict(x, out, n_threads=n_threads)
        return out

    def current_net(self) -> Net:
        """The net, whose layers in front are as the last call of `adapt` has made them."""
        if self.net.front and self.net.statistics:
            self._ready()
        return self.net

    def loss_and_grad(self, data: Rows, training: bool, n_threads: int) -> tuple[float, list[Array]]:
        """Loss of all rows as one batch, and its gradient for every trainable tensor."""
        with self.lock:
            engine = self._ready()
            value, gradient = engine.loss_and_grad(
                data.encoded(self.net), data.y, data.w, training=training, n_threads=n_threads
            )
        return float(value), list(gradient)

    def vjp(
        self, x: Array, d_out: Array, n_threads: int, d_jacobian: Array | None = None, *, parameters: bool = False
    ) -> tuple[Array, list[Array] | None]:
        """Gradients of sum d_out * outputs in inference mode: of the inputs and of the trainable tensors.

        `d_out` (rows, k outputs) gives (rows, k, inputs); `parameters` needs k = 1. `d_jacobian`: as of engines.
        """
        rows, count = len(d_out), d_out.shape[1] // self.net.outputs
        with self.lock:
            d_x, gradients = self._ready().vjp(
                self.net.encoded(x), d_out, d_jacobian, parameters=parameters, n_threads=n_threads
            )
            d_x = d_x.reshape(rows, count, -1)
            if self.net.front:
                d_x = np.stack([self.net.pulled_back(to_host(x), d_x[:, k]) for k in range(count)], axis=1)
        return d_x, None if gradients is None else list(gradients)

    def hessian_vector(self, data: Rows, vector: Sequence[Array]) -> list[Array]:
        """Product of the Hessian of the loss of all rows with a vector, by the reference engine's formulas."""
        from ..reference import Engine as Reference  # seldom needed

        with self.lock:
            engine = Reference(self.net.program)
            engine.set_tensors(self._ready().get_tensors())
            engine.configure({**(self._training or {}), "metrics": [], "hook": None})
            product = engine.hessian_vector(data.encoded(self.net), data.y, data.w, vector)
        return [one.astype(self.value_dtype) for one in product]

    def apply_gradients(self, optimizer: Optimizer, gradients: Sequence[Array]) -> None:
        """A step of the optimizer with gradients that hold the penalties."""
        with self.lock:
            engine = self._ready()
            rate = float(optimizer.learning_rates(self.step, 1)[0])
            self.changes += 1
            engine.apply_gradients(list(gradients), rate=rate, n_threads=0)

    def solve_output(self, data: Rows, ridge: float, n_threads: int) -> tuple[Array, Array | None] | None:
        """Kernel and bias of the last layer in closed form, float64; None if there is no solution."""
        with self.lock:
            return self._ready().solve_output(data.encoded(self.net), data.y, data.w, ridge=ridge, n_threads=n_threads)

    def activations(self, x: Array, n_threads: int) -> list[Array]:
        """Output of every layer."""
        with self.lock:
            every = self._ready().activations(self.net.encoded(x), n_threads=n_threads)
        front = [made.astype(self.value_dtype) for made in self.net.front_outputs(x)]
        return [*front, *(every[end] for end in self.net.ends[len(front) :])]


def lowered(metrics: Sequence[Metric], loss: Loss, outputs: int) -> list[dict[str, Any]]:
    """The metrics that engines compute, as they take them; all are asked whether they suit the loss."""
    for metric in metrics:
        if isinstance(loss, PerHead) and not isinstance(metric, OfHead):
            raise ValueError(
                f"compile: metric {metric.name!r} is of no head, and the net has {len(loss.heads)}. Name one: "
                f"metrics.OfHead({loss.heads[0].name!r}, {metric.name!r})."
            )
    every = [metric.lower(loss, outputs) for metric in metrics]
    return [one for one, metric in zip(every, metrics, strict=True) if not metric.collected]
