"""First-order optimizers that work on whole kernels: Muon and K-FAC."""

from __future__ import annotations

from ..arguments import flag, integer
from ..specs import Config
from .base import Optimizer, Rate, Shapes

__all__ = ["KFAC", "Muon"]


class Muon(Optimizer, names=("muon",)):
    """Momentum made orthogonal, for kernels; every other tensor is trained by Adam (Jordan et al., 2024).

    ``m = momentum * m + g``; ``x = g + momentum * m`` (or ``m`` without Nesterov) is divided by its Frobenius norm and
    `ns_steps` times replaced by ``a x + (b A + c A A) x`` with ``A = x x'``, on the side where A is smaller; then
    ``w -= lr * rms_rate * sqrt(max(rows, columns)) * x`` (Liu et al., 2025).

    Parameters
    ----------
    learning_rate : float or Schedule, default 0.001
        Step size, or a schedule of it.
    adam_beta_1, adam_beta_2, epsilon : float, default 0.9, 0.999 and 1e-07
        Of Adam.
    adam_weight_decay : float, optional
        Weight decay of the tensors trained by Adam.
    adam_lr_ratio : float, default 1.0
        Learning rate of Adam divided by the one of the kernels.
    momentum : float, default 0.95
        Fraction of the previous step that is added to the next; 0 for none, below 1.
    nesterov : bool, default True
        Whether the gradient counts a second time, after the momentum step.
    ns_steps : int, default 5
        Number of Newton-Schulz iterations.
    muon_a, muon_b, muon_c : float, default 3.4445, -4.775 and 2.0315
        The a, b and c above.
    rms_rate : float, optional
        None leaves the factor ``rms_rate * sqrt(max(rows, columns))`` out.
    weight_decay : float, optional
        Weight decay of the kernels.
    clipnorm, clipvalue, global_clipnorm : float, optional
        See the module.
    use_ema, ema_momentum, ema_overwrite_frequency
        See the module.

    Examples
    --------
    >>> from fastdense.optimizers import Muon
    >>> Muon(0.02)
    Muon(learning_rate=0.02)
    """

    kind, _hyperparameters = "muon", ("momentum", "nesterov", "ns_steps", "adam_lr_ratio", "epsilon")

    def __init__(
        self,
        learning_rate: Rate = 0.001,
        *,
        adam_beta_1: float = 0.9,
        adam_beta_2: float = 0.999,
        adam_weight_decay: float | None = 0.004,
        epsilon: float = 1e-7,
        weight_decay: float | None = 0.004,
        clipnorm: float | None = None,
        clipvalue: float | None = None,
        global_clipnorm: float | None = None,
        use_ema: bool = False,
        ema_momentum: float = 0.99,
        ema_overwrite_frequency: int | None = None,
        muon_a: float = 3.4445,
        muon_b: float = -4.775,
        muon_c: float = 2.0315,
        adam_lr_ratio: float = 1.0,
        momentum: float = 0.95,
        ns_steps: int = 5,
        nesterov: bool = True,
        rms_rate: float | None = 0.2,
    ) -> None:
        super().__init__(learning_rate, weight_decay, clipnorm, clipvalue, global_clipnorm)
        self._set_average(use_ema, ema_momentum, ema_overwrite_frequency)
        self.adam_beta_1 = self._fraction("adam_beta_1", adam_beta_1)
        self.adam_beta_2 = self._fraction("adam_beta_2", adam_beta_2)
        self.adam_weight_decay = self._optional("adam_weight_decay", adam_weight_decay, least=0)
        self.epsilon = self._number("epsilon", epsilon, above=0)
        self.muon_a, self.muon_b, self.muon_c = (
            self._number(f"muon_{name}", value) for name, value in zip("abc", (muon_a, muon_b, muon_c), strict=True)
        )
        self.adam_lr_ratio = self._number("adam_lr_ratio", adam_lr_ratio, least=0)
        self.momentum = self._fraction("momentum", momentum)
        self.ns_steps = integer("Muon: ns_steps", ns_steps, least=0, most=1000)
        self.nesterov = flag("Muon: nesterov", nesterov)
        self.rms_rate = self._optional("rms_rate", rms_rate, above=0)

    def operations(self, shapes: Shapes, rows: int) -> float:
        return float(sum(6 * self.ns_steps * a * b * min(a, b) for a, b in _matrices(shapes)))

    def lower(self) -> Config:
        return {
            **super().lower(),
            "ns_a": self.muon_a,
            "ns_b": self.muon_b,
            "ns_c": self.muon_c,
            "rms_rate": self.rms_rate or 0.0,
            "adam_weight_decay": self.adam_weight_decay or 0.0,
            "beta_1": self.adam_beta_1,
            "beta_2": self.adam_beta_2,
        }


