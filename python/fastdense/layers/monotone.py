"""Nets that rise or fall with some of their inputs, certified by the signs of their weights.

Each column that an op passes on has a sign: 1 if it never falls as a monotone input moves in its direction, -1 if it
never rises, 0 if it does not depend on monotone inputs. A kernel's element (r, c) must then never have another sign
than that of row r times that of column c, which a constraint keeps, and activations must not fall anywhere. Hidden
units take turns: 1, -1, 1, ... With a convex activation such as relu the first kind adds convex functions and the other
concave ones, and two layers of both make steps, so that nets of two hidden layers and more approximate every monotone
function (Runje and Shankaranarayana, 2023; with the one kind alone they would all be convex).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from ..activations import TABLE
from ..arguments import shorten
from ..initializers import Data
from ..specs import Config
from .ascending import Ascending
from .base import Array, Layer
from .blocks import Composite
from .dense import Dense
from .normalization import BatchNorm
from .preprocessing import Preprocessing
from .scaling import Rescaling

RISING = tuple(name for name, traits in TABLE.items() if traits.rising)
_PASSING = ("dropout", "gaussian_dropout", "alpha_dropout", "gaussian_noise", "activity", "normalization")
_WHY_NOT = {
    "scale": "its factors may become negative",
    "function": "its formula is your own",
    "grouped_dense": "its kernels may become negative",
    "periodic": "it rises and falls",
    "embedding": "the rows of its table have no order",
}
Signs = list[int]


def check_monotonic(value: Any, inputs: int) -> Signs | None:
    """The argument `monotonic` of a model: -1, 0 or 1 for each input; None if none is monotone."""
    if value is None:
        return None
    signs = value.tolist() if isinstance(value, np.ndarray) else value
    if not isinstance(signs, (list, tuple)):
        raise TypeError(
            f"Model: monotonic={shorten(value)} is of type {type(value).__name__}. "
            "Give a list with -1, 0 or 1 for each input."
        )
    if len(signs) != inputs:
        raise ValueError(f"Model: monotonic has {len(signs)} numbers for {inputs} inputs. Give one for each.")
    for i, sign in enumerate(signs):
        if isinstance(sign, bool) or sign not in (-1, 0, 1):
            raise ValueError(
                f"Model: monotonic[{i}]={shorten(sign)}. Give 1 (rising), -1 (falling) or 0 (either) for each input."
            )
    return [int(sign) for sign in signs] if any(signs) else None


@dataclass
class Certificate:
    """Walks through the layers of a net, front to back, and constrains their ops.

    Attributes
    ----------
    signs : list of int
        Of the columns that the next layer gets.
    rising : set of int
        Ops whose first tensor must not hold a number below 0.
    hidden : set of int
        Dense ops whose units take turns.
    """

    signs: Signs
    rising: set[int] = field(default_factory=set)
    hidden: set[int] = field(default_factory=set)
    _open: list[Signs] = field(default_factory=list)  # of the blocks that have begun: those of their inputs
    _branches: list[list[Signs]] = field(default_factory=list)  # and those of the branches so far
    _place: str = ""

    def constrain(self, layers: Sequence[Layer], ops: Sequence[Config], ends: Sequence[int]) -> None:
        """Add constraints to the ops of a net.

        Parameters
        ----------
        layers, ops, ends
            As of `fastdense.network.Net`.

        Raises
        ------
        ValueError
            If there is a layer for which nothing can be certified.
        """
        first = 0
        for i, (layer, end) in enumerate(zip(layers, ends, strict=True)):
            self._place = f"layers[{i}] is a {type(layer).__name__}"
            if isinstance(layer, Preprocessing):
                self._encoded(layer)
                continue
            self._check_ascending(layer)
            for at in range(first, end + 1):
                self._op(ops, at)
            first = end + 1
        if -1 in self.signs:
            self._fail("some of its outputs would fall where they must rise", "End the net with a Dense")

    def _fail(self, why: str, remedy: str) -> NoReturn:
        raise ValueError(f"Model: monotonic is given and {self._place}; {why}. {remedy}.")

    def _check_ascending(self, layer: Layer) -> None:
        if isinstance(layer, Ascending) and any(self.signs):
            self._fail(
                "its outputs could then only spread as the input moves",
                "End with a Dense: predict_interval sorts its outputs, which keeps them monotone",
            )
        if isinstance(layer, Composite):
            for chain in layer.chains:
                for inner in chain:
                    self._check_ascending(inner)

    def _encoded(self, layer: Preprocessing) -> None:
        """Past a layer in front, which has no op."""
        before = self.signs
        chosen = range(len(before)) if layer.columns is None else layer.columns
        made: Signs = []
        for column, sign in enumerate(before):
            own = [column] if column not in chosen else [column] * layer._width(list(chosen).index(column))
            if column in chosen and sign and not layer.rising:
                self._fail(
                    f"what it makes of column {column} need not rise with it", "Leave that column out of columns"
                )
            made += [sign] * len(own)
        self.signs = made + [0] * (layer.output_width(len(before)) - len(made))

    def _op(self, ops: Sequence[Config], at: int) -> None:
        op, signs = ops[at], self.signs
        kind = op["kind"]
        if kind == "residual_begin":
            self._open.append(signs)
        elif kind == "residual_end":
            self.signs = self._merged("add", [self._open.pop(), signs])
        elif kind == "branches_begin":
            self._open.append(signs)
            self._branches.append([])
        elif kind == "branch_next":
            self._branches[-1].append(signs)
            self.signs = self._open[-1]
        elif kind == "branches_end":
            self._open.pop()
            self.signs = self._merged(op["merge"], [*self._branches.pop(), signs])
        elif kind == "select_columns":
            self.signs = [signs[column] for column in op["columns"]]
        elif kind == "dense":
            self._dense(ops, at)
        elif kind in ("piecewise_linear", "periodic", "embedding", "grouped_dense"):
            self._columns(op)
        elif kind == "function":
            if any(signs):
                self._fail(_WHY_NOT[kind], "Leave it out, or let a branch give it free inputs alone")
            self.signs = [0] * op["units"]
        elif any(signs):
            self._same_width(op, at)

    def _same_width(self, op: Config, at: int) -> None:
        """An op whose columns stay."""
        kind = op["kind"]
        if kind == "activation":
            self._check_activation(op)
        elif kind == "batch_norm":
            self._limit(op)
            if op.get("scales", True):
                op["kernel_constraint"] = {"kind": "non_negative"}
                self.rising.add(at)
        elif kind == "rescaling":
            self.rising.add(at)
        elif kind not in _PASSING:
            self._fail(
                _WHY_NOT.get(kind, "what it makes of a column depends on the others of its row"),
                "Leave it out, or use BatchNorm",
            )

    def _limit(self, op: Config) -> None:
        if op.get("kernel_constraint", {"kind": "non_negative"})["kind"] != "non_negative":
            self._fail("it has a constraint of its own", "Leave that out: monotonic needs one that it sets itself")

    def _check_activation(self, op: Config) -> None:
        name = op["activation"]
        if name not in RISING:
            self._fail(f"its activation {name!r} may fall as its input rises", f"Use one of {', '.join(RISING)}")

    def _dense(self, ops: Sequence[Config], at: int) -> None:
        op, rows = ops[at], self.signs
        if not any(rows):
            self.signs = [0] * op["units"]
            return
        self._check_activation(op)
        self._limit(op)
        wanted = self._wanted(ops, at)
        turns = [1 if unit % 2 == 0 else -1 for unit in range(op["units"])]
        columns = turns if wanted is None else [one or 1 for one in wanted] if wanted else [1] * op["units"]
        op["kernel_constraint"] = {"kind": "signs", "rows": list(rows), "columns": columns}
        if wanted is None and op["activation"] != "linear":
            self.hidden.add(at)
        self.signs = columns

    def _wanted(self, ops: Sequence[Config], at: int) -> Signs | None:
        """Signs that the units of a dense op must have: None if any, an empty list if all must rise."""
        depth = len(self._open)
        at += 1
        while at < len(ops):
            op = ops[at]
            kind = op["kind"]
            if kind in ("dense", "grouped_dense", "function", "branches_begin"):
                return None
            if kind == "residual_begin":  # its input goes on beside the block
                at = _end_of(ops, at)
            elif kind == "residual_end":
                depth -= 1
                return self._open[depth]
            elif kind in ("branch_next", "branches_end"):
                at = at if kind == "branches_end" else _end_of(ops, at)
                depth -= 1
                if ops[at]["merge"] != "concatenate":
                    return []
            at += 1
        return []

    def _columns(self, op: Config) -> None:
        """An op that encodes some columns."""
        kind, signs = op["kind"], self.signs
        if kind == "grouped_dense":
            taken = op["groups"] * op["group_inputs"]
            if any(signs[:taken]):
                self._fail(_WHY_NOT[kind], "Leave monotone columns out of its columns")
            self.signs = [0] * (op["groups"] * op["units"]) + signs[taken:]
            return
        columns = op["columns"]
        rises = kind == "piecewise_linear"
        if not rises and any(signs[column] for column in columns):
            self._fail(_WHY_NOT[kind], "Leave monotone columns out of its columns")
        passing = [sign for column, sign in enumerate(signs) if op.get("keep", False) or column not in set(columns)]
        each = op["bins"] if rises else op["frequencies"] if kind == "periodic" else op["units"]
        made = [signs[column] for column in columns for _ in range(each)]
        self.signs = passing + made if kind == "embedding" else made + passing

    def _merged(self, merge: str, parts: list[Signs]) -> Signs:
        if merge == "concatenate":
            return [sign for part in parts for sign in part]
        if merge == "multiply" and any(any(part) for part in parts):
            self._fail("a product of monotone columns need not be monotone", "Merge them by 'add'")
        if merge == "subtract":
            parts = [parts[0], [-sign for sign in parts[1]]]
        made = []
        for signs in zip(*parts, strict=True):
            known = {sign for sign in signs if sign}
            if len(known) > 1:
                self._fail("it merges columns that rise with ones that fall", "Let each branch end with a Dense")
            made.append(known.pop() if known else 0)
        return made


def signs_of(
    monotonic: Signs,
    layers: Sequence[Layer],
    ops: Sequence[Config],
    ends: Sequence[int],
    leaves: Sequence[tuple[Layer, slice]],
) -> tuple[dict[int, NDArray[np.int8]], list[int]]:
    """Constrain the ops of a net, and return the signs of its tensors.

    Parameters
    ----------
    monotonic : list of int
        As of `check_monotonic`.
    layers, ops, ends, leaves
        As of `fastdense.network.Net`.

    Returns
    -------
    dict
        By the number of the tensor; 0 where any sign is right.
    list of int
        Numbers of the tensors that are biases of hidden units.

    Raises
    ------
    ValueError
        If there is a layer for which nothing can be certified.
    """
    certificate = Certificate(list(monotonic))
    certificate.constrain(layers, ops, ends)
    kinds = ("dense", "batch_norm", "rescaling")
    with_kernel = iter([at for at, op in enumerate(ops) if op["kind"] in kinds])
    signs: dict[int, NDArray[np.int8]] = {}
    biases: list[int] = []
    for layer, part in leaves:
        if not isinstance(layer, (Dense, BatchNorm, Rescaling, Ascending)):
            continue
        at = next(with_kernel)
        if isinstance(layer, Ascending):
            next(with_kernel)
            continue
        limit = ops[at].get("kernel_constraint", {"kind": ""})
        if isinstance(layer, Dense) and isinstance(layer.kernel_initializer, Data) and limit["kind"] == "signs":
            raise ValueError(
                "Model: monotonic is given and a layer has kernel_initializer='data', which gives weights of any sign. "
                "Leave that out."
            )
        if limit["kind"] == "signs":
            signs[part.start] = np.outer(limit["rows"], limit["columns"]).astype(np.int8)
            if at in certificate.hidden and isinstance(layer, Dense) and layer.use_bias:
                biases.append(part.start + 1)
        elif at in certificate.rising:
            signs[part.start] = np.array(1, np.int8)
    return signs, biases


def first_values(values: list[Array], signs: dict[int, NDArray[np.int8]], biases: Sequence[int]) -> list[Array]:
    """First values with the right signs: |w| times its sign, divided by 0.8 times the root of their number.

    What monotone columns contribute to a unit has one sign, so that it adds up to n times 0.8 sd, where weights of
    either sign give the root of n times sd. Units do not differ much in their directions then, but may in their
    thresholds: biases that are all 0 are spread from -1.5 to 1.5.

    Parameters
    ----------
    values : list of ndarray
        Of one net, or of many, (nets, ...).
    signs, biases
        As of `signs_of`.
    """
    for i, own in signs.items():
        if own.ndim == 2:
            count = np.maximum(1, (own != 0).sum(axis=0))
            values[i] = np.where(own == 0, values[i], np.abs(values[i]) * own / (0.8 * np.sqrt(count)))
    for i in biases:
        if not values[i].any():
            turns = 0.5 * (np.sqrt(5.0) - 1.0) * (np.arange(values[i].shape[-1]) + 1.0)
            values[i] = values[i] + 1.5 * (2.0 * (turns % 1.0) - 1.0)
    return values


def _end_of(ops: Sequence[Config], at: int) -> int:
    """Number of the op that ends the block of `at`: of a residual's begin, or of a branch's next."""
    depth = 0
    for i in range(at + 1, len(ops)):
        kind = ops[i]["kind"]
        if kind.endswith("_begin"):
            depth += 1
        elif kind.endswith("_end"):
            if not depth:
                return i
            depth -= 1
    raise AssertionError("a block without its end")
