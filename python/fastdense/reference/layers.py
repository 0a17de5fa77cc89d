"""The ops of a program: forward, and beside it the backward pass it calls for.

`forward` returns a `Forward`: the output and a function that turns the gradient of the loss with respect to the
output into the gradients with respect to the input and to the op's trainable tensors. Ops hold no numbers:
tensors are passed in, so a step that is never committed leaves no trace.
Shapes: x (rows, n), output (rows, width).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from .activations import Activation
from .arrays import Array, Spec, as_float, to_bfloat16, to_tf32, unknown
from .penalties import l1_l2, weight_penalties
from .rng import dropout_mask

Gradients = tuple[Array, list[Array]]


@dataclass(frozen=True)
class Context:
    """What a forward pass depends on besides numbers: the mode, and the key of this step's dropout masks."""

    training: bool
    seed: int
    step: int


@dataclass(frozen=True)
class Forward:
    """What one op leaves behind in a forward pass.

    `backward(grad, grad_z)`: gradient of the loss with respect to the output, and what a fused loss adds
    with respect to z, the input of the op's activation (0.0 everywhere else). `activity` is the penalty on the output,
    `moving` the new values of the tensors that are not trained, after a pass in training mode; `z_gradients` gets the
    gradient with respect to z of a dense op whenever `backward` is called.
    """

    output: Array
    backward: Callable[[Array, Array | float], Gradients]
    z: Array | None = None
    activity: float = 0.0
    moving: list[Array] = field(default_factory=list)
    z_gradients: list[Array] = field(default_factory=list)


class Op:
    """One op of a program: an op of input width n with no tensors and the identity as its map.

    Parameters
    ----------
    spec : the op as plain data
    index : its place in the program, which keys its dropout masks
    n : input width

    Attributes
    ----------
    shapes : shapes of its tensors, the `trainable` first ones trained, the rest not
    width : output width
    activation : the activation's name, "" if the op has none
    """

    def __init__(self, spec: Spec, index: int, n: int) -> None:
        self.spec, self.index, self.width = spec, index, n
        self.shapes: list[tuple[int, ...]] = []
        self.trainable = 0
        self.activation = ""
        self.setup(n)

    @property
    def kind(self) -> str:
        """Name of the op's kind."""
        return str(self.spec["kind"])

    def setup(self, n: int) -> None:
        """Set `shapes`, `trainable`, `width` and `activation` for an input of width n."""

    def forward(self, tensors: list[Array], x: Array, context: Context) -> Forward:
        """Apply the op to x (rows, n)."""
        return Forward(x, lambda grad, _: (grad, []))

    def penalty(self, tensors: list[Array]) -> tuple[float, list[Array]]:
        """Penalty on the op's weights and its gradient for every trainable tensor."""
        return 0.0, [np.zeros_like(tensor) for tensor in tensors[: self.trainable]]


class ActivationOp(Op):
    """y = f(x)."""

    def setup(self, n: int) -> None:
        """One slope per input for prelu."""
        self.function = Activation(self.spec["activation"], self.spec["alpha"])
        self.activation = self.function.name
        if self.function.has_slope:
            self.shapes, self.trainable = [(n,)], 1

    def forward(self, tensors: list[Array], x: Array, context: Context) -> Forward:
        """Apply the activation."""
        slope = tensors[0] if self.function.has_slope else None
        a = self.function.value(x, slope)

        def backward(grad: Array, grad_z: Array | float) -> Gradients:
            grad_x, grad_slope = self.function.gradient(x, a, grad, slope)
            return grad_x + grad_z, grad_slope

        return Forward(a, backward, z=x)


class Dense(Op):
    """a = f(z), z = x W + b, with penalties on W, b and a. `dtype` says whether its matrix products round operands."""

    dtype = "float64"

    def _operand(self, values: Array) -> Array:
        if self.dtype == "bfloat16":
            return to_bfloat16(values)
        return to_tf32(values) if self.dtype == "tf32" else values

    def setup(self, n: int) -> None:
        """Kernel (n, units), bias (units,) if used, slope (units,) for prelu."""
        units = self.spec["units"]
        self.function = Activation(self.spec["activation"], self.spec["alpha"])
        self.activation, self.width = self.function.name, units
        self.shapes = [(n, units)] + [(units,)] * (bool(self.spec["use_bias"]) + self.function.has_slope)
        self.trainable = len(self.shapes)

    def forward(self, tensors: list[Array], x: Array, context: Context) -> Forward:
        """Apply the affine map and the activation."""
        spec, kernel, rows = self.spec, tensors[0], len(x)
        operand, factors = self._operand(x), self._operand(kernel)
        z = operand @ factors
        if spec["use_bias"]:
            z = z + tensors[1]
        slope = tensors[-1] if self.function.has_slope else None
        a = self.function.value(z, slope)
        z_gradients: list[Array] = []
        activity, activity_gradient = l1_l2(a, spec["activity_l1"] / rows, spec["activity_l2"] / rows)

        def backward(grad: Array, grad_z: Array | float) -> Gradients:
            through, grad_slope = self.function.gradient(z, a, grad + activity_gradient, slope)
            total = through + grad_z
            grad_bias = [total.sum(axis=0)] if spec["use_bias"] else []
            z_gradients.append(as_float(total))
            turned = self._operand(total)
            return turned @ factors.T, [operand.T @ turned, *grad_bias, *grad_slope]

        return Forward(a, backward, z=z, activity=activity, z_gradients=z_gradients)

    def penalty(self, tensors: list[Array]) -> tuple[float, list[Array]]:
        """Penalties on kernel and bias."""
        return weight_penalties(self.spec, tensors)