class KFAC(Optimizer, names=("kfac",)):
    """Preconditions gradients with a Kronecker-factored curvature estimate, K-FAC (Martens & Grosse, 2015).

    For each dense layer ``z = x W + b``, C is a moving average of the covariance of its inputs, and G one of the second
    moments of the gradient of z, scaled to a mean diagonal of 1. Inputs count from their mean over the batch at hand.
    The gradient g of the kernel, after momentum (``m = momentum * m + g``, taken for g, or with Nesterov
    ``g + momentum * m``), becomes ``u = (C + a I)^-1 g (G + output_damping I)^-1``, a being `input_damping` times the
    mean diagonal of C, and ``u`` is scaled so that it would change z by as much as z varies over the rows:
    ``learning_rate`` is the fraction of that which one step changes, in every layer, whatever the scale of data,
    weights and loss. Inputs with a large mean or strong correlations, which slow all other first-order optimizers down,
    make no difference. Every other tensor's gradient is divided by its root mean square. Then ``w -= lr * u``.

    Steps do not get smaller by themselves near a minimum: let the learning rate fall, e.g. by
    `fastdense.schedules.CosineDecay`. A step costs three more products per layer and, every `interval` steps, two
    inversions; small batches make that expensive and the factors inaccurate: use 256 rows or more.

    Parameters
    ----------
    learning_rate : float or Schedule, default 0.01
        0.003 to 0.1.
    momentum : float, default 0.9
        0 for none, below 1.
    nesterov : bool, default False
        Whether the gradient counts a second time, after the momentum step.
    rho : float, default 0.8
        Decay of the moving averages C and G: the fraction that is kept when they are updated.
    input_damping, output_damping : float, default 0.1 and 1.0
        More of them makes steps more like those of `SGD`.
    interval : int, default 10
        Steps between two updates of C and G, and so between two inversions; the first steps update them every time.
    weight_decay, clipnorm, clipvalue, global_clipnorm : float, optional
        See the module; clipping applies to the steps for learning rate 1.

    Notes
    -----
    Memory: 12 (n^2 + u^2) bytes for a layer from n to u in float32, and 72 bytes times the square of the widest
    side; `compile` raises if that is not there. Files hold C and G too.

    Examples
    --------
    >>> from fastdense.optimizers import KFAC
    >>> KFAC(0.03)
    KFAC(learning_rate=0.03)
    """

    kind, _hyperparameters = (
        "kfac",
        ("momentum", "nesterov", "rho", "input_damping", "output_damping", "interval"),
    )

    def __init__(
        self,
        learning_rate: Rate = 0.01,
        momentum: float = 0.9,
        nesterov: bool = False,
        *,
        rho: float = 0.8,
        input_damping: float = 0.1,
        output_damping: float = 1.0,
        interval: int = 10,
        weight_decay: float | None = None,
        clipnorm: float | None = None,
        clipvalue: float | None = None,
        global_clipnorm: float | None = None,
    ) -> None:
        super().__init__(learning_rate, weight_decay, clipnorm, clipvalue, global_clipnorm)
        self.momentum = self._fraction("momentum", momentum)
        self.nesterov = flag("KFAC: nesterov", nesterov)
        self.rho = self._fraction("rho", rho)
        self.input_damping = self._number("input_damping", input_damping, above=0)
        self.output_damping = self._number("output_damping", output_damping, above=0)
        self.interval = integer("KFAC: interval", interval, least=1)

    def operations(self, shapes: Shapes, rows: int) -> float:
        sums = sum(2 * rows * (a * a + b * b) + 2 * a * b * (a + b) for a, b in _matrices(shapes))
        return sums + 10 * sum(a**3 + b**3 for a, b in _matrices(shapes)) / self.interval

    def working_bytes(self, shapes: Shapes, itemsize: int) -> int:
        # factors in float64, inverses, and scratch
        sides = [side for shape in shapes if len(shape) == 2 for side in (shape[0] + 1, shape[1])]
        return (8 + itemsize) * sum(side * side for side in sides) + 72 * max(sides, default=0) ** 2


def _matrices(shapes: Shapes) -> list[tuple[int, int]]:
    return [(shape[0], shape[1]) for shape in shapes if len(shape) == 2]
