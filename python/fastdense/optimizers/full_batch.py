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

from typing import ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from ..arguments import integer, number
from ..specs import Config
from .base import Optimizer, Shapes, parameters

__all__ = ["LBFGS", "LevenbergMarquardt", "NewtonCG"]

ENDINGS = {
    "gradient": "every element of the gradient is at most gtol",
    "loss": "the loss fell by less than ftol of itself",
    "stuck": "no step makes the loss smaller: what is left is rounding, or a kink of a ReLU",
    "nonfinite": "the loss or its gradient is not finite where training began; scale x and y, or start anew",
}


class Solver(Optimizer):
    """Base of the full-batch optimizers.

    Attributes
    ----------
    needs : {"gradient", "least_squares", "curvature"}
        What it computes of the loss: its gradient; the Jacobian of the outputs, for the mean squared error; or the
        Jacobian and the second derivative of the loss.
    """

    full_batch = True
    gradients = 3
    needs: ClassVar[Literal["gradient", "least_squares", "curvature"]]
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
        """Return the optimizer in the form that engines accept."""
        return {"kind": self.kind, **{name: getattr(self, name) for name in self._hyperparameters}}


class LBFGS(Solver, names=("lbfgs", "l_bfgs")):
    """Limited-memory BFGS with a line search for the strong Wolfe conditions (Nocedal & Wright, 2006, ch. 3 and 7).

    The last `history_size` steps and the changes of the gradient along them stand for the curvature. A trial step whose
    loss is not finite is taken back, so the weights never become NaN. In float32, differences of the loss below its
    rounding count as none.

    Parameters
    ----------
    history_size : int, default 10
        Pairs of vectors that are remembered, each 16 bytes a parameter; 0 is steepest descent.
    line_search_steps : int, default 25
        Most evaluations of loss and gradient in one iteration.
    gtol : float, default 1e-05
        Ends training once every element of the gradient is at most this.
    ftol : float, default 1e-09
        Ends training once an iteration lowers the loss by less than this fraction of it.

    Notes
    -----
    Its state: 2 `history_size` vectors and two numbers.

    Examples
    --------
    >>> from fastdense.optimizers import LBFGS
    >>> LBFGS(history_size=20)
    LBFGS(history_size=20)
    """

    kind, _hyperparameters = "lbfgs", ("history_size", "line_search_steps", "gtol", "ftol")
    needs = "gradient"

    def __init__(
        self, history_size: int = 10, line_search_steps: int = 25, gtol: float = 1e-5, ftol: float = 1e-9
    ) -> None:
        super().__init__(gtol, ftol)
        self.history_size = integer("LBFGS: history_size", history_size, least=0, most=1000)
        self.line_search_steps = integer("LBFGS: line_search_steps", line_search_steps, least=1, most=1_000_000)

    def working_bytes(self, shapes: Shapes, itemsize: int) -> int:
        return 16 * (self.history_size + 3) * parameters(shapes)


class LevenbergMarquardt(Solver, names=("levenberg_marquardt", "lm")):
    """Levenberg-Marquardt for the mean squared error (Madsen, Nielsen & Tingleff, 2004, algorithm 3.16).

    With the Jacobian J of all outputs of all rows, ``A = 2 / (rows * outputs) * J' W J`` (plus the curvature of l2
    penalties) and the gradient g, a step solves ``(A + mu I) h = -g`` by Cholesky, in float64. The ratio of the fall of
    the loss to the one that the model promised decides whether the step is taken and how `mu` changes.

    Parameters
    ----------
    damping : float, default 0.001
        First `mu`, relative to the largest diagonal element of A.
    gtol, ftol : float, default 1e-10 and 1e-09
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

    Examples
    --------
    >>> from fastdense.optimizers import LevenbergMarquardt
    >>> LevenbergMarquardt(damping=0.01)
    LevenbergMarquardt(damping=0.01)
    """

    kind, _hyperparameters = "levenberg_marquardt", ("damping", "gtol", "ftol")
    needs = "least_squares"

    def __init__(self, damping: float = 1e-3, gtol: float = 1e-10, ftol: float = 1e-9) -> None:
        super().__init__(gtol, ftol)
        self.damping = number("LevenbergMarquardt: damping", damping, above=0)

    def working_bytes(self, shapes: Shapes, itemsize: int) -> int:
        return 16 * parameters(shapes) ** 2

    def operations(self, shapes: Shapes, rows: int) -> float:
        outputs, count = max((shape[-1] for shape in shapes[-2:]), default=1), parameters(shapes)
        return 2.0 * count**2 * (rows * outputs + count)  # float64


class NewtonCG(Solver, names=("newton_cg", "truncated_newton", "tnc")):
    """Truncated Newton: conjugate gradients in a trust region (Steihaug, 1983; Nocedal & Wright, 2006, ch. 4 and 7).

    The curvature is the Gauss-Newton matrix ``J' H J`` (Schraudolph, 2002), J the derivative of the outputs and H the
    second derivative of the loss, plus that of l2 penalties: never negative, and the exact one where the loss is small
    or the net linear. It is never formed; a product with a vector costs two gradients.

    Parameters
    ----------
    radius : float, default 10.0
        First length that a step may have.
    cg_steps : int, default 50
        Most products in one try. They end earlier, once the residual is ``min(1/2, sqrt(|g|)) * |g|``.
    gtol, ftol : float, default 1e-05 and 1e-09
        As in `LBFGS`.

    Raises
    ------
    ValueError
        By `compile`, if the loss is piecewise linear (mae, mape, quantile, hinge) or a cross-entropy of probabilities,
        or the net has LayerNorm, prelu, or penalties other than l2 on kernels and biases.

    Notes
    -----
    Its state: one number.

    Examples
    --------
    >>> from fastdense.optimizers import NewtonCG
    >>> NewtonCG(cg_steps=20)
    NewtonCG(cg_steps=20)
    """

    kind, _hyperparameters = "newton_cg", ("radius", "cg_steps", "gtol", "ftol")
    needs = "curvature"
    gradients = 25

    def __init__(self, radius: float = 10.0, cg_steps: int = 50, gtol: float = 1e-5, ftol: float = 1e-9) -> None:
        super().__init__(gtol, ftol)
        self.radius = number("NewtonCG: radius", radius, above=0)
        self.cg_steps = integer("NewtonCG: cg_steps", cg_steps, least=1, most=1_000_000)

    def working_bytes(self, shapes: Shapes, itemsize: int) -> int:
        return 64 * parameters(shapes)
