"""Whether a net can be trained as asked: solvers' requirements, memory, batch sizes, layers that must still adapt."""

from __future__ import annotations

from collections.abc import Sequence

from ..arrays import check_memory, fail
from ..layers import Adapting, Normalization
from ..losses import Loss, PerHead
from ..network import ROUNDING, Net
from ..optimizers import KFAC, Optimizer
from ..optimizers.full_batch import LBFGS, Solver

DEFAULT_BATCH = 32  # of `fit`


def check_solver(where: str, optimizer: Optimizer, loss: Loss, net: Net) -> None:
    """Raise if an optimizer cannot train this net for this loss, or its state cannot fit in memory."""
    if not isinstance(optimizer, Solver):
        if isinstance(optimizer, KFAC) and any(net.frozen()):
            fail(where, "KFAC was given for a net with layers that are not trainable", "it trains all tensors",
                 "use e.g. Adam, or train a net on the outputs of those layers")  # fmt: skip
        remedy = "use narrower layers, or e.g. optimizer='adam'"
        check_memory(where, solver_bytes(optimizer, net), f"{type(optimizer).__name__} for layers so wide", remedy)
        return
    name = type(optimizer).__name__
    if net.precision in ROUNDING:
        fail(
            where,
            f"{name} was given for a net of precision {net.precision!r}",
            f"it compares losses, whose differences {net.precision} does not show",
            "use dtype='float32' or 'float64', and no precision that rounds",
        )
    if any(net.frozen()):
        fail(
            where,
            f"{name} was given for a net with layers that are not trainable",
            "a full-batch optimizer trains all tensors",
            "use e.g. Adam, or train a net on the outputs of those layers",
        )
    for op in net.ops:
        if op.get("kernel_constraint") or op.get("bias_constraint"):
            fail(
                where,
                f"{name} was given for a net with constraints",
                "a full-batch optimizer keeps none",
                "leave them out (regularizers keep weights small), or use e.g. Adam",
            )
        if op["kind"] in RANDOM and (op.get("rate", 0) > 0 or op.get("stddev", 0) > 0):
            layer = RANDOM[op["kind"]]
            fail(
                where,
                f"{name} was given for a net with {layer}, which makes the loss another function in every step",
                "a full-batch optimizer needs one and the same function",
                f"remove the {layer} (an l2 penalty does its work), or use e.g. Adam",
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
    if optimizer.needs == "least_squares":
        _check_least_squares(where, optimizer, loss, net)
    if optimizer.needs == "curvature":
        _check_curved(where, name, loss, net)


def check_output(where: str, loss: Loss, outputs: int, activation: str) -> None:
    """Raise if the loss sees a constant instead of the output, from which nothing can be learned."""
    softmax = activation == "softmax"
    if outputs == 1 and (softmax or loss.over_classes):
        what = "softmax over one unit" if softmax else f"{loss.kind} of one output"
        fail(
            where,
            f"the net ends with {what}, which is the same whatever the weights are",
            "an output that can change is needed",
            "for two classes use Dense(1, 'sigmoid') and loss='binary_crossentropy', for more one unit per class",
        )


def check_heads(where: str, loss: Loss | None, outputs: int, device: str) -> None:
    """Raise if the heads of a loss are not those of a net, or a device does not train them."""
    if not isinstance(loss, PerHead):
        return
    if loss.columns != outputs:
        own = ", ".join(f"{head.name!r} ({head.columns})" for head in loss.heads)
        fail(where, f"the heads have {loss.columns} columns, {own}", f"the net has {outputs} outputs",
             "the columns of all heads together must be the outputs")  # fmt: skip
    if device == "cuda":
        fail(where, "the loss is PerHead and the device 'cuda'", "nets with several heads are trained on 'cpu'",
             "use device='cpu'")  # fmt: skip


def check_one_loss(where: str, loss: Loss) -> None:
    """Raise for a loss of several heads, which only single nets are trained by."""
    if isinstance(loss, PerHead):
        fail(where, "the loss is PerHead", "nets with several heads are trained one at a time", "call fit for each")


RANDOM = {
    "dropout": "Dropout",
    "gaussian_noise": "GaussianNoise",
    "gaussian_dropout": "GaussianDropout",
    "alpha_dropout": "AlphaDropout",
}  # kinds of ops that differ from step to step
LBFGS_INSTEAD = "use optimizer='lbfgs'"
WITHOUT_JACOBIAN = {
    "layer_norm": "LayerNorm",
    "unit_norm": "UnitNormalization",
    "activity": "ActivityRegularization",
    "scale": "Scale",
    "periodic": "NumericEmbedding('periodic')",
    "embedding": "CategoryEmbedding",
    "grouped_dense": "the dense layers of a NumericEmbedding with size",
    "branches_begin": "Branches",
    "select_columns": "SelectColumns",
    "function": "a Function",
}  # kinds of ops that the solvers cannot differentiate row by row
SMOOTH = ("kernel_l2", "bias_l2")  # the penalties whose second derivative the solvers know


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
    needed = "softmax" if loss.over_classes else "sigmoid"
    if not loss.curved:
        why = "no curvature here" if loss.targets in ("any", "heads") else "no curvature (it is piecewise linear)"
        what = f"has {why}"
        fail(where, f"the loss is {loss.kind}", f"{name} needs one that is curved; this one {what}", LBFGS_INSTEAD)
    if loss.crossentropy and not given["from_logits"] and last != needed:
        what = f"the loss is {loss.kind} of an output that does not come from {needed}"
        fail(where, what, f"{name} knows it with {needed} or from_logits=True", f"end with activation={needed!r}")
    _check_jacobian(where, name, net, ("prelu",))


def _check_jacobian(where: str, name: str, net: Net, without: tuple[str, ...]) -> None:
    """Raise if a net has a layer, activation or penalty that solvers cannot differentiate row by row."""
    for op in net.ops:
        what = ""
        if op["kind"] in WITHOUT_JACOBIAN:
            what = WITHOUT_JACOBIAN[op["kind"]]
        elif op.get("activation") in without:
            what = f"activation={op['activation']!r}"
        else:
            penalties = [key for key in op if key.split("_")[0] in ("kernel", "bias", "activity") and op[key]]
            bad = [key for key in penalties if key not in (*SMOOTH, "kernel_orthogonal_columns")]
            what = f"the penalty {bad[0]}" if bad else ""
        if what:
            fail(
                where,
                f"{name} was given for a net with {what}",
                "it knows no Jacobian of that",
                LBFGS_INSTEAD,
            )


def check_outputs_each(where: str, loss: Loss, outputs: int) -> None:
    """Raise if a loss of several quantiles does not have one output for each of them and each target."""
    if outputs % loss.outputs_each:
        each = loss.outputs_each
        given = f"the loss is {loss!r} and the net has {outputs} output{'s' * (outputs > 1)}"
        fail(where, given, f"each target needs {each} outputs, one for each quantile",
             f"end the net with fd.Ascending({each})")  # fmt: skip


def check_rates(where: str, optimizer: Optimizer, learning_rate: object) -> None:
    """Raise if members are given learning rates of their own that the optimizer does not use."""
    if optimizer.full_batch and learning_rate is not None:
        given = f"learning_rate is given and the optimizer is {type(optimizer).__name__}"
        fail(where, given, "a full-batch optimizer has no learning rate", "leave it out, or use e.g. Adam")


def solver_bytes(optimizer: Optimizer, net: Net) -> int:
    """Bytes that an optimizer needs for a net besides slots; of a full-batch one, all of its state."""
    return optimizer.working_bytes([tensor.shape for tensor in net.tensors if tensor.trainable], net.itemsize)


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


def check_batch_memory(where: str, net: Net, rows: int, device: str) -> None:
    """Raise if a batch of `rows` rows cannot fit in memory; of a GPU's the engine says so itself."""
    if device == "cuda":
        return
    needed = 2 * rows * (net.inputs + sum(net.widths)) * net.itemsize
    check_memory(where, needed, f"a batch of {rows} rows", "use a smaller batch_size")


def check_moments(where: str, unknown: Sequence[Adapting], given: str, needed: str, remedy: str) -> None:
    """Raise unless the layers that must still adapt are one `Normalization`: sums over parts of the rows are enough."""
    if len(unknown) > 1 or not isinstance(unknown[0], Normalization):
        names = ", ".join(type(layer).__name__ for layer in unknown)
        fail(where, f"{names} must still adapt to data, and {given}", f"{needed} needed for that", remedy)
