"""engine.protocol."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from numpy.typing import NDArray

Share = Callable[[float], None]


class PopulationEngine(Protocol):
    """The methods of both kinds of engine; docs/design/interface.md, "Populations", gives their meaning."""

    def configure(self, training: dict[str, Any], /) -> None: ...

    def get_tensors(self) -> list[Array]: ...

    def set_tensors(self, tensors: list[Array], /) -> None: ...

    def get_slots(self) -> list[list[Array]]: ...

    def get_numbers(self) -> Array: ...

    def set_slots(self, slots: list[list[Array]], step: int, numbers: Array, /) -> None: ...

    def train(
        self,
        x: Array,
        y: Array,
        w: Array | None,
        *,
        batch_size: int,
        shuffle: bool,
        order_seed: int | None,
        epoch: int,
        epochs: int,
        learning_rates: Array,
        factors: Array | None,
        active: Array | None,
        losses: Array,
        progress: Share | None,
        n_threads: int,
    ) -> dict[str, Any]: ...

    def evaluate(self, x: Array, y: Array, w: Array | None, *, n_threads: int) -> Array: ...

    def predict(self, x: Array, out: Array, *, n_threads: int) -> None: ...

    def keep(self, which: Array, /) -> None: ...

    def restore(self, which: Array, /) -> None: ...


Array = NDArray[Any]
Progress = Callable[[int, float, float], None]
Validation = tuple[Array, Array, "Array | None"]


class Engine(Protocol):
    """The methods every engine has; docs/design/interface.md gives their meaning.

    Arrays passed in were checked by `fastdense.data`; returned arrays are copies. `n_threads` 0 leaves the number
    to the engine. Data for the engine of "cuda" may be CuPy arrays, each on its own: it reads them when the stream that
    their interface names has done its work, is done with them when it returns, and its answers lie where x does.
    """

    def get_tensors(self) -> list[Array]: ...

    def set_tensors(self, tensors: list[Array], /) -> None: ...

    def configure(self, training: dict[str, Any], /) -> None: ...

    def get_state(self) -> dict[str, Any]: ...

    def set_state(self, state: dict[str, Any], /) -> None: ...

    def train(
        self,
        x: Array,
        y: Array,
        w: Array | None,
        val: Validation | None,
        *,
        batch_size: int,
        shuffle: bool,
        epoch: int,
        first_batch: int,
        learning_rates: Array,
        stop_on_nan: bool,
        progress: Progress | None,
        n_threads: int,
        goes_on: bool = False,
        probe_level: int | None = None,
        probe_first: bool = False,
    ) -> dict[str, Any]: ...

    def probe_period(self, rows: int, batch_size: int) -> int: ...

    def evaluate(self, x: Array, y: Array, w: Array | None, *, n_threads: int) -> Array: ...

    def predict_row(self, x: object, /) -> Array | None: ...

    def predict(self, x: Array, out: Array, *, n_threads: int) -> None: ...

    def loss_and_grad(
        self, x: Array, y: Array, w: Array | None, *, training: bool, n_threads: int
    ) -> tuple[float, list[Array]]: ...

    def solve_output(
        self, x: Array, y: Array, w: Array | None, *, ridge: float, n_threads: int
    ) -> tuple[Array, Array | None] | None: ...

    def activations(self, x: Array, *, n_threads: int) -> list[Array]: ...