def _standardized_gradient(grad: Array, hat: Array, deviation: Array, axis: int) -> Array:
    """Gradient through hat = (x - mean)/deviation, where mean and deviation are taken along `axis` of x itself.

    Shifting or stretching x changes nothing, so those two directions are projected out.
    """
    mean = grad.mean(axis=axis, keepdims=True)
    stretch = (grad * hat).mean(axis=axis, keepdims=True)
    return np.asarray((grad - mean - hat * stretch) / deviation, dtype=np.float64)


class BatchNorm(Op):
    """y = gamma (x - m)/sqrt(v + epsilon) + beta, m and v over the batch in training, moving averages otherwise."""

    def setup(self, n: int) -> None:
        """Tensors gamma, beta, moving mean, moving variance."""
        self.shapes, self.trainable = [(n,)] * 4, 2

    def forward(self, tensors: list[Array], x: Array, context: Context) -> Forward:
        """Normalise each column."""
        gamma, beta, moving_mean, moving_variance = tensors
        momentum, epsilon = self.spec["momentum"], self.spec["epsilon"]
        mean, variance = moving_mean, moving_variance
        moving: list[Array] = []
        if context.training:
            mean, variance = x.mean(axis=0), x.var(axis=0)
            moving = [
                momentum * moving_mean + (1.0 - momentum) * mean,
                momentum * moving_variance + (1.0 - momentum) * variance,
            ]
        deviation = np.sqrt(variance + epsilon)
        hat = (x - mean) / deviation

        def backward(grad: Array, _: Array | float) -> Gradients:
            grads = [(grad * hat).sum(axis=0), grad.sum(axis=0)]
            if context.training:
                return _standardized_gradient(grad * gamma, hat, deviation, 0), grads
            return grad * gamma / deviation, grads

        return Forward(gamma * hat + beta, backward, moving=moving)


class LayerNorm(Op):
    """y = gamma (x - m)/sqrt(v + epsilon) + beta, m and v over the features of each row."""

    def setup(self, n: int) -> None:
        """Tensors gamma, beta."""
        self.shapes, self.trainable = [(n,)] * 2, 2

    def forward(self, tensors: list[Array], x: Array, context: Context) -> Forward:
        """Normalise each row."""
        gamma, beta = tensors
        deviation = np.sqrt(x.var(axis=1, keepdims=True) + self.spec["epsilon"])
        hat = (x - x.mean(axis=1, keepdims=True)) / deviation

        def backward(grad: Array, _: Array | float) -> Gradients:
            grads = [(grad * hat).sum(axis=0), grad.sum(axis=0)]
            return _standardized_gradient(grad * gamma, hat, deviation, 1), grads

        return Forward(gamma * hat + beta, backward)


class Dropout(Op):
    """Zero a fraction `rate` of the elements in training and scale the rest by 1/(1 - rate)."""

    def forward(self, tensors: list[Array], x: Array, context: Context) -> Forward:
        """Apply this step's mask in training, nothing otherwise."""
        rate = self.spec["rate"]
        if not context.training:
            return Forward(x, lambda grad, _: (grad, []))
        kept = dropout_mask(context.seed, self.index, context.step, rate, (len(x), self.width))

        def masked(values: Array) -> Array:
            return np.where(kept, values / (1.0 - rate), 0.0)

        return Forward(masked(x), lambda grad, _: (masked(grad), []))


class Normalization(Op):
    """y = (x - mean)/sd with fixed mean and variance; sd = 1 for a column that does not vary."""

    def setup(self, n: int) -> None:
        """Tensors mean, variance, neither trained."""
        self.shapes = [(n,)] * 2

    def forward(self, tensors: list[Array], x: Array, context: Context) -> Forward:
        """Standardise each column."""
        mean, variance = tensors
        deviation = np.where(variance == 0.0, 1.0, np.sqrt(variance))
        return Forward((x - mean) / deviation, lambda grad, _: (grad / deviation, []), moving=tensors)


