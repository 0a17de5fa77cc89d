"""Full-batch optimizers: each iteration sees all rows and decides by the loss itself how far to go.

There is no learning rate. One epoch of ``fit`` is one iteration, so ``fit(epochs=k)`` makes at most `k`; ``batch_size``
must be left out (or be at least the number of rows), and the order of the rows does not matter. The loss and the
metrics of an epoch are those *after* its iteration. A solver that has nothing more to do ends ``fit`` early, and
``history.params["ended"]`` says why; its state is kept, saved and goes on like that of every other optimizer. Memory
does not grow with the rows.

They minimise the loss that `evaluate` reports, penalties included. Dropout, a new function in every step, and
BatchNorm, which ties the rows of a batch together, are therefore refused.
"""

from __future__ import annotations

from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from .arrays import check_memory, fail
from .losses import Loss
from .net import Net
from .optimizer_base import Optimizer
from .specs import Config, integer, number

__all__ = [
    "LBFGS",
    "LevenbergMarquardt",
    "NewtonCG",
    "Solver",
    "check_batch",
    "check_rates",
    "check_solver",
    "solver_bytes",
]

DEFAULT_BATCH = 32  # of `fit`
ENDINGS = {
    "gradient": "every element of the gradient is at most gtol",
    "loss": "the loss fell by less than ftol of itself",
    "stuck": "no step makes the loss smaller: what is left is rounding, or a kink of a ReLU",
    "nonfinite": "the loss or its gradient is not finite where training began; scale x and y, or start anew",
}


class Solver(Optimizer):
    """Base of the full-batch optimizers."""

    full_batch = True
    _FIXED: ClassVar[str] = "a full-batch optimizer has no learning rate"

    def __init__(self, gtol: float, ftol: float) -> None:
        self.gtol = number(f"{type(self).__name__}: gtol", gtol, least=0)
        self.ftol = number(f"{type(self).__name__}: ftol", ftol, least=0)

    def __setattr__(self, name: str, value: object) -> None:
        if name == "learning_rate":
            raise AttributeError(f"{type(self).__name__}: {self._FIXED}; remove what sets one, or use e.g. Adam")
        super().__setattr__(name, value)

    def __getattr__(self, name: str) -> object:
        if name == "learning_rate":
            raise AttributeError(f"{type(self).__name__}: {self._FIXED}")
        raise AttributeError(f"{type(self).__name__} has no attribute {name!r}")

    def learning_rates(self, first_step: int, n: int) -> NDArray[np.float64]:
        """Return one 1 per iteration; only their number matters."""
        return np.ones(n)

    def lower(self) -> Config:
        """Return the optimizer as the engines take it."""
        return {"kind": self.kind, **{name: getattr(self, name) for name in self._hyperparameters}}


class LBFGS(Solver, names=("lbfgs", "l_bfgs")):
    """Limited-memory BFGS with a line search for the strong Wolfe conditions (Nocedal & Wright, 2006, ch. 3 and 7).

    The last `history_size` steps and the changes of the gradient along them stand for the curvature. A trial step whose
    loss is not finite is taken back, so the weights never become NaN. In float32, differences of the loss below its
    rounding count as none.

    Parameters
    ----------
    history_size : int
        Pairs of vectors that are remembered, each 16 bytes a parameter; 0 is steepest descent.
    line_search_steps : int
        Most evaluations of loss and gradient in one iteration.
    gtol : float
        Ends training once every element of the gradient is at most this.
    ftol : float
        Ends training once an iteration lowers the loss by less than this share of it.

    Notes
    -----
    Its state: 2 `history_size` vectors and two numbers.
    """

    kind, _hyperparameters = "lbfgs", ("history_size", "line_search_steps", "gtol", "ftol")

    def __init__(
        self, history_size: int = 10, line_search_steps: int = 25, gtol: float = 1e-5, ftol: float = 1e-9
    ) -> None:
        super().__init__(gtol, ftol)
        self.history_size = integer("LBFGS: history_size", history_size, least=0, most=1000)
        self.line_search_steps = integer("LBFGS: line_search_steps", line_search_steps, least=1)


