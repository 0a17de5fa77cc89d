"""Optimizers: from parameters, gradients and slots to new parameters and new slots.

Nothing is changed in place: an update that is interrupted leaves the old state whole. Formulas are those of Keras 3.
Every update function works on one tensor; t is the number of the step, counted from 1.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from .arrays import Array, Spec, as_float, unknown

Slots = list[list[Array]]  # [slot][trainable tensor]


@dataclass(frozen=True)
class Step:
    """One step of one tensor: the optimizer's hyperparameters, the step number, its rate, the tensor's role."""

    spec: Spec
    t: int
    lr: float
    is_kernel: bool


Update = Callable[[Step, Array, Array, list[Array]], tuple[Array, list[Array]]]


def _average(old: Array, new: Array, keep: float) -> Array:
    """Mix the fraction `keep` of the old with the rest of the new."""
    return keep * old + (1.0 - keep) * new


def _sgd(step: Step, w: Array, g: Array, slots: list[Array]) -> tuple[Array, list[Array]]:
    momentum = step.spec["momentum"]
    if not slots:
        return w - step.lr * g, []
    m = momentum * slots[0] - step.lr * g
    return w + (momentum * m - step.lr * g if step.spec["nesterov"] else m), [m]


def _step(step: Step, w: Array, g: Array, slots: list[Array]) -> tuple[Array, list[Array]]:
    return w - step.lr * g, slots  # of the steps that `kfac.precondition` makes of gradients, momentum included


def _rmsprop(step: Step, w: Array, g: Array, slots: list[Array]) -> tuple[Array, list[Array]]:
    spec = step.spec
    rest = list(slots)
    v = _average(rest.pop(0), g * g, spec["rho"])
    m = rest.pop(0) if spec["momentum"] else None
    new, denominator = [v], v
    averages = []
    if spec["centered"]:
        averages = [_average(rest.pop(0), g, spec["rho"])]
        denominator = v - averages[0] ** 2
    change = step.lr * g / np.sqrt(denominator + spec["epsilon"])
    if m is not None:
        change = spec["momentum"] * m + change
        new.append(change)
    return w - change, new + averages


def _adagrad(step: Step, w: Array, g: Array, slots: list[Array]) -> tuple[Array, list[Array]]:
    v = slots[0] + g * g
    return w - step.lr * g / np.sqrt(v + step.spec["epsilon"]), [v]


def _adadelta(step: Step, w: Array, g: Array, slots: list[Array]) -> tuple[Array, list[Array]]:
    rho, epsilon = step.spec["rho"], step.spec["epsilon"]
    v = _average(slots[0], g * g, rho)
    u = g * np.sqrt(slots[1] + epsilon) / np.sqrt(v + epsilon)
    return w - step.lr * u, [v, _average(slots[1], u * u, rho)]


def _adam(step: Step, w: Array, g: Array, slots: list[Array]) -> tuple[Array, list[Array]]:
    b1, b2 = step.spec["beta_1"], step.spec["beta_2"]
    m, v = _average(slots[0], g, b1), _average(slots[1], g * g, b2)
    new = [m, v]
    if step.spec.get("amsgrad"):
        v = np.maximum(slots[2], v)
        new.append(v)
    rate = step.lr * math.sqrt(1.0 - b2**step.t) / (1.0 - b1**step.t)
    return w - rate * m / (np.sqrt(v) + step.spec["epsilon"]), new


def nadam_product(beta_1: float, t: int) -> float:
    """P_t = u_1 ... u_t with u_s = beta_1 (1 - 0.96^s / 2); from s = 1000 on u_s is beta_1 to the last bit."""
    s = np.arange(1, min(t, 1000) + 1)
    return float(np.prod(beta_1 * (1.0 - 0.5 * 0.96**s)) * beta_1 ** max(0, t - 1000))


def _nadam(step: Step, w: Array, g: Array, slots: list[Array]) -> tuple[Array, list[Array]]:
    b1, b2, t = step.spec["beta_1"], step.spec["beta_2"], step.t
    u, u_next = b1 * (1.0 - 0.5 * 0.96**t), b1 * (1.0 - 0.5 * 0.96 ** (t + 1))
    m, v = _average(slots[0], g, b1), _average(slots[1], g * g, b2)
    m_hat = u_next * m / (1.0 - nadam_product(b1, t + 1)) + (1.0 - u) * g / (1.0 - nadam_product(b1, t))
    v_hat = v / (1.0 - b2**t)
    return w - step.lr * m_hat / (np.sqrt(v_hat) + step.spec["epsilon"]), [m, v]


def _adamax(step: Step, w: Array, g: Array, slots: list[Array]) -> tuple[Array, list[Array]]:
    b1, b2 = step.spec["beta_1"], step.spec["beta_2"]
    m, u = _average(slots[0], g, b1), np.maximum(b2 * slots[1], np.abs(g))
    return w - step.lr / (1.0 - b1**step.t) * m / (u + step.spec["epsilon"]), [m, u]


def _ftrl(step: Step, w: Array, g: Array, slots: list[Array]) -> tuple[Array, list[Array]]:
    spec, lr = step.spec, step.lr
    if lr == 0.0:
        return w, slots
    power, l1 = -spec["learning_rate_power"], spec["l1_regularization_strength"]
    total = slots[0] + g * g
    shrunk = g + 2.0 * spec["l2_shrinkage_regularization_strength"] * w
    z = slots[1] + shrunk - (total**power - slots[0] ** power) / lr * w
    curvature = total**power / lr + 2.0 * (spec["l2_regularization_strength"] + spec["beta"] / (2.0 * lr))
    moved = np.divide(np.clip(z, -l1, l1) - z, curvature, out=np.zeros_like(w), where=~(curvature <= 0.0))
    return moved, [total, z]


def _lion(step: Step, w: Array, g: Array, slots: list[Array]) -> tuple[Array, list[Array]]:
    b1, b2 = step.spec["beta_1"], step.spec["beta_2"]
    direction = np.sign(_average(slots[0], g, b1))
    return w - step.lr * direction, [_average(slots[0], g, b2)]


def newton_schulz(g: Array, steps: int, a: float, b: float, c: float) -> Array:
    """Push all singular values of g (n, u) towards 1: X <- a X + (b A + c A^2) X with A = X X^T.

    Keller Jordan's Muon. The Frobenius norm bounds the largest singular value, so X starts inside the range where the
    polynomial contracts; the smaller side is put first to keep A small.
    """
    x = g.T if g.shape[0] > g.shape[1] else g
    x = x / (np.linalg.norm(x) + 1e-7)
    for _ in range(steps):
        gram = x @ x.T
        x = a * x + (b * gram + c * gram @ gram) @ x
    return as_float(x.T if g.shape[0] > g.shape[1] else x)


def _muon(step: Step, w: Array, g: Array, slots: list[Array]) -> tuple[Array, list[Array]]:
    spec = step.spec
    if not step.is_kernel:
        return _adam(Step(spec, step.t, step.lr * spec["adam_lr_ratio"], False), w, g, slots)
    m = spec["momentum"] * slots[0] + g
    direction = g + spec["momentum"] * m if spec["nesterov"] else m
    x = newton_schulz(direction, spec["ns_steps"], spec["ns_a"], spec["ns_b"], spec["ns_c"])
    # Liu et al. 2025 (arXiv 2502.16982): gives the update the root mean square of a typical Adam update.
    scale = spec["rms_rate"] * math.sqrt(max(w.shape)) if spec["rms_rate"] else 1.0
    return w - step.lr * scale * x, [m, slots[1]]


UPDATES: dict[str, Update] = {
    "sgd": _sgd,
    "rmsprop": _rmsprop,
    "adagrad": _adagrad,
    "adadelta": _adadelta,
    "adam": _adam,
    "nadam": _nadam,
    "adamax": _adamax,
    "ftrl": _ftrl,
    "lion": _lion,
    "muon": _muon,
    "kfac": _step,
}


def _slot_count(spec: Spec) -> int:
    return _rule_slots(spec) + bool(spec.get("use_ema"))  # the average of the weights comes last


def _rule_slots(spec: Spec) -> int:
    kind = str(spec["kind"])
    if kind in ("sgd", "kfac"):
        return int(spec["momentum"] != 0)
    if kind == "rmsprop":
        return 1 + int(spec["momentum"] != 0) + int(spec["centered"])
    if kind == "adam":
        return 2 + int(spec["amsgrad"])
    return {"adagrad": 1, "lion": 1}.get(kind, 2)


def initial_slots(spec: Spec, shapes: list[tuple[int, ...]]) -> Slots:
    """Make the slots of an optimizer before its first step, one array per trainable tensor in each slot.

    Raises
    ------
    ValueError
        If the optimizer is unknown.
    """
    if spec["kind"] not in UPDATES:
        raise unknown("optimizer", spec["kind"], UPDATES)
    start = spec["initial_accumulator_value"] if spec["kind"] in ("adagrad", "ftrl") else 0.0
    starts = [start] + [0.0] * (_slot_count(spec) - 1)
    return [[np.full(shape, value, dtype=np.float64) for shape in shapes] for value in starts[: _slot_count(spec)]]


def clip_gradients(spec: Spec, grads: list[Array]) -> list[Array]:
    """Apply the one clipping rule that is switched on: by value, by each tensor's norm, or by the norm of all."""
    if spec["clipvalue"]:
        return [np.clip(g, -spec["clipvalue"], spec["clipvalue"]) for g in grads]
    if spec["clipnorm"]:
        limit = spec["clipnorm"]
        return [g * (limit / np.maximum(np.linalg.norm(g), limit)) for g in grads]
    if spec["global_clipnorm"]:
        limit = spec["global_clipnorm"]
        total = np.sqrt(sum(np.square(g).sum() for g in grads))
        return [g * (limit / np.maximum(total, limit)) for g in grads]
    return grads