class Rescaling(Op):
    """y = x scale + offset, both fixed."""

    def setup(self, n: int) -> None:
        """Tensors scale, offset, neither trained."""
        self.shapes = [(n,)] * 2

    def forward(self, tensors: list[Array], x: Array, context: Context) -> Forward:
        """Rescale each column."""
        scale, offset = tensors
        return Forward(x * scale + offset, lambda grad, _: (grad * scale, []), moving=tensors)


class Scale(Op):
    """y = x s, one trained factor for each column."""

    def setup(self, n: int) -> None:
        """Tensor scale."""
        self.shapes, self.trainable = [(n,)], 1

    def forward(self, tensors: list[Array], x: Array, context: Context) -> Forward:
        """Scale each column."""
        return Forward(x * tensors[0], lambda grad, _: (grad * tensors[0], [(grad * x).sum(axis=0)]))


class ColumnOp(Op):
    """Encodes chosen columns, each as `per_column` outputs; the other inputs (with `keep` all) follow as they are."""

    passing_first = False

    def setup(self, n: int) -> None:
        """Which columns are encoded, and which pass."""
        self.columns = np.array(self.spec["columns"], dtype=np.int64)
        self.passing = np.arange(n) if self.spec["keep"] else np.setdiff1d(np.arange(n), self.columns)
        self.per_column = self.setup_columns(len(self.columns))
        self.width = len(self.columns) * self.per_column + len(self.passing)

    def setup_columns(self, count: int) -> int:
        """Set `shapes` and `trainable`; the number of outputs for each column."""
        raise NotImplementedError

    def encode(self, tensors: list[Array], x: Array) -> tuple[Array, Callable[[Array], Gradients]]:
        """The columns x (rows, count) encoded, (rows, count, per_column), and their backward pass."""
        raise NotImplementedError

    def forward(self, tensors: list[Array], x: Array, context: Context) -> Forward:
        """Encode, and let the rest pass."""
        encoded, through = self.encode(tensors, x[:, self.columns])
        parts = [encoded.reshape(len(x), -1), x[:, self.passing]]
        cut = parts[self.passing_first].shape[1]

        def backward(grad: Array, _: Array | float) -> Gradients:
            halves = [grad[:, :cut], grad[:, cut:]]
            grad_columns, grads = through(halves[self.passing_first].reshape(encoded.shape))
            grad_x = np.zeros_like(x)
            grad_x[:, self.passing] = halves[not self.passing_first]
            grad_x[:, self.columns] += grad_columns
            return grad_x, grads

        outputs = np.concatenate(parts[::-1] if self.passing_first else parts, axis=1)
        return Forward(outputs, backward, moving=tensors[self.trainable :])


class PiecewiseLinear(ColumnOp):
    """(x - low)/(high - low) in each bin, clipped to [0, 1] but below the first and above the last; 0 if no width."""

    def setup_columns(self, count: int) -> int:
        """Tensor edges (count, bins + 1), not trained."""
        bins = int(self.spec["bins"])
        self.shapes = [(count, bins + 1)]
        return bins

    def encode(self, tensors: list[Array], x: Array) -> tuple[Array, Callable[[Array], Gradients]]:
        """Place every number in every bin of its column."""
        low, high = tensors[0][:, :-1], tensors[0][:, 1:]
        wide = high > low
        width = np.where(wide, high - low, 1.0)
        least, most = np.zeros(self.per_column), np.ones(self.per_column)
        least[0], most[-1] = -np.inf, np.inf
        at = (x[:, :, None] - low) / width
        inside = wide & (at > least) & (at < most)
        encoded = np.where(wide, np.clip(at, least, most), 0.0)
        return encoded, lambda grad: ((grad * inside / width).sum(axis=2), [])


class Cosines(ColumnOp):
    """cos(2 pi (f x + b)) for several frequencies f and phases b of each column, all trained."""

    def setup_columns(self, count: int) -> int:
        """Tensors frequencies, phases (count, frequencies)."""
        frequencies = int(self.spec["frequencies"])
        self.shapes, self.trainable = [(count, frequencies)] * 2, 2
        return frequencies

    def encode(self, tensors: list[Array], x: Array) -> tuple[Array, Callable[[Array], Gradients]]:
        """Take the cosines."""
        frequencies, phases = tensors
        values = x[:, :, None]
        angle = 2 * np.pi * (frequencies * values + phases)

        def through(grad: Array) -> Gradients:
            turn = -2 * np.pi * np.sin(angle) * grad
            return (turn * frequencies).sum(axis=2), [(turn * values).sum(axis=0), turn.sum(axis=0)]

        return np.cos(angle), through