class LevenbergMarquardt(Solver, names=("levenberg_marquardt", "lm")):
    """Levenberg-Marquardt for the mean squared error (Madsen, Nielsen & Tingleff, 2004, algorithm 3.16).

    With the Jacobian J of all outputs of all rows, ``A = 2 / (rows * outputs) * J' W J`` (plus the curvature of l2
    penalties) and the gradient g, a step solves ``(A + mu I) h = -g`` by Cholesky, in float64. The ratio of the fall of
    the loss to the one that the model promised decides whether the step is taken and how `mu` changes.

    Parameters
    ----------
    damping : float
        First `mu`, relative to the largest diagonal element of A.
    gtol, ftol : float
        As in `LBFGS`.

    Raises
    ------
    MemoryError
        By `compile`, if two matrices of parameters x parameters float64 numbers do not fit in memory.
    ValueError
        By `compile`, if the loss is not "mse", or the net has LayerNorm, prelu, softmax, or penalties other than l2 on
        kernels and biases.

    Notes
    -----
    Memory: 16 bytes times the square of the number of parameters, whatever the number of rows. Its state: two numbers.
    """

    kind, _hyperparameters = "levenberg_marquardt", ("damping", "gtol", "ftol")

    def __init__(self, damping: float = 1e-3, gtol: float = 1e-10, ftol: float = 1e-9) -> None:
        super().__init__(gtol, ftol)
        self.damping = number("LevenbergMarquardt: damping", damping, above=0)


class NewtonCG(Solver, names=("newton_cg", "truncated_newton", "tnc")):
    """Truncated Newton: conjugate gradients in a trust region (Steihaug, 1983; Nocedal & Wright, 2006, ch. 4 and 7).

    The curvature is the Gauss-Newton matrix ``J' H J`` (Schraudolph, 2002), J the derivative of the outputs and H the
    second derivative of the loss, plus that of l2 penalties: never negative, and the exact one where the loss is small
    or the net linear. It is never formed; a product with a vector costs two gradients.

    Parameters
    ----------
    radius : float
        First length that a step may have.
    cg_steps : int
        Most products in one try. They end earlier, once the residual is ``min(1/2, sqrt(|g|)) * |g|``.
    gtol, ftol : float
        As in `LBFGS`.

    Raises
    ------
    ValueError
        By `compile`, if the loss is piecewise linear (mae, mape, quantile, hinge) or a cross-entropy of probabilities,
        or the net has LayerNorm, prelu, or penalties other than l2 on kernels and biases.

    Notes
    -----
    Its state: one number.
    """

    kind, _hyperparameters = "newton_cg", ("radius", "cg_steps", "gtol", "ftol")

    def __init__(self, radius: float = 10.0, cg_steps: int = 50, gtol: float = 1e-5, ftol: float = 1e-9) -> None:
        super().__init__(gtol, ftol)
        self.radius = number("NewtonCG: radius", radius, above=0)
        self.cg_steps = integer("NewtonCG: cg_steps", cg_steps, least=1)


def check_solver(where: str, optimizer: Optimizer, loss: Loss, net: Net) -> None:
    """Raise if an optimizer cannot train this net for this loss: a full-batch one, or one whose memory is not there."""
    if not isinstance(optimizer, Solver):
        remedy = "use narrower layers, or e.g. optimizer='adam'"
        check_memory(where, solver_bytes(optimizer, net), f"{type(optimizer).__name__} for layers so wide", remedy)
        return
    name = type(optimizer).__name__
    if net.precision is not None:
        fail(
            where,
            f"{name} was given for a net of precision {net.precision!r}",
            f"it compares losses, whose differences {net.precision} does not show",
            "use dtype='float32' or 'float64', and no precision",
        )
    for op in net.ops:
        if op["kind"] == "dropout" and op["rate"] > 0:
            fail(
                where,
                f"{name} was given for a net with Dropout, which makes the loss another function in every step",
                "a full-batch optimizer needs one and the same function",
                "remove the Dropout (an l2 penalty does its work), or use e.g. Adam",
            )
        if op["kind"] == "batch_norm":
            fail(
                where,
                f"{name} was given for a net with BatchNorm, which ties all rows of a batch together",
                "a full-batch optimizer takes rows in parts",
                "use LayerNorm or Normalization, or e.g. Adam",
            )
    if isinstance(optimizer, LBFGS):
        what = f"{name} with history_size={optimizer.history_size}"
        check_memory(where, solver_bytes(optimizer, net), what, "use a smaller history_size")
    if isinstance(optimizer, LevenbergMarquardt):
        _check_least_squares(where, optimizer, loss, net)
    if isinstance(optimizer, NewtonCG):
        _check_curved(where, name, loss, net)


