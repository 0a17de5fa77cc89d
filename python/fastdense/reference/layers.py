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

from .activations import SELU_ALPHA, SELU_SCALE, Activation
from .arrays import Array, Spec, as_float, to_bfloat16, to_tf32, unknown
from .merges import MERGES
from .penalties import l1_l2, weight_penalties
from .rng import dropout_mask, normal_noise

Gradients = tuple[Array, list[Array]]


@dataclass(frozen=True)
class Context:
    """What a forward pass depends on besides numbers: the mode, and the key of this step's dropout masks.

    `penalised`: whether penalties on outputs are part of what is differentiated.
    """

    training: bool
    seed: int
    step: int
    penalised: bool = True

    def activity(self, spec: Spec, a: Array) -> tuple[float, Array | float]:
        """Penalty on an op's output a, and its gradient."""
        if not self.penalised:
            return 0.0, 0.0
        return l1_l2(a, spec["activity_l1"] / len(a), spec["activity_l2"] / len(a))


@dataclass(frozen=True)
class Forward:
    """What one op leaves behind in a forward pass.

    `backward(grad, grad_z)`: gradient of the loss with respect to the output, and what a fused loss adds
    with respect to z, the input of the op's activation (0.0 everywhere else). `activity` is the penalty on the output,
    `moving` the new values of the tensors that are not trained, after a pass in training mode; `z_gradients` gets the
    gradient with respect to z of a dense op whenever `backward` is called. `branches(grad)` is what the end of a block
    has instead of `backward`: the gradient with respect to the output of each branch.
    """

    output: Array
    backward: Callable[[Array, Array | float], Gradients]
    z: Array | None = None
    activity: float = 0.0
    moving: list[Array] = field(default_factory=list)
    z_gradients: list[Array] = field(default_factory=list)
    branches: Callable[[Array], list[Array]] | None = None


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
        spec, kernel = self.spec, tensors[0]
        operand, factors = self._operand(x), self._operand(kernel)
        z = operand @ factors
        if spec["use_bias"]:
            z = z + tensors[1]
        slope = tensors[-1] if self.function.has_slope else None
        a = self.function.value(z, slope)
        z_gradients: list[Array] = []
        activity, activity_gradient = context.activity(spec, a)

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
    return as_float((grad - mean - hat * stretch) / deviation)


class Scaled(Op):
    """What comes after a normalization: gamma y + beta, each if it is there, with penalties on both."""

    def setup(self, n: int) -> None:
        """Tensors gamma, beta, as far as there are any."""
        self.scales, self.centers = self.spec.get("scales", True), self.spec.get("centers", True)
        self.trainable = self.scales + self.centers
        self.shapes = [(n,)] * self.trainable

    def scaling(self, tensors: list[Array]) -> tuple[Array | float, Array | float]:
        """Gamma, or 1, and beta, or 0."""
        own = iter(tensors)
        return next(own) if self.scales else 1.0, next(own) if self.centers else 0.0

    def gradients(self, grad: Array, hat: Array) -> list[Array]:
        """Gradients of gamma and beta, from that of the output."""
        found = [(grad * hat).sum(axis=0)] if self.scales else []
        return [*found, grad.sum(axis=0)] if self.centers else found

    def penalty(self, tensors: list[Array]) -> tuple[float, list[Array]]:
        """Penalties on gamma and beta."""
        names = ["kernel"] * self.scales + ["bias"] * self.centers
        terms = [
            l1_l2(tensor, self.spec.get(f"{name}_l1", 0.0), self.spec.get(f"{name}_l2", 0.0))
            for name, tensor in zip(names, tensors, strict=False)
        ]
        return sum(value for value, _ in terms), [gradient for _, gradient in terms]


class BatchNorm(Scaled):
    """y = gamma (x - m)/sqrt(v + epsilon) + beta, m and v over the batch in training, moving averages otherwise."""

    def setup(self, n: int) -> None:
        """Tensors gamma, beta, moving mean, moving variance."""
        super().setup(n)
        self.shapes = [*self.shapes, (n,), (n,)]

    def forward(self, tensors: list[Array], x: Array, context: Context) -> Forward:
        """Normalise each column."""
        gamma, beta = self.scaling(tensors)
        moving_mean, moving_variance = tensors[-2:]
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
            grads = self.gradients(grad, hat)
            if context.training:
                return _standardized_gradient(grad * gamma, hat, deviation, 0), grads
            return grad * gamma / deviation, grads

        return Forward(gamma * hat + beta, backward, moving=moving)


