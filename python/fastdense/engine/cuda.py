"""The engines of device "cuda": the compiled ones on the GPU, and one on the CPU for what has no GPU version.

Full-batch optimizers, K-FAC and the closed form of the last layer are computed by the CPU's engine on the same tensors:
correct, at the CPU's speed.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import numpy as np

from ..arrays import Array, beside, empty_beside, on_gpu, to_host
from ..calls import PopulationCall, TrainCall
from . import native
from .gpu import require


def _wait_for(module: Any, arrays: Iterable[Array | None]) -> None:
    """Wait for the streams that the interfaces of these arrays name: they may still be written."""
    for array in arrays:
        if array is not None and on_gpu(array):
            stream = array.__cuda_array_interface__.get("stream")  # type: ignore[attr-defined]
            if stream is not None:
                module.wait_for_stream(stream)


def _on_host(array: Array | None) -> Array | None:
    return None if array is None else to_host(array)


class Engine:
    """One net; see `fastdense.engine.protocol.Engine`.

    Parameters
    ----------
    program : dict
        What the net is, as docs/design/interface.md describes it.

    Raises
    ------
    fastdense.cuda.CudaUnavailable
        If there is no GPU to compute on.
    """

    def __init__(self, program: dict[str, Any]) -> None:
        if native.calls_functions(program):
            raise ValueError(
                "device: 'cuda' was asked for, and the net has a layer that computes a function of your own "
                "(a Function, or in fastdense.keras a Lambda, an activation or a layer); such layers are computed on "
                "the CPU: use device='cpu'"
            )
        self._module = require()
        self._program = program
        self._gpu = self._module.Engine(program)
        self._host: Any = None  # made when it is needed first
        self._trains_on_host = False
        self._training: dict[str, Any] = {}
        self._dtype = np.float64 if program["dtype"] == "float64" else np.float32

    # ---- tensors and state -----------------------------------------------------------------------------------------

    def get_tensors(self) -> list[Array]:
        return list(self._gpu.get_tensors())

    def set_tensors(self, tensors: list[Array]) -> None:
        self._gpu.set_tensors(tensors)

    def configure(self, training: dict[str, Any]) -> None:
        self._training = training
        optimizer = training["optimizer"]
        on_host = optimizer["kind"] in native.cpu_optimizers()
        if on_host:  # loss and metrics stay on the GPU
            self._twin().configure(training)
            kept = {
                key: optimizer[key]
                for key in ("weight_decay", "clipvalue", "clipnorm", "global_clipnorm")
                if key in optimizer
            }
            training = {**training, "optimizer": {"kind": "sgd", "momentum": 0.0, "nesterov": False} | kept}
        self._gpu.configure(training)
        self._trains_on_host = on_host

    @property
    def step(self) -> int:
        return int((self._host if self._trains_on_host else self._gpu).step)

    def get_state(self) -> dict[str, Any]:
        state: dict[str, Any] = (self._host if self._trains_on_host else self._gpu).get_state()
        return state

    def set_state(self, state: dict[str, Any]) -> None:
        (self._host if self._trains_on_host else self._gpu).set_state(state)

    def _twin(self) -> Any:
        """The CPU's engine with the tensors of this moment."""
        if self._host is None:
            self._host = native.engine(self._program)
        self._host.set_tensors(self._gpu.get_tensors())
        return self._host

    # ---- data ------------------------------------------------------------------------------------------------------

    def _ready(self, *arrays: Array | None) -> None:
        _wait_for(self._module, arrays)

    def _room(self, x: Array) -> Any:
        """What makes an array for results on the device of `x`; None lets the engine make NumPy's."""
        return None if not on_gpu(x) else lambda shape: empty_beside(x, shape, self._dtype)

    # ---- training and use ------------------------------------------------------------------------------------------

    def train(self, call: TrainCall) -> dict[str, Any]:
        engine, data = self._gpu, (call.x, call.y, call.w, *(call.val or ()))
        self._ready(*data)
        if self._trains_on_host:
            engine = self._host if call.goes_on else self._twin()
            val = None if call.val is None else (to_host(call.val[0]), to_host(call.val[1]), _on_host(call.val[2]))
            call = replace(call, x=to_host(call.x), y=to_host(call.y), w=_on_host(call.w), val=val)
        try:
            result: dict[str, Any] = engine.train(call)
        finally:
            if self._trains_on_host:
                self._gpu.set_tensors(engine.get_tensors())
        return result

    def probe_period(self, rows: int, batch_size: int) -> int:
        return int((self._host if self._trains_on_host else self._gpu).probe_period(rows, batch_size))

    def evaluate(self, x: Array, y: Array, w: Array | None, *, n_threads: int, hook_rows: int = 0) -> Array:
        self._ready(x, y, w)
        totals: Array = self._gpu.evaluate(x, y, w, n_threads=n_threads, hook_rows=hook_rows)
        return totals

    def predict_row(self, x: object) -> Array | None:
        row: Array | None = self._gpu.predict_row(x)
        return row

    def predict(self, x: Array, out: Array, *, n_threads: int) -> None:
        self._ready(x, out)
        self._gpu.predict(x, out, n_threads=n_threads)

    def loss_and_grad(
        self, x: Array, y: Array, w: Array | None, *, training: bool, n_threads: int
    ) -> tuple[float, list[Array]]:
        self._ready(x, y, w)
        result: tuple[float, list[Array]] = self._gpu.loss_and_grad(
            x, y, w, training=training, n_threads=n_threads, empty=self._room(x)
        )
        return result

    def vjp(
        self, x: Array, d_out: Array, d_jacobian: Array | None = None, *, parameters: bool, n_threads: int
    ) -> tuple[Array, list[Array] | None]:
        self._ready(x)
        made: tuple[Array, list[Array] | None] = self._twin().vjp(
            to_host(x), d_out, d_jacobian, parameters=parameters, n_threads=n_threads
        )
        return made

    def apply_gradients(self, gradients: list[Array], *, rate: float, n_threads: int) -> None:
        host = self._twin()
        host.configure(self._training)
        host.set_state(self._gpu.get_state())
        host.apply_gradients(gradients, rate=rate, n_threads=n_threads)
        self._gpu.set_tensors(host.get_tensors())
        self._gpu.set_state(host.get_state())

    def solve_output(
        self, x: Array, y: Array, w: Array | None, *, ridge: float, n_threads: int
    ) -> tuple[Array, Array | None] | None:
        self._ready(x, y, w)
        data = (None if a is None else to_host(a) for a in (x, y, w))
        solved: tuple[Array, Array | None] | None = self._twin().solve_output(*data, ridge=ridge, n_threads=n_threads)
        return solved

    def activations(self, x: Array, *, n_threads: int) -> list[Array]:
        self._ready(x)
        outputs: list[Array] = self._gpu.activations(x, n_threads=n_threads, empty=self._room(x))
        return outputs