class Embedding(ColumnOp):
    """A trained row of a table for each code of each column, and one for all other numbers; what passes comes first."""

    passing_first = True

    def setup_columns(self, count: int) -> int:
        """Tensors table (codes and one more for each column, units), codes (ascending in each column), not trained."""
        codes, units = self.spec["codes"], int(self.spec["units"])
        self.shapes, self.trainable = [(sum(codes) + count, units), (sum(codes),)], 1
        return units

    def encode(self, tensors: list[Array], x: Array) -> tuple[Array, Callable[[Array], Gradients]]:
        """Look the rows up."""
        table, codes = tensors
        rows, first, begin = np.empty(x.shape, dtype=np.int64), 0, 0
        for j, count in enumerate(self.spec["codes"]):
            own = codes[begin : begin + count]
            at = np.minimum(np.searchsorted(own, x[:, j]), count - 1)
            rows[:, j] = first + np.where(own[at] == x[:, j], at, count)
            first, begin = first + count + 1, begin + count

        def through(grad: Array) -> Gradients:
            grad_table = np.zeros_like(table)
            np.add.at(grad_table, rows, grad)
            return np.zeros_like(x), [grad_table]

        return table[rows], through


class GroupedDense(Op):
    """Groups of inputs, each through a dense layer of its own; the inputs behind them follow as they are."""

    def setup(self, n: int) -> None:
        """Tensors kernel (groups, group_inputs, units), bias (groups, units) if used."""
        spec = self.spec
        self.shape = (spec["groups"], spec["group_inputs"], spec["units"])
        self.function = Activation(spec["activation"], spec["alpha"])
        self.shapes = [self.shape] + [(self.shape[0], self.shape[2])] * bool(spec["use_bias"])
        self.trainable = len(self.shapes)
        self.taken, self.made = self.shape[0] * self.shape[1], self.shape[0] * self.shape[2]
        self.width = self.made + n - self.taken

    def forward(self, tensors: list[Array], x: Array, context: Context) -> Forward:
        """Apply the layers side by side."""
        groups, group_inputs, units = self.shape
        own = x[:, : self.taken].reshape(len(x), groups, group_inputs)
        z = np.einsum("rgi,giu->rgu", own, tensors[0]) + (tensors[1] if self.spec["use_bias"] else 0.0)
        z = z.reshape(len(x), -1)
        a = self.function.value(z, None)

        def backward(grad: Array, _: Array | float) -> Gradients:
            through, _slope = self.function.gradient(z, a, grad[:, : self.made], None)
            turned = through.reshape(len(x), groups, units)
            grad_own = np.einsum("rgu,giu->rgi", turned, tensors[0]).reshape(len(x), -1)
            grads = [np.einsum("rgi,rgu->giu", own, turned)] + [turned.sum(axis=0)] * bool(self.spec["use_bias"])
            return np.concatenate([grad_own, grad[:, self.made :]], axis=1), grads

        return Forward(np.concatenate([a, x[:, self.taken :]], axis=1), backward)


KINDS: dict[str, type[Op]] = {
    "dense": Dense,
    "activation": ActivationOp,
    "batch_norm": BatchNorm,
    "layer_norm": LayerNorm,
    "dropout": Dropout,
    "normalization": Normalization,
    "rescaling": Rescaling,
    "scale": Scale,
    "piecewise_linear": PiecewiseLinear,
    "periodic": Cosines,
    "embedding": Embedding,
    "grouped_dense": GroupedDense,
    "residual_begin": Op,  # the engine keeps its input and adds it at the matching end
    "residual_end": Op,
}


def build_ops(inputs: int, specs: Sequence[Spec], dtype: str) -> list[Op]:
    """Build the ops of a program of that dtype.

    Raises
    ------
    ValueError
        For an unknown kind, residuals that do not match or change the width, or a softmax that is not last.
    """
    ops: list[Op] = []
    open_widths: list[int] = []
    width = inputs
    for index, spec in enumerate(specs):
        if spec["kind"] not in KINDS:
            raise unknown("op", spec["kind"], KINDS)
        op = KINDS[spec["kind"]](spec, index, width)
        width = op.width
        if isinstance(op, Dense):
            op.dtype = dtype
        if op.kind == "residual_begin":
            open_widths.append(width)
        elif op.kind == "residual_end" and (not open_widths or open_widths.pop() != width):
            raise ValueError(f"op {index}: residual_end needs a residual_begin of its own width {width}")
        if op.activation == "softmax" and index + 1 < len(specs):
            raise ValueError(f"op {index}: softmax may appear only in the last op")
        ops.append(op)
    if open_widths:
        raise ValueError(f"{len(open_widths)} residual_begin without residual_end")
    return ops