class LayerNorm(Scaled):
    """y = gamma (x - m)/sqrt(v + epsilon) + beta, m and v over the features of each row."""

    def forward(self, tensors: list[Array], x: Array, context: Context) -> Forward:
        """Normalise each row."""
        gamma, beta = self.scaling(tensors)
        deviation = np.sqrt(x.var(axis=1, keepdims=True) + self.spec["epsilon"])
        hat = (x - x.mean(axis=1, keepdims=True)) / deviation

        def backward(grad: Array, _: Array | float) -> Gradients:
            return _standardized_gradient(grad * gamma, hat, deviation, 1), self.gradients(grad, hat)

        return Forward(gamma * hat + beta, backward)


class UnitNorm(Op):
    """y = x / max(|x|, 1e-12), row by row."""

    def forward(self, tensors: list[Array], x: Array, context: Context) -> Forward:
        """Divide each row by its norm."""
        norms = np.sqrt((x * x).sum(axis=1, keepdims=True))
        longer = norms > 1e-12
        norms = np.where(longer, norms, 1e-12)
        y = x / norms

        def backward(grad: Array, _: Array | float) -> Gradients:
            along = longer * (grad * y).sum(axis=1, keepdims=True)
            return (grad - along * y) / norms, []

        return Forward(y, backward)


class Activity(Op):
    """y = x, with a penalty on it."""

    def forward(self, tensors: list[Array], x: Array, context: Context) -> Forward:
        """Add the penalty."""
        value, own = context.activity(self.spec, x)
        return Forward(x, lambda grad, _: (grad + own, []), activity=value)


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


class GaussianNoise(Op):
    """Add normal noise in training."""

    def forward(self, tensors: list[Array], x: Array, context: Context) -> Forward:
        """Add this step's noise in training, nothing otherwise."""
        if context.training:
            x = x + self.spec["stddev"] * normal_noise(context.seed, self.index, context.step, (len(x), self.width))
        return Forward(x, lambda grad, _: (grad, []))


class GaussianDropout(Op):
    """Multiply by normal noise of mean 1 and variance rate/(1 - rate) in training."""

    def forward(self, tensors: list[Array], x: Array, context: Context) -> Forward:
        """Apply this step's noise in training, nothing otherwise."""
        if not context.training:
            return Forward(x, lambda grad, _: (grad, []))
        rate = self.spec["rate"]
        normal = normal_noise(context.seed, self.index, context.step, (len(x), self.width))
        factors = 1.0 + np.sqrt(rate / (1.0 - rate)) * normal
        return Forward(x * factors, lambda grad, _: (grad * factors, []))


class AlphaDropout(Op):
    """Set a fraction `rate` to selu's limit in training, then a x + b, which keeps a mean of 0 and a variance of 1."""

    def forward(self, tensors: list[Array], x: Array, context: Context) -> Forward:
        """Apply this step's mask in training, nothing otherwise."""
        if not context.training:
            return Forward(x, lambda grad, _: (grad, []))
        rate, limit = self.spec["rate"], -SELU_SCALE * SELU_ALPHA
        kept = dropout_mask(context.seed, self.index, context.step, rate, (len(x), self.width))
        a = ((1.0 - rate) * (1.0 + rate * limit**2)) ** -0.5
        y = a * np.where(kept, x, limit) - a * limit * rate
        return Forward(y, lambda grad, _: (np.where(kept, a * grad, 0.0), []))


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


class SelectColumns(Op):
    """Chosen columns, in the order in which they are given."""

    def setup(self, n: int) -> None:
        """Which columns."""
        self.columns = np.array(self.spec["columns"], dtype=np.int64)
        self.width = len(self.columns)

    def forward(self, tensors: list[Array], x: Array, context: Context) -> Forward:
        """Take them."""

        def backward(grad: Array, _: Array | float) -> Gradients:
            grad_x = np.zeros_like(x)
            grad_x[:, self.columns] = grad
            return grad_x, []

        return Forward(x[:, self.columns], backward)


class End(Op):
    """The end of a block of branches, or of a residual, which is the sum of two: what they give becomes one output."""

    def merge(self, outputs: list[Array]) -> Forward:
        """The output for what each branch gives, and the gradients of these."""
        merge = str(self.spec.get("merge", "add"))
        if merge == "concatenate":
            ends = np.cumsum([len(one[0]) for one in outputs])
            return Forward(
                np.concatenate(outputs, axis=1), _no_gradient, branches=lambda grad: np.split(grad, ends[:-1], axis=1)
            )
        output, factors = MERGES[merge](outputs)
        return Forward(output, _no_gradient, branches=lambda grad: [grad * factor for factor in factors])


def _no_gradient(grad: Array, _: Array | float) -> Gradients:
    """An end has no input of its own: the gradients of its branches are in `Forward.branches`."""
    return grad, []


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