LBFGS_INSTEAD = "use optimizer='lbfgs'"
_SMOOTH = ("kernel_l2", "bias_l2")  # penalties whose curvature is exact


def _check_least_squares(where: str, optimizer: Optimizer, loss: Loss, net: Net) -> None:
    """Raise if a loss or a net has no Jacobian here, or one that cannot fit in memory."""
    name = type(optimizer).__name__
    if loss.kind != "mse":
        fail(where, f"the loss is {loss.kind}", f"{name} is for least squares: loss='mse'", "or use optimizer='lbfgs'")
    _check_jacobian(where, name, net, ("prelu", "softmax"))
    n = net.count(True)
    check_memory(
        where,
        solver_bytes(optimizer, net),
        f"{name} for {n:,} parameters (two matrices of that many rows and columns)",
        "use optimizer='lbfgs', or a smaller net",
    )


def _check_curved(where: str, name: str, loss: Loss, net: Net) -> None:
    """Raise if a loss has no second derivative here, or a net no Jacobian."""
    last, given = net.ops[-1].get("activation", ""), loss.lower()
    needed = {"binary_crossentropy": "sigmoid"}.get(loss.kind, "softmax")
    if loss.kind in ("mae", "mape", "quantile", "hinge"):
        what = "has no curvature (it is piecewise linear)"
        fail(where, f"the loss is {loss.kind}", f"{name} needs one that is curved; this one {what}", LBFGS_INSTEAD)
    if "crossentropy" in loss.kind and not given["from_logits"] and last != needed:
        what = f"the loss is {loss.kind} of an output that does not come from {needed}"
        fail(where, what, f"{name} knows it with {needed} or from_logits=True", f"end with activation={needed!r}")
    _check_jacobian(where, name, net, ("prelu",))


def _check_jacobian(where: str, name: str, net: Net, without: tuple[str, ...]) -> None:
    """Raise if a net holds what solvers cannot differentiate row by row."""
    for op in net.ops:
        what = ""
        if op["kind"] == "layer_norm":
            what = "LayerNorm"
        elif op.get("activation") in without:
            what = f"activation={op['activation']!r}"
        else:
            penalties = [key for key in op if key.split("_")[0] in ("kernel", "bias", "activity") and op[key]]
            bad = [key for key in penalties if key not in (*_SMOOTH, "kernel_orthogonal_columns")]
            what = f"the penalty {bad[0]}" if bad else ""
        if what:
            fail(
                where,
                f"{name} was given for a net with {what}",
                "it knows no Jacobian of that",
                LBFGS_INSTEAD,
            )


def check_rates(where: str, optimizer: Optimizer, learning_rate: object) -> None:
    """Raise if nets are given learning rates of their own that the optimizer has no use for."""
    if optimizer.full_batch and learning_rate is not None:
        given = f"learning_rate is given and the optimizer is {type(optimizer).__name__}"
        fail(where, given, "a full-batch optimizer has no learning rate", "leave it out, or use e.g. Adam")


def solver_bytes(optimizer: Optimizer, net: Net) -> int:
    """Memory that an optimizer takes for a net besides slots: of full-batch ones all of it."""
    n = net.count(True)
    if optimizer.kind == "kfac":  # factors in float64, inverses, and scratch
        sides = [side for t in net.tensors if len(t.shape) == 2 for side in (t.shape[0] + 1, t.shape[1])]
        return (8 + net.itemsize) * sum(side * side for side in sides) + 72 * max(sides, default=0) ** 2
    if isinstance(optimizer, LBFGS):
        return 16 * (optimizer.history_size + 3) * n
    if isinstance(optimizer, LevenbergMarquardt):
        return 16 * n * n
    return 64 * n if isinstance(optimizer, NewtonCG) else 0


def check_batch(where: str, optimizer: Optimizer, batch_size: int, rows: int) -> int:
    """Return the rows of a step: all of them for a full-batch optimizer, which refuses fewer; 32 means all."""
    if not optimizer.full_batch:
        return batch_size
    if batch_size < rows and batch_size != DEFAULT_BATCH:
        fail(
            where,
            f"batch_size is {batch_size} for {rows} rows",
            f"{type(optimizer).__name__} is a full-batch optimizer: each step takes all rows",
            "leave batch_size out; memory does not grow with the rows",
        )
    return rows
