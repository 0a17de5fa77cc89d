"""The reference engine: a dense net trained in plain NumPy and float64, written from the formulas."""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..calls import HOOK_FIRST, HOOK_GRADIENT, HOOK_LAST, HOOK_MEASURED, HOOK_TRAINING
from . import heads, kfac, losses, metrics, probes, solvers
from .arrays import Array, Spec, as_float, flat, split, unknown
from .constraints import project
from .dual import Dual, tangent_of
from .jacobian import jacobian
from .layers import Context, End, Forward, build_ops
from .optimizers import Slots, apply_updates, initial_slots
from .rng import shuffle_indices

if TYPE_CHECKING:
    from ..calls import TrainCall

Data = NDArray[Any]
CHUNK_ROWS = 4096  # rows per pass where nothing depends on the batch: bounds the memory of evaluate and predict
PROGRESS_SECONDS = 0.1


@dataclass(frozen=True)
class _Live:
    """Everything a step changes. Replaced whole at the end of a step, so an interrupt finds the old one or the new."""

    tensors: list[list[Array]]
    slots: Slots
    step: int
    running: Array
    numbers: Array  # the rest of an optimizer's memory


class _Batch(NamedTuple):
    """A batch that went forward: what each op left, the loss, its gradient and the totals it adds."""

    passes: list[Forward]
    loss: float
    gradient: Array
    fused: bool
    totals: Array