class PopulationEngine:
    """A population whose nets are trained by one kernel; see `fastdense.engine.protocol.PopulationEngine`.

    Parameters
    ----------
    program : dict
    seeds : ndarray of uint64, shape (starts,)
    numbers : dict
        As of `fastdense.engine.population.make_population_engine`; only "penalty".

    Raises
    ------
    fastdense.cuda.CudaUnavailable
        If there is no GPU to compute on.
    """

    def __init__(self, program: dict[str, Any], seeds: Array, numbers: dict[str, Array]) -> None:
        self._module = require()
        self._nets = self._module.Population(program, seeds, numbers)

    def configure(self, training: dict[str, Any]) -> None:
        self._nets.configure(training)

    def get_tensors(self) -> list[Array]:
        return list(self._nets.get_tensors())

    def set_tensors(self, tensors: list[Array]) -> None:
        self._nets.set_tensors(tensors)

    def get_slots(self) -> list[list[Array]]:
        return list(self._nets.get_slots())

    def get_numbers(self) -> Array:
        numbers: Array = self._nets.get_numbers()
        return numbers

    def set_slots(self, slots: list[list[Array]], step: int, numbers: Array) -> None:
        self._nets.set_slots(slots, step, numbers)

    def train(self, call: PopulationCall) -> dict[str, Any]:
        _wait_for(self._module, (call.x, call.y, call.w))
        result: dict[str, Any] = self._nets.train(call)
        return result

    def evaluate(self, x: Array, y: Array, w: Array | None, *, n_threads: int, which: Array | None = None) -> Array:
        _wait_for(self._module, (x, y, w))
        totals: Array = self._nets.evaluate(x, y, w, n_threads=n_threads, which=which)
        return totals

    def predict(self, x: Array, out: Array, *, n_threads: int) -> None:
        _wait_for(self._module, (x, out))
        if not on_gpu(out):
            self._nets.predict(x, out, n_threads=n_threads)
            return
        host = np.empty(out.shape, out.dtype)
        self._nets.predict(x, host, n_threads=n_threads)
        out[...] = beside(host, out)

    def keep(self, which: Array) -> None:
        self._nets.keep(which)

    def restore(self, which: Array) -> None:
        self._nets.restore(which)