def apply_updates(
    spec: Spec,
    t: int,
    lr: float,
    weights: list[Array],
    grads: list[Array],
    slots: Slots,
    is_kernel: list[bool],
    frozen: list[bool] | None = None,
) -> tuple[list[Array], Slots]:
    """Make one optimizer step: clip, decay the weights, update, average.

    Parameters
    ----------
    spec : the optimizer as plain data
    t : number of this step, counted from 1
    lr : its learning rate
    weights, grads : the trainable tensors and their gradients
    slots : [slot][tensor]
    is_kernel : tells for each tensor whether it is a dense kernel, which Muon treats apart
    frozen : tells for each tensor whether it stays, with its slots; its gradient must be 0

    Returns
    -------
    new weights, new slots
    """
    new_weights: list[Array] = []
    new_slots: Slots = [[] for _ in slots]
    rules = _rule_slots(spec)
    for i, (w, g) in enumerate(zip(weights, clip_gradients(spec, grads), strict=True)):
        if frozen is not None and frozen[i]:
            new_weights.append(w)
            for new, old in zip(new_slots, slots, strict=True):
                new.append(old[i])
            continue
        plain = spec["kind"] == "muon" and not is_kernel[i]
        decay = spec["adam_weight_decay"] if plain else spec["weight_decay"]
        rate = lr * spec["rate_factors"][i] if "rate_factors" in spec else lr
        decay = decay * spec["decay_factors"][i] if "decay_factors" in spec else decay
        decayed = w - rate * decay * w
        updated, changed = UPDATES[spec["kind"]](
            Step(spec, t, rate, is_kernel[i]), decayed, g, [s[i] for s in slots[:rules]]
        )
        if spec.get("use_ema"):
            mean = _average(slots[rules][i], updated, spec["ema_momentum"] if t > 1 else 0.0)
            changed = [*changed, mean]
            frequency = spec["ema_overwrite_frequency"]
            updated = mean if frequency and t % frequency == 0 else updated
        new_weights.append(updated)
        for slot, array in zip(new_slots, changed, strict=True):
            slot.append(array)
    return new_weights, new_slots