class Engine:
    """A net, its loss, optimizer and metrics, on NumPy.

    Always computes in float64; of `program["dtype"]` only "bfloat16" and "tf32" matter, whose products round their
    operands.
    Tensors are zeros until `set_tensors`.
    `n_threads` is accepted everywhere for the interface's sake: NumPy decides about threads.

    Parameters
    ----------
    program : {"inputs", "seed", "dtype", "ops"}
        The net as plain data; see docs/design/interface.md.

    Raises
    ------
    ValueError
        For no op at all, an unknown op or activation, residuals that do not match, or a softmax that is not last.
    """

    def __init__(self, program: Spec) -> None:
        self._inputs, self._seed = int(program["inputs"]), int(program["seed"])
        self._ops = build_ops(self._inputs, copy.deepcopy(program["ops"]), program["dtype"])
        if not self._ops:
            raise ValueError("a program needs at least one op")
        self._outputs = self._ops[-1].width
        tensors = [[np.zeros(shape) for shape in op.shapes] for op in self._ops]
        self._training: Spec | None = None
        self._live = _Live(tensors, [], 0, np.zeros(2), np.zeros(0))

    # -- tensors, configuration, state ---------------------------------------------------------------------------

    def get_tensors(self) -> list[Array]:
        """Copy out every tensor, in op order."""
        return [tensor.copy() for tensors in self._live.tensors for tensor in tensors]

    def set_tensors(self, tensors: Sequence[ArrayLike]) -> None:
        """Copy in every tensor, in op order.

        Raises
        ------
        ValueError
            If the number of tensors or a shape is wrong; nothing is changed then.
        """
        shapes = [shape for op in self._ops for shape in op.shapes]
        given = [np.array(tensor, dtype=np.float64) for tensor in tensors]
        if [tensor.shape for tensor in given] != shapes:
            raise ValueError(f"set_tensors: got shapes {[tensor.shape for tensor in given]}, need {shapes}")
        source = iter(given)
        self._live = replace(self._live, tensors=[[next(source) for _ in op.shapes] for op in self._ops])

    def configure(self, training: Spec) -> None:
        """Take a new loss, optimizer and metrics; the optimizer's state and the running totals start afresh.

        Raises
        ------
        ValueError
            For an unknown loss, optimizer or metric.
        """
        training = {**copy.deepcopy({**training, "hook": None}), "hook": training.get("hook")}
        loss = training["loss"]
        of_heads = loss["kind"] == heads.HEADS
        for kind in heads.kinds(loss):
            if kind == losses.CUSTOM and training["hook"] is None:
                raise ValueError("a custom loss needs a hook")
            if kind not in (*losses.NAMES, losses.CUSTOM):
                raise unknown("loss", kind, losses.NAMES)
        sizes = [
            heads.state_size(spec, loss["heads"]) if of_heads else metrics.state_size(spec, self._outputs)
            for spec in training["metrics"]
        ]
        size = 2 + sum(sizes)
        shapes = [shape for op in self._ops for shape in op.shapes[: op.trainable]]
        spec, numbers = training["optimizer"], np.zeros(0)
        if spec["kind"] in solvers.KINDS:
            memory = solvers.first_memory(spec, sum(math.prod(shape) for shape in shapes))
            slots, numbers = [split(vector, shapes) for vector in memory.vectors], memory.numbers
        else:
            slots = initial_slots(spec, shapes)
        if spec["kind"] == "kfac":
            numbers = kfac.first_numbers(self._ops)
        self._training = training
        self._live = _Live(self._live.tensors, slots, 0, np.zeros(size), numbers)

    @property
    def step(self) -> int:
        """Steps done."""
        return self._live.step

    def get_state(self) -> dict[str, Any]:
        """Copy out the optimizer's state: steps done, [[array per trainable tensor] per slot], numbers of a solver."""
        slots = [[array.copy() for array in slot] for slot in self._live.slots]
        return {"step": self._live.step, "slots": slots, "numbers": self._live.numbers.copy()}

    def set_state(self, state: Mapping[str, Any]) -> None:
        """Copy in what `get_state` gave.

        Raises
        ------
        ValueError
            If the slots are not those of the configured optimizer; nothing is changed then.
        """
        slots = [[np.array(array, dtype=np.float64) for array in slot] for slot in state["slots"]]
        given = [[array.shape for array in slot] for slot in slots]
        needed = [[array.shape for array in slot] for slot in self._live.slots]
        if given != needed:
            raise ValueError(f"set_state: got slots of shapes {given}, need {needed}")
        numbers = as_float(state.get("numbers", ())).copy()
        if numbers.shape != self._live.numbers.shape:
            raise ValueError(f"set_state: got {numbers.size} numbers, need {self._live.numbers.size}")
        self._live = replace(self._live, step=int(state["step"]), slots=slots, numbers=numbers)

    # -- forward and backward ------------------------------------------------------------------------------------

    def _configured(self) -> Spec:
        if self._training is None:
            raise ValueError("the engine has no loss yet: call configure first")
        return self._training

    def _frozen(self) -> list[bool]:
        """For each op whether its tensors stay as they are."""
        given = [] if self._training is None else self._training.get("frozen", [])
        return given or [False] * len(self._ops)

    def _forward(self, x: Data, training: bool, penalised: bool = True) -> list[Forward]:
        """Run every op on a batch x (rows, inputs)."""
        context = Context(training, self._seed, self._live.step, penalised)
        frozen = self._frozen()
        passes: list[Forward] = []
        blocks: list[tuple[Array, list[Array]]] = []  # of those that have begun: input, outputs of finished branches
        value = as_float(x)
        for i, (op, tensors) in enumerate(zip(self._ops, self._live.tensors, strict=True)):
            if op.kind == "branch_next":
                blocks[-1][1].append(value)
                value = blocks[-1][0]
            own = replace(context, training=False) if op.kind == "batch_norm" and frozen[i] else context
            done = op.merge([*blocks.pop()[1], value]) if isinstance(op, End) else op.forward(tensors, value, own)
            if op.kind in ("residual_begin", "branches_begin"):
                blocks.append((value, [value] if op.kind == "residual_begin" else []))
            passes.append(done)
            value = done.output
        return passes

    def _batch(self, x: Data, y: Data, w: Array | None, training: bool, flags: int = HOOK_GRADIENT) -> _Batch:
        """Run a batch forward and evaluate (1/rows) sum w v + penalties, the number that is optimised.

        `flags`: what the batch is, for a hook.
        """
        rows = len(x)
        passes = self._forward(x, training)
        loss, gradient, fused, states = self._loss(passes[-1], y, w, flags)
        loss += sum(done.activity for done in passes)
        trained = [not frozen for frozen in self._frozen()]
        loss += sum(
            op.penalty(tensors)[0]
            for op, tensors, own in zip(self._ops, self._live.tensors, trained, strict=True)
            if own
        )
        totals = np.concatenate([[loss * rows, float(rows)], *states])
        return _Batch(passes, loss, gradient, fused, totals)

    def _loss(self, last: Forward, y: Data, w: Array | None, flags: int) -> tuple[float, Array, bool, list[Array]]:
        """Loss of a batch, its gradient, whether that is the gradient of the pre-activation, and the sums of metrics.

        The hook is called.
        """
        spec, rows = self._configured(), len(last.output)
        kind, hook = spec["loss"]["kind"], spec["hook"]
        answer = None
        of_heads = kind == heads.HEADS
        wanted = losses.CUSTOM in heads.kinds(spec["loss"])
        predictions = losses.predictions(spec["loss"], last.output)
        if hook is not None and (wanted or flags & HOOK_MEASURED):
            seen = last.output.copy()
            targets = np.asarray(y, np.int32 if kind == losses.SPARSE else np.float64)
            answer = hook(
                flags, seen, seen if predictions is last.output else predictions, targets.copy(),
                None if w is None else as_float(w).copy(),
            )  # fmt: skip
        if of_heads:
            found = heads.judged(spec["loss"], spec["metrics"], y, last.output, w, answer if wanted else None)
            return found.loss, found.gradient, False, found.states
        weights = np.ones(rows) if w is None else as_float(w)
        states = [metrics.state(metric, y, predictions, weights) for metric in spec["metrics"]]
        if wanted:
            assert answer is not None
            values, gradient = answer
            return float(np.sum(values)) / rows, np.zeros(0) if gradient is None else as_float(gradient), False, states
        row = losses.row_losses(spec["loss"], y, last.output, last.z, self._ops[-1].activation)
        return float(weights @ row.values) / rows, row.gradient * (weights / rows)[:, None], row.fused, states

    def _backward(self, batch: _Batch) -> list[list[Array]]:
        """Gradient of the batch loss for every op's trainable tensors."""
        zero = np.zeros_like(batch.gradient)
        seeds = (zero, batch.gradient) if batch.fused else (batch.gradient, zero)
        penalties = [op.penalty(tensors)[1] for op, tensors in zip(self._ops, self._live.tensors, strict=True)]
        frozen, pulled = self._frozen(), self._pulled_back(batch.passes, *seeds)[1]
        return [
            [0.0 * g if stays else g + extra for g, extra in zip(own, penalty, strict=True)]
            for own, penalty, stays in zip(pulled, penalties, frozen, strict=True)
        ]

    def _pulled_back(self, passes: list[Forward], grad: Array, grad_z: Array) -> tuple[Array, list[list[Array]]]:
        """From the gradient of the net's output to those of its input and of every op's trainable tensors.

        `grad_z`: what a fused loss adds behind the last activation.
        """
        grads: list[list[Array]] = []
        waiting: list[list[Array]] = []  # of each block that is gone through: the gradients of the branches before
        sums: list[Array] = []  # and the sum of those of its input so far
        last = len(self._ops) - 1
        for i in range(last, -1, -1):
            op, branches = self._ops[i], passes[i].branches
            grad, own = passes[i].backward(grad, grad_z if i == last else 0.0)
            if branches is not None:
                waiting.append(branches(grad))
                grad = waiting[-1].pop()
                sums.append(np.zeros(()))
            elif op.kind == "branch_next":
                sums[-1] = sums[-1] + grad
                grad = waiting[-1].pop()
            elif op.kind in ("residual_begin", "branches_begin"):
                grad = sum(waiting.pop(), grad + sums.pop())
            grads.append(own)
        return grad, grads[::-1]

    # -- what a model asks for -----------------------------------------------------------------------------------

    def predict_row(self, x: object) -> None:
        """There is no quicker way for one row here."""

    def predict(self, x: Data, out: Data, *, n_threads: int | None = None) -> None:
        """Fill out (n, outputs) with the outputs for x (n, inputs), in inference mode."""
        with np.errstate(all="ignore"):
            for start in range(0, len(x), CHUNK_ROWS):
                passes = self._forward(x[start : start + CHUNK_ROWS], training=False)
                out[start : start + CHUNK_ROWS] = passes[-1].output

    def activations(self, x: Data, *, n_threads: int | None = None) -> list[Array]:
        """Return the output (n, width) of every op for x (n, inputs), in inference mode."""
        with np.errstate(all="ignore"):
            return [done.output.copy() for done in self._forward(x, training=False)]

    def evaluate(self, x: Data, y: Data, w: Array | None, *, n_threads: int | None = None, hook_rows: int = 0) -> Array:
        """Return the totals (K,) over all rows: [loss * rows, rows, metric sums...], in inference mode."""
        totals = np.zeros(len(self._live.running))
        chunk = hook_rows if hook_rows and self._configured()["hook"] is not None else CHUNK_ROWS
        with np.errstate(all="ignore"):
            for start in range(0, len(x), chunk):
                part, last = slice(start, start + chunk), start + chunk >= len(x)
                flags = HOOK_MEASURED | (0 if start else HOOK_FIRST) | (HOOK_LAST if last else 0)
                weights = None if w is None else w[part]
                totals += self._batch(x[part], y[part], weights, training=False, flags=flags).totals
        return totals

    def loss_and_grad(
        self, x: Data, y: Data, w: Array | None, *, training: bool, n_threads: int | None = None
    ) -> tuple[float, list[Array]]:
        """Return the loss of all rows as one batch and its gradient for every trainable tensor.

        `training` True takes batch statistics and the dropout masks of the step to come; nothing is changed either way.
        """
        with np.errstate(all="ignore"):
            batch = self._batch(x, y, w, training)
            return batch.loss, [g for grads in self._backward(batch) for g in grads]

    def vjp(
        self,
        x: Data,
        d_out: Data,
        d_jacobian: Data | None = None,
        *,
        parameters: bool,
        n_threads: int | None = None,
    ) -> tuple[Array, list[Array] | None]:
        """Return the gradients of sum d_out * outputs in inference mode: of the inputs, and of the trainable tensors.

        `d_out` (rows, k outputs) gives k gradients of the inputs, (rows, k inputs); `parameters` needs k = 1.
        `d_jacobian` (rows, outputs inputs): sum d_jacobian * (derivatives of the outputs by the inputs) is added to
        what is differentiated.
        """
        if d_jacobian is not None:
            return self._with_jacobian(as_float(x), as_float(d_out), as_float(d_jacobian), n_threads)
        seeds = as_float(d_out).reshape(len(x), -1, self._outputs)
        with np.errstate(all="ignore"):
            passes = self._forward(x, training=False, penalised=False)
            pulled = [self._pulled_back(passes, seed, np.zeros_like(seed)) for seed in np.moveaxis(seeds, 1, 0)]
        d_x = np.stack([grad for grad, _ in pulled], axis=1).reshape(len(x), -1)
        if not parameters:
            return d_x, None
        ((_, grads),) = pulled
        return d_x, [g * (not stays) for own, stays in zip(grads, self._frozen(), strict=True) for g in own]

    def _with_jacobian(
        self, x: Array, d_out: Array, d_jacobian: Array, n_threads: int | None
    ) -> tuple[Array, list[Array]]:
        """`vjp` with `d_jacobian`: one output after another, along its rows of that."""
        self._check_dual()
        d_x, grads = self.vjp(x, d_out, parameters=True, n_threads=n_threads)
        assert grads is not None
        directions, eye = d_jacobian.reshape(len(x), self._outputs, -1), np.eye(self._outputs)
        for k in range(self._outputs):
            along: Any = Dual(x, directions[:, k])
            more_x, more = self.vjp(along, eye[[k] * len(x)], parameters=True, n_threads=n_threads)
            assert more is not None
            d_x = d_x + tangent_of(more_x)
            grads = [g + tangent_of(one) for g, one in zip(grads, more, strict=True)]
        return d_x, grads

    def _check_dual(self) -> None:
        """Raise if an op has a formula of the caller's, which is no formula of NumPy's arrays alone."""
        for op in self._ops:
            if op.kind == "function":
                raise ValueError("no second derivative is known of a net with function")

    def hessian_vector(self, x: Data, y: Data, w: Array | None, vector: Sequence[ArrayLike]) -> list[Array]:
        """Return the product of the Hessian of the loss of all rows, penalties included, with a vector.

        `vector` has an array for every trainable tensor, as has the result; the mode is that of inference.
        """
        self._check_dual()
        source = iter(vector)
        tensors = [
            [Dual(own, next(source)) for own in tensors[: op.trainable]] + tensors[op.trainable :]
            for op, tensors in zip(self._ops, self._live.tensors, strict=True)
        ]
        other = copy.copy(self)
        other._training = {**self._configured(), "metrics": []}
        dual: Any = tensors
        other._live = replace(self._live, tensors=dual)
        with np.errstate(all="ignore"):
            grads = other._backward(other._batch(x, y, w, training=False))
        return [as_float(tangent_of(g)) for own in grads for g in own]

    def apply_gradients(self, gradients: Sequence[ArrayLike], *, rate: float, n_threads: int | None = None) -> None:
        """Make a step of the optimizer with these gradients, penalties included, one for every trainable tensor."""
        kind = self._configured()["optimizer"]["kind"]
        if kind in solvers.KINDS or kind == "kfac":
            raise ValueError("apply_gradients needs an optimizer that takes steps from gradients")
        with np.errstate(all="ignore"):
            tensors, slots = self._updated([as_float(g) for g in gradients], self._live.slots, rate)
        moved = [own + old[op.trainable :] for own, op, old in zip(tensors, self._ops, self._live.tensors, strict=True)]
        self._live = replace(self._live, tensors=moved, slots=slots, step=self._live.step + 1)

    def solve_output(
        self, x: Data, y: Data, w: Array | None, *, ridge: float, n_threads: int | None = None
    ) -> tuple[Array, Array | None] | None:
        """Return kernel and bias (or None) of the last dense op by ridge regression; None if there is no solution.

        They minimise sum w |h W + b - t|^2 + ridge d |W|^2 with h the op's input, d the mean diagonal of the matrix and
        t the targets, taken back through the rescalings that follow the op.
        """
        with np.errstate(all="ignore"):
            passes = self._forward(x, training=False)
        weights, targets, last = np.ones(len(x)) if w is None else as_float(w), as_float(y), len(passes) - 1
        while self._ops[last].kind == "rescaling":
            scale, offset = self._live.tensors[last]
            targets, last = (targets - offset) / scale, last - 1
        h = passes[last - 1].output if last else as_float(x)
        bias = bool(self._ops[last].spec["use_bias"])
        if bias and weights.sum() > 0.0:
            mean, level = weights @ h / weights.sum(), weights @ targets / weights.sum()
        else:
            mean, level = np.zeros(h.shape[1]), np.zeros(targets.shape[1])
        h = h - mean
        matrix = (h * weights[:, None]).T @ h
        diagonal = float(np.diagonal(matrix).mean())
        if diagonal == 0.0:
            kernel = np.zeros((h.shape[1], targets.shape[1]))
        else:
            try:
                lower = np.linalg.cholesky(matrix + ridge * diagonal * np.eye(len(matrix)))
            except np.linalg.LinAlgError:
                return None
            right = (h * weights[:, None]).T @ (targets - level)
            kernel = as_float(np.linalg.solve(lower.T, np.linalg.solve(lower, right)))
        return kernel, as_float(level - mean @ kernel) if bias else None

    # -- training ------------------------------------------------------------------------------------------------

    def probe_period(self, rows: int, batch_size: int) -> int:
        """Steps that one probe takes as long as, times 20: here nothing but the rows counts."""
        return -(-20 * min(probes.ROWS, rows) // min(batch_size, rows))

    def _probe(self, x: Data, y: Data, w: Array | None, before: list[list[Array]] | None) -> dict[str, Any]:
        """Statistics of the layers for a sample of the rows; `before`: the tensors before the last step."""
        rows = probes.rows_of(len(x))
        batch = self._batch(x[rows], y[rows], None if w is None else w[rows], training=False)
        values = probes.numbers(self._ops, self._live.tensors, before, batch.passes, self._backward(batch))
        return {"loss": batch.loss, "nonfinite_op": probes.first_nonfinite(batch.passes), "values": values}

    def _step(self, x: Data, y: Data, w: Array | None, lr: float, running: Array, flags: int) -> tuple[_Live, float]:
        """Compute the state after one step on a batch, and the batch's loss."""
        live, spec = self._live, self._configured()["optimizer"]
        batch = self._batch(x, y, w, training=True, flags=flags)
        numbers, slots, steps = live.numbers, live.slots, self._backward(batch)
        if spec["kind"] == "kfac":
            steps, slots, numbers = kfac.steps_of(
                spec, live.step, self._ops, live.tensors, batch.passes, x, steps, slots, numbers
            )
        updated, slots = self._updated([g for own in steps for g in own], slots, lr)
        parts = zip(updated, batch.passes, live.tensors, self._frozen(), strict=True)
        tensors = [old if stays else own + done.moving for own, done, old, stays in parts]
        return _Live(tensors, slots, live.step + 1, running + batch.totals, numbers), batch.loss

    def _updated(self, grads: list[Array], slots: Slots, lr: float) -> tuple[list[list[Array]], Slots]:
        """Every op's trained tensors after a step with these gradients, one for each, and the optimizer's slots."""
        live, spec, stays = self._live, self._configured()["optimizer"], self._frozen()
        weights = [w for op, own in zip(self._ops, live.tensors, strict=True) for w in own[: op.trainable]]
        is_kernel = [op.kind == "dense" and i == 0 for op in self._ops for i in range(op.trainable)]
        frozen = [own for op, own in zip(self._ops, stays, strict=True) for _ in range(op.trainable)]
        updated, slots = apply_updates(spec, live.step + 1, lr, weights, grads, slots, is_kernel, frozen)
        source, tensors = iter(updated), []
        for op, old, stay in zip(self._ops, live.tensors, stays, strict=True):
            own = [next(source) for _ in range(op.trainable)]
            tensors.append(old[: op.trainable] if stay else _constrained(op.spec, own))
        return tensors, slots

    # -- full-batch solvers --------------------------------------------------------------------------------------

    def _with_parameters(self, w: Array) -> list[list[Array]]:
        """Every op's tensors, the trainable ones taken from the flat vector w."""
        shapes = [shape for op in self._ops for shape in op.shapes[: op.trainable]]
        source = iter(split(w, shapes))
        return [
            [next(source) for _ in range(op.trainable)] + own[op.trainable :]
            for op, own in zip(self._ops, self._live.tensors, strict=True)
        ]

    def _parameters(self) -> Array:
        own = zip(self._ops, self._live.tensors, strict=True)
        return flat(tensor for op, tensors in own for tensor in tensors[: op.trainable])

    def _penalty_curvature(self) -> Array:
        """Second derivative of the l2 penalties, (n,)."""
        parts: list[Array] = []
        for op in self._ops:
            for i, shape in enumerate(op.shapes[: op.trainable]):
                name = {0: "kernel_l2", 1: "bias_l2"}.get(i, "") if op.kind == "dense" else ""
                l2 = op.spec[name] if name and (i == 0 or op.spec["use_bias"]) else 0.0
                parts.append(np.full(shape, 2.0 * l2))
        return flat(parts)

    def _train_full_batch(self, call: TrainCall) -> dict[str, Any]:
        """Make at most as many iterations of a solver as there are steps, each an epoch; as `train`."""
        x, y, w, val, steps, progress = call.x, call.y, call.w, call.val, len(call.step_rates), call.progress
        spec, size, first_step = self._configured()["optimizer"], len(self._live.running), self._live.step
        shapes = [shape for op in self._ops for shape in op.shapes[: op.trainable]]
        totals: list[Array] = []
        val_totals: list[Array] = []
        ended, interrupted, reported = "", False, time.monotonic()

        def evaluate(parameters: Array) -> solvers.Point:
            other = copy.copy(self)
            other._live = replace(self._live, tensors=self._with_parameters(parameters))
            batch = other._batch(x, y, w, False, HOOK_TRAINING | HOOK_MEASURED | HOOK_GRADIENT | HOOK_FIRST)
            gradient = flat(g for own in other._backward(batch) for g in own)
            return solvers.Point(parameters, batch.loss, gradient, batch.totals)

        def gauss_newton(parameters: Array) -> Array:
            """J' H J, H the second derivative of the loss, with the curvature of l2 penalties."""
            tensors, weights = self._with_parameters(parameters), np.ones(len(x)) if w is None else as_float(w)
            other = copy.copy(self)
            other._live = replace(self._live, tensors=tensors)
            passes, loss = other._forward(x, training=False), self._configured()["loss"]
            last = passes[-1]
            curved = losses.curvature(loss, y, last.output, last.z, self._ops[-1].activation)
            j = jacobian(self._ops, tensors, passes, as_float(x), curved.fused)
            bent = np.einsum("rab,rbn->ran", curved.matrices * (weights / len(x))[:, None, None], j)
            n = j.shape[2]
            return as_float(j.reshape(-1, n).T @ bent.reshape(-1, n) + np.diag(self._penalty_curvature()))

        try:
            with np.errstate(all="ignore"):
                point = evaluate(self._parameters())
                for i in range(steps):
                    memory = solvers.Memory([flat(slot) for slot in self._live.slots], self._live.numbers)
                    point, memory, ended = solvers.iterate(spec, point, memory, solvers.Problem(evaluate, gauss_newton))
                    slots = [split(vector, shapes) for vector in memory.vectors]
                    tensors = self._with_parameters(point.w)
                    self._live = _Live(tensors, slots, self._live.step + 1, point.totals, memory.numbers)
                    if self._configured()["hook"] is not None:
                        self._configured()["hook"](HOOK_TRAINING | HOOK_LAST, None, None, None, None)
                    if val is not None:
                        val_totals.append(self.evaluate(*val))
                    totals.append(point.totals)
                    if progress is not None and time.monotonic() - reported >= PROGRESS_SECONDS:
                        reported = time.monotonic()
                        progress(i + 1, float(point.totals[0]), int(point.totals[1]))
                    if ended:
                        break
        except KeyboardInterrupt:
            interrupted = True
        finally:
            keep_finished(call, totals, val_totals, size)
        call.result.update(
            steps=self._live.step - first_step,
            partial=self._live.running.copy(),
            nonfinite_step=0 if ended == "nonfinite" else -1,
            interrupted=interrupted,
            ended=ended,
            probes=None,
        )
        return call.result

    def train(self, call: TrainCall) -> dict[str, Any]:
        """Make one optimizer step per learning rate.

        Parameters
        ----------
        call : TrainCall
            Nothing is kept from one call to the next, so `goes_on` does not matter; solvers are never probed.

        Returns
        -------
        dict
            `call.result`, with "steps": steps made; "totals", "val_totals": (finished epochs, K), no rows in the latter
            without `val`; "partial": (K,), the running totals of the epoch of the last step; "nonfinite_step": index of
            the first step of this call whose loss was not finite, or -1; "interrupted": whether Ctrl-C ended the run,
            in which case the state is that of the last finished step; "ended": why a full-batch solver has nothing more
            to do; "probes": what `probes.Records.result` gives, or None.

        Raises
        ------
        ValueError
            If the engine is not configured or `first_batch` is past the end of an epoch.
        """
        x, y, w, batch_size = call.x, call.y, call.w, call.batch_size
        if self._configured()["optimizer"]["kind"] in solvers.KINDS:
            return self._train_full_batch(call)
        n, size = len(x), len(self._live.running)
        batches = -(-n // batch_size)
        if not 0 <= call.first_batch < batches:
            raise ValueError(f"first_batch is {call.first_batch}, but an epoch has {batches} batches")
        first_step, epoch, batch = self._live.step, call.epoch, call.first_batch
        totals: list[Array] = []
        val_totals: list[Array] = []
        nonfinite, interrupted, level = -1, False, call.probe_level
        records = probes.Records(7 * sum(op.width for op in self._ops))
        reported = time.monotonic()
        try:
            with np.errstate(all="ignore"):
                for i, lr in enumerate(as_float(call.step_rates)):
                    rows = np.arange(batch * batch_size, min((batch + 1) * batch_size, n))
                    if call.shuffle:
                        rows = shuffle_indices(
                            n, self._seed if call.order_seed is None else call.order_seed, epoch, rows
                        )
                    running = np.zeros(size) if batch == 0 else self._live.running
                    part = None if w is None else w[rows]
                    before = self._live.tensors
                    flags = HOOK_TRAINING | HOOK_MEASURED | HOOK_GRADIENT | (0 if batch else HOOK_FIRST)
                    flags |= HOOK_LAST if batch + 1 == batches else 0
                    self._live, loss = self._step(x[rows], y[rows], part, float(lr), running, flags)
                    if nonfinite < 0 and not np.isfinite(loss):
                        nonfinite = i
                    if level is not None:
                        due = (call.probe_first and i == 0) or probes.is_due(level, epoch, batch, batches)
                        rank = probes.rank_of(level, epoch, batch, batches)
                        if due or (call.stop_on_nan and nonfinite >= 0):
                            rank = probes.ALWAYS if call.probe_first and i == 0 else rank
                            found = self._probe(x, y, w, before if due else None)
                            records.add(step=self._live.step, epoch=epoch, rank=rank, **found)
                    batch += 1
                    if batch == batches:
                        if call.val is not None:
                            val_totals.append(self.evaluate(*call.val))
                        totals.append(self._live.running)
                        batch, epoch = 0, epoch + 1
                    now = time.monotonic()
                    if call.progress is not None and now - reported >= PROGRESS_SECONDS:
                        reported = now
                        call.progress(i + 1, float(self._live.running[0]), int(self._live.running[1]))
                    if call.stop_on_nan and nonfinite >= 0:
                        break
        except KeyboardInterrupt:
            interrupted = True
        finally:
            keep_finished(call, totals, val_totals, size)
        call.result.update(
            steps=self._live.step - first_step,
            partial=self._live.running.copy(),
            nonfinite_step=nonfinite,
            interrupted=interrupted,
            ended="",
            probes=None if level is None else records.result(),
        )
        return call.result


def _constrained(spec: Spec, tensors: list[Array]) -> list[Array]:
    """The trained tensors of an op after an update, under its constraints."""
    if spec["kind"] == "function":
        limits = [weight["constraint"] for weight in spec["weights"]]
        return [one if limit is None else project(limit, one) for one, limit in zip(tensors, limits, strict=False)]
    names = ["kernel"] * bool(spec.get("scales", True)) + ["bias"] * bool(spec.get("centers", True))
    limits = [spec.get(f"{name}_constraint") for name in names] + [None] * len(tensors)
    return [tensor if limit is None else project(limit, tensor) for tensor, limit in zip(tensors, limits, strict=False)]


def keep_finished(call: TrainCall, totals: list[Array], val_totals: list[Array], size: int) -> None:
    """Put the totals of the finished epochs into the result, also of a call that raises."""
    call.result["totals"] = np.array(totals).reshape(-1, size)
    call.result["val_totals"] = np.array(val_totals[: len(totals)]).reshape(-1, size)