class Function(Op):
    """The caller's own formula, of all rows at once; an object with `forward` and `backward` computes it."""

    def setup(self, n: int) -> None:
        """Tensors as the op says, those that are trained first."""
        self.width = self.spec["units"]
        self.shapes = [tuple(weight["shape"]) for weight in self.spec["weights"]]
        self.trainable = sum(weight["trainable"] for weight in self.spec["weights"])

    def forward(self, tensors: list[Array], x: Array, context: Context) -> Forward:
        """Call the object."""
        function = self.spec["function"]
        y, memory = function.forward(x.copy(), [tensor.copy() for tensor in tensors], context.training, True)
        if np.shape(y) != (len(x), self.width):
            raise ValueError(f"a function returned an array of shape {np.shape(y)}; {(len(x), self.width)} is needed")

        def backward(grad: Array, _: Array | float) -> Gradients:
            grad_x, grads = function.backward(memory, grad.copy())
            return as_float(grad_x), [as_float(one) for one in grads[: self.trainable]]

        return Forward(as_float(y), backward, moving=tensors[self.trainable :])

    def penalty(self, tensors: list[Array]) -> tuple[float, list[Array]]:
        """Penalties on the tensors that are trained."""
        terms = [
            l1_l2(t, w["l1"], w["l2"]) for w, t in zip(self.spec["weights"], tensors, strict=True) if w["trainable"]
        ]
        return sum(value for value, _ in terms), [gradient for _, gradient in terms]


KINDS: dict[str, type[Op]] = {
    "dense": Dense,
    "activation": ActivationOp,
    "batch_norm": BatchNorm,
    "layer_norm": LayerNorm,
    "unit_norm": UnitNorm,
    "activity": Activity,
    "dropout": Dropout,
    "gaussian_noise": GaussianNoise,
    "gaussian_dropout": GaussianDropout,
    "alpha_dropout": AlphaDropout,
    "normalization": Normalization,
    "rescaling": Rescaling,
    "scale": Scale,
    "piecewise_linear": PiecewiseLinear,
    "periodic": Cosines,
    "embedding": Embedding,
    "grouped_dense": GroupedDense,
    "select_columns": SelectColumns,
    "function": Function,
    "residual_begin": Op,  # the engine keeps its input, which is the first branch
    "residual_end": End,
    "branches_begin": Op,  # the engine keeps its input, with which the other branches begin, too
    "branch_next": Op,
    "branches_end": End,
}
ENDS = {"residual_end": "residual_begin", "branch_next": "branches_begin", "branches_end": "branches_begin"}


def build_ops(inputs: int, specs: Sequence[Spec], dtype: str) -> list[Op]:
    """Build the ops of a program of that dtype.

    Raises
    ------
    ValueError
        For an unknown kind, blocks that do not match, branches whose widths do not, or a softmax that is not last, of
        the net or of a branch.
    """
    ops: list[Op] = []
    blocks: list[tuple[str, list[int]]] = []  # what has begun: its kind, and the widths of its input and its branches
    width = inputs
    for index, spec in enumerate(specs):
        if spec["kind"] not in KINDS:
            raise unknown("op", spec["kind"], KINDS)
        begin = ENDS.get(spec["kind"])
        if begin is not None:
            if not blocks or blocks[-1][0] != begin:
                raise ValueError(f"op {index}: {spec['kind']} needs a {begin} of its own")
            blocks[-1][1].append(width)
            width = blocks[-1][1][0] if spec["kind"] == "branch_next" else _joined(index, spec, blocks.pop()[1])
        op = KINDS[spec["kind"]](spec, index, width)
        width = op.width
        if isinstance(op, Dense):
            op.dtype = dtype
        if op.kind in ENDS.values():
            blocks.append((op.kind, [width]))
        if op.activation == "softmax" and index + 1 < len(specs) and not _ends_branch(specs[index + 1]):
            raise ValueError(f"op {index}: softmax may appear only in the last op, of the net or of a branch")
        ops.append(op)
    if blocks:
        raise ValueError(f"{blocks[-1][0]} without its end")
    return ops


def _ends_branch(spec: Spec) -> bool:
    return ENDS.get(spec["kind"]) == "branches_begin"


def _joined(index: int, spec: Spec, widths: list[int]) -> int:
    """Width of a block whose input and branches have these widths."""
    branches = widths if spec["kind"] == "residual_end" else widths[1:]
    if spec.get("merge") == "concatenate":
        return sum(branches)
    if len(set(branches)) > 1 or (spec.get("merge") == "subtract" and len(branches) != 2):
        raise ValueError(f"op {index}: {spec['kind']} cannot merge branches of widths {branches}")
    return branches[0]
