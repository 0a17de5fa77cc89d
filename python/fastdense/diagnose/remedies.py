"""Remedies: named changes of a plan (layers, loss, optimizer, training) that may repair a net."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np

from .. import layers, losses, metrics, optimizers, regularizers
from ..arrays import Array
from ..layers import BatchNorm, Dense, Layer, LayerNorm, Normalization, Preprocessing
from ..layers.preprocessing import encoded
from ..schedules import Schedule
from .plan import Plan, changed
from .representations import Choice
from .subject import Subject
from .task import Task

WIDE = 32  # units of an added layer
MANY_STARTS = 64
MOST_EPOCHS = 100_000
UNSEEN = 1e30  # variance of a standardized column of which nothing is left
FEW_COLUMNS = 16
LEAST_FOR_MAPE = 1e-5  # a smaller target is next to the number by which mape divides at least
MOST_FOR_STARTS = 2000  # parameters of a net for which many restarts are tried
NEW_WEIGHTS = "train again from new random initial weights"
ADAM, QUICK_ADAM = optimizers.Adam(0.001), optimizers.Adam(0.01)


@dataclass(frozen=True)
class Remedy:
    """A change of a plan.

    Attributes
    ----------
    words : str
        Description of the change.
    apply : callable
        Plan to plan; an equal plan if there is nothing to change.
    last_resort : bool
        Whether it may hide a wrong scale rather than correct it; then it is tried last if a scale is wrong.
    describe : callable or None
        Words for the difference of two plans, before and after; `words` if None.
    parts : tuple of Remedy
        The changes that it consists of, if several.
    outside : bool
        Whether it changes something that is in no plan, such as a callback.
    """

    words: str
    apply: Callable[[Plan], Plan]
    last_resort: bool = False
    describe: Callable[[Plan, Plan], str] | None = None
    parts: tuple[Remedy, ...] = ()
    outside: bool = False

    def says(self, plan: Plan) -> str:
        """What it changes in a plan, "" if that is nothing: never what the plan has already."""
        said = []
        for part in self.parts:
            said.append(part.says(plan))
            plan = part.apply(plan)
        if self.parts:
            return "; ".join(filter(None, said))
        after = self.apply(plan)
        if after == plan and not self.outside:
            return ""
        return self.words if self.describe is None else self.describe(plan, after)

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle keeps the words; a diagnosis keeps the plan that it changed."""
        return Remedy, (self.words, _not_kept, self.last_resort)


def _not_kept(plan: Plan) -> Plan:
    raise RuntimeError(
        "diagnose: this remedy was pickled or copied, which keeps its words alone; report.treat() still applies those "
        "of the diagnosis"
    )


def together(*remedies: Remedy) -> Remedy:
    """Several changes as one."""

    def apply(plan: Plan) -> Plan:
        for remedy in remedies:
            plan = remedy.apply(plan)
        return plan

    return Remedy("; ".join(remedy.words for remedy in remedies), apply, parts=remedies)


# ---- data in and out -------------------------------------------------------------------------------------------------


def standardize(subject: Subject) -> Remedy:
    """Mean 0 and standard deviation 1 for every column of x, inside the model."""

    def apply(plan: Plan) -> Plan:
        if plan.normalized() or plan.reads_columns():
            return plan
        front = plan.front
        return plan.with_layers([*front, subject.normalization_after(front), *plan.layers[len(front) :]])

    def describe(before: Plan, after: Plan) -> str:
        mean, sd = subject.scale_after(before.front)
        moving = sd > 0
        near = bool((np.abs(mean[moving]) < 0.2).all() and (np.abs(sd[moving] - 1) < 0.2).all())
        return "" if near else words  # the columns are standardized already

    words = "standardize x inside the model: fd.Normalization() as first layer"
    return Remedy(words, apply, describe=describe)


def without_columns(subject: Subject, columns: Array) -> Remedy:
    """Columns that the net does not see, though its rows still hold them: standardized to nothing."""
    some = [int(j) for j in columns]

    def apply(plan: Plan) -> Plan:
        if plan.front or not some:
            return plan
        whole = subject.normalization
        assert whole.mean is not None and whole.variance is not None
        variance = whole.variance.copy()
        variance[some] = UNSEEN
        layer = Normalization()
        layer.set_statistics(whole.mean, variance)
        return plan.with_layers([layer, *plan.layers[int(plan.normalized()) :]])

    names = f"column{_columns(some)}"
    return Remedy(f"train without {names} (the model still takes it, and ignores it)", apply)


def represented(subject: Subject, choice: Choice, front: tuple[Preprocessing, ...] = ()) -> Remedy:
    """Columns encoded as `choice` says, after the layers `front`, and standardized, inside the model."""
    made = choice.layers_for(encoded(front, subject.good_x))

    def apply(plan: Plan) -> Plan:
        if plan.front != front or plan.reads_columns():
            return plan
        rest = itertools.dropwhile(
            lambda layer: isinstance(layer, (Normalization, layers.Rescaling)), plan.layers[len(front) :]
        )
        return plan.with_layers([*front, *made, subject.normalization_after((*front, *made)), *rest])

    parts = (("Log1p", choice.tails), ("Periodic", choice.periods), ("OneHot", choice.codes))
    kinds = " and ".join(f"fd.{name} for column{_columns(columns)}" for name, columns in parts if columns)
    words = f"{kinds}, then fd.Normalization(), in front of the net"
    return Remedy(words, apply)


def _columns(columns: Iterable[int]) -> str:
    some = list(columns)
    return f"{'s' * (len(some) > 1)} {', '.join(map(str, some[:5]))}{', ...' * (len(some) > 5)}"


def log_target(subject: Subject) -> list[Remedy]:
    """Let the net learn the logarithm of targets over decades: its last layer gives scale * exp(z).

    The loss is one whose gradient of z is of about the same size for all rows, or another if targets are too near 0.
    """
    scale, size = subject.task.scale, np.abs(subject.sample_y)
    first = "mape" if size.min() > LEAST_FOR_MAPE else "poisson" if scale > 0 else "mae"
    kinds = ["mae"] if abs(scale) < LEAST_FOR_MAPE else list(dict.fromkeys([first, "mae"]))

    def remedy(kind: str) -> Remedy:
        weight = 0.01 if kind == "mape" else 1 / abs(scale)

        def apply(plan: Plan) -> Plan:
            made = plan.with_output(1, "exponential", losses.get(kind))
            return replace(made.with_layers([*made.layers, layers.Rescaling(scale)]), loss_weights=weight)

        return Remedy(
            f"learn the logarithm of the target: end with one exponential unit and fd.Rescaling({scale:.3g}), "
            f"loss={kind!r}, loss_weights={weight:.3g}",
            apply,
        )

    return [remedy(kind) for kind in kinds]


def scale_targets(subject: Subject) -> Remedy:
    """Let the net learn targets of mean 0 and standard deviation 1; a last layer restores their scale."""
    y = subject.sample_y
    mean, sd = y.mean(axis=0), y.std(axis=0)
    sd = np.where(sd > 0, sd, 1.0)
    together_sd = float(np.sqrt(np.mean(np.square(sd))))
    if y.shape[1] > FEW_COLUMNS:  # almost constant pixels must not be amplified
        sd = np.where(sd > 1e-3 * together_sd, sd, together_sd)

    def apply(plan: Plan) -> Plan:
        if isinstance(plan.layers[-1], layers.Rescaling) or plan.output_activation() != "linear":
            return plan
        scale: Any = sd.tolist() if len(sd) > 1 else float(sd[0])
        offset: Any = mean.tolist() if len(mean) > 1 else float(mean[0])
        # mse and, for small errors, log_cosh and huber are quadratic in the scale, the other distances linear.
        square = plan.loss.kind == "mse" or (plan.loss.kind in ("log_cosh", "huber") and together_sd < 1)
        weight = 1.0 if plan.loss.kind == "mape" else together_sd ** (-2 if square else -1)
        made = replace(
            plan.with_layers([*plan.layers, layers.Rescaling(scale, offset)]),
            loss_weights=weight,
            metrics=_with_own_units(plan),
        )
        least = float(sd.min() / together_sd) ** 2
        if least < 0.01 and hasattr(plan.optimizer, "epsilon"):  # else epsilon exceeds the small columns' gradient
            made = replace(made, optimizer=changed(plan.optimizer, epsilon=plan.optimizer.epsilon * least))
        return made

    scales = (
        f"{sd[0]:.3g}" if len(sd) == 1 else f"[{', '.join(f'{one:.3g}' for one in sd[:3])}{', ...' * (len(sd) > 3)}]"
    )
    return Remedy(
        f"standardize the targets: fd.Rescaling({scales}, ...) as last layer, with matching loss_weights "
        "(a metric shows the error in the units of y)",
        apply,
    )


def _with_own_units(plan: Plan) -> tuple[metrics.Metric, ...]:
    """The metrics, with the loss (or the absolute error) among them: loss_weights change its units."""
    wanted = metrics.get(plan.loss.kind if plan.loss.kind in ("mse", "mape") else "mae")
    return plan.metrics if any(one.kind == wanted.kind for one in plan.metrics) else (*plan.metrics, wanted)


def matched_output(task: Task, loss: losses.Loss | None = None) -> Remedy:
    """The output activation and loss that belong to the task."""
    several = "s" * (task.width > 1)
    chosen: losses.Loss = losses.MeanSquaredError()
    if task.kind == "regression":
        units, activation, chosen = task.width, "linear", loss or chosen
        ending = f"{units} linear unit{several}"
    elif task.encoding == "signs":
        units, activation, ending = 1, "tanh", "one tanh unit, for targets -1 and 1,"
    elif task.kind == "multilabel" or (task.kind == "binary" and task.encoding == "zero_one"):
        units, activation, chosen = task.width, "sigmoid", losses.BinaryCrossentropy()
        ending = f"{units} sigmoid unit{several}"
    elif task.encoding == "one_hot":
        units, activation, chosen = task.width, "softmax", losses.CategoricalCrossentropy()
        ending = f"softmax over {units} units"
    elif task.labels[0] >= 0 and task.labels[-1] <= 10 * len(task.labels):
        units, activation, chosen = int(task.labels[-1]) + 1, "softmax", losses.SparseCategoricalCrossentropy()
        ending = f"softmax over {units} units"
        if task.labels[0] == 1 and units == len(task.labels) + 1:  # labels from 1
            ending += f" (or over {units - 1}, and pass y - 1, so that labels start at 0)"
    else:
        units, activation, ending = 1, "linear", "one linear unit"

    def apply(plan: Plan) -> Plan:
        end = plan.last_dense()
        same = (
            end == len(plan.layers) - 1
            and isinstance(plan.layers[end], Dense)
            and (plan.dense()[-1].units, plan.dense()[-1].activation) == (units, activation)
            and plan.loss == chosen
        )
        return plan if same else plan.with_output(units, activation, chosen)

    def describe(before: Plan, after: Plan) -> str:
        said = []
        if (before.layers[-1], before.dense()[-1:]) != (after.layers[-1], after.dense()[-1:]):
            said.append(f"end with {ending}")
        if before.loss != after.loss:
            said.append(f"loss={chosen.kind!r}")
            if before.loss.kind == chosen.kind:  # then its options differ
                said[-1] += " without from_logits"
        return " and ".join(said)

    return Remedy(f"end with {ending} and loss={chosen.kind!r}", apply, describe=describe)


def loss(kind: str) -> Remedy:
    """Another loss, for targets that are numbers."""
    made = losses.get(kind)

    def apply(plan: Plan) -> Plan:
        if plan.loss == made or not plan.loss.measures_distance:
            return plan
        return replace(plan, loss=made, loss_weights=1.0)

    return Remedy(f"loss={kind!r}", apply)


# ---- layers ----------------------------------------------------------------------------------------------------------


def reinitialize() -> Remedy:
    """Random initial kernels whose scale suits the activations, biases 0."""

    def change(layer: Dense) -> Layer:
        return changed(layer, kernel_initializer="auto", bias_initializer="zeros")

    def describe(before: Plan, after: Plan) -> str:
        pairs = list(zip(before.dense(), after.dense(), strict=True))
        said = []
        if any(a.kernel_initializer != b.kernel_initializer for a, b in pairs):
            said.append("random initial kernels of the right scale (kernel_initializer='auto')")
        if any(a.bias_initializer != b.bias_initializer for a, b in pairs):
            said.append("initial biases of 0")
        return " and ".join(said) or NEW_WEIGHTS

    words = "random initial kernels of the right scale (kernel_initializer='auto') and initial biases of 0"
    return Remedy(words, lambda plan: replace(plan.each(change), initial_weights=None), describe=describe)


def hidden_activation(name: str) -> Remedy:
    """Another activation in all hidden layers."""
    words = f"{name} in the hidden layers"

    def describe(before: Plan, after: Plan) -> str:
        return words if before.hidden_activations() != after.hidden_activations() else NEW_WEIGHTS

    return Remedy(words, lambda plan: replace(plan.with_activation(name), initial_weights=None), describe=describe)


def capacity(units: int = WIDE, activation: str = "relu") -> Remedy:
    """At least this many units in every hidden layer, with activation and biases; one such layer if there is none."""

    def change(layer: Dense) -> Layer:
        new: dict[str, Any] = {"use_bias": True}
        if layer.units < units:
            new["units"] = units
        if layer.activation == "linear":
            new["activation"] = activation
        return changed(layer, **new)

    def apply(plan: Plan) -> Plan:
        end = plan.last_dense()
        if end < 0:
            return plan
        if len(plan.dense()) == 1:
            here = [*plan.layers[:end], Dense(units, activation), *plan.layers[end:]]
            made = plan.with_layers(here)
        else:
            made = plan.each(change, last=False)
        return made.each(lambda layer: changed(layer, use_bias=True), hidden=False)

    def describe(before: Plan, after: Plan) -> str:
        if len(after.dense()) > len(before.dense()):
            return f"a hidden layer of {units} {activation} units"
        pairs = list(zip(before.dense(), after.dense(), strict=True))
        said = []
        if any(a.units != b.units for a, b in pairs):
            said.append(f"at least {units} units in every hidden layer")
        if any(a.activation != b.activation for a, b in pairs):
            said.append(f"{activation} as activation of the hidden layers")
        if any(a.use_bias != b.use_bias for a, b in pairs):
            said.append("biases (use_bias=True)")
        return " and ".join(said)

    return Remedy(f"hidden layers of at least {units} units with {activation} and biases", apply, describe=describe)


def normalize_batches() -> Remedy:
    """Batch normalization after every hidden dense layer."""

    def apply(plan: Plan) -> Plan:
        if any(isinstance(layer, (BatchNorm, LayerNorm)) for layer in plan.layers):
            return plan
        end, made = plan.last_dense(), []
        for i, layer in enumerate(plan.layers):
            made.append(layer)
            if isinstance(layer, Dense) and i < end:
                made.append(BatchNorm())
        return plan.with_layers(made)

    return Remedy("fd.BatchNorm() after every hidden layer", apply)


def penalties(factor: float) -> Remedy:
    """All penalties multiplied by a factor; 0 removes them."""

    def scaled(spec: Any) -> Any:
        if spec is None or factor == 0:
            return None
        new = {k: v * factor for k, v in spec.get_config().items() if isinstance(v, float) and k != "mode"}
        return changed(spec, **new)

    def change(layer: Dense) -> Layer:
        return changed(
            layer,
            kernel_regularizer=scaled(layer.kernel_regularizer),
            bias_regularizer=scaled(layer.bias_regularizer),
            activity_regularizer=scaled(layer.activity_regularizer),
        )

    def apply(plan: Plan) -> Plan:
        made = plan.each(change)
        decay = plan.optimizer.weight_decay if not plan.optimizer.full_batch else None
        if decay:
            made = replace(made, optimizer=changed(plan.optimizer, weight_decay=decay * factor))
        return made

    def describe(before: Plan, after: Plan) -> str:
        said: list[str] = []
        for a, b in zip(before.dense(), after.dense(), strict=True):
            for name in ("kernel_regularizer", "bias_regularizer", "activity_regularizer"):
                old, new = getattr(a, name), getattr(b, name)
                if old != new and new is None:
                    said.append(f"no {'activity' if name == 'activity_regularizer' else 'weight'} penalty")
                elif old != new:
                    said.append(f"{_penalty(new)} instead of {_penalty(old)}")
        if before.optimizer != after.optimizer:
            said.append(_argument("weight_decay", before, after))
        return ", ".join(dict.fromkeys(said))

    words = "no penalties" if factor == 0 else f"penalties times {factor:g}"
    return Remedy(words, apply, describe=describe)


def _penalty(spec: Any) -> str:
    numbers = [v for v in spec.get_config().values() if isinstance(v, float)]
    return f"{type(spec).__name__}({', '.join(f'{v:.3g}' for v in numbers)})"


def _argument(name: str, before: Plan, after: Plan) -> str:
    """An argument of the optimizer, and what it was."""
    old, new = (getattr(plan.optimizer, name) for plan in (before, after))
    return f"{name}={new:.3g} instead of {old if isinstance(old, Schedule) else f'{old:.3g}'}"


def dropout(most: float) -> Remedy:
    """Dropout rates of at most `most`; 0 removes dropout."""
    words = f"dropout of at most {most:g}" if most else "no dropout"
    return Remedy(words, lambda plan: plan.with_dropout(lambda rate: min(rate, most)))


# ---- training --------------------------------------------------------------------------------------------------------


def optimizer(made: optimizers.Optimizer) -> Remedy:
    """Another optimizer."""

    def describe(before: Plan, after: Plan) -> str:
        if type(before.optimizer) is type(made) and changed(before.optimizer, learning_rate=made.learning_rate) == made:
            return _argument("learning_rate", before, after)
        return f"optimizer=fd.{made!r}"

    return Remedy(f"optimizer=fd.{made!r}", lambda plan: replace(plan, optimizer=made), describe=describe)


def learning_rate(factor: float) -> Remedy:
    """The same optimizer with the learning rate multiplied by a factor."""

    def apply(plan: Plan) -> Plan:
        rate = plan.optimizer.learning_rate if not plan.optimizer.full_batch else None
        if rate is None or isinstance(rate, Schedule) or rate == 0:
            return plan
        return replace(plan, optimizer=changed(plan.optimizer, learning_rate=rate * factor))

    words = f"learning rate {'times' if factor >= 1 else 'divided by'} {max(factor, 1 / factor):g}"
    return Remedy(words, apply, describe=partial(_argument, "learning_rate"))


def rate(value: float) -> Remedy:
    """The same optimizer with this learning rate."""

    def apply(plan: Plan) -> Plan:
        if plan.optimizer.full_batch:
            return plan
        return replace(plan, optimizer=changed(plan.optimizer, learning_rate=value))

    return Remedy(f"learning_rate={value:.3g}", apply, describe=partial(_argument, "learning_rate"))


def clipping(norm: float = 1.0) -> Remedy:
    """Gradients clipped to a global norm."""

    def apply(plan: Plan) -> Plan:
        if plan.optimizer.full_batch or plan.optimizer.global_clipnorm:
            return plan
        return replace(plan, optimizer=changed(plan.optimizer, clipnorm=None, clipvalue=None, global_clipnorm=norm))

    return Remedy(f"global_clipnorm={norm:g}", apply)


def epochs(factor: float) -> Remedy:
    """Train longer."""
    return Remedy(
        f"{factor:g} times as many epochs",
        lambda plan: replace(plan, epochs=min(MOST_EPOCHS, max(plan.epochs + 1, round(plan.epochs * factor)))),
        describe=lambda before, after: f"{after.epochs} epochs instead of {before.epochs}",
    )


def closed_form(subject: Subject) -> Remedy:
    """Hidden units that lose nothing, and the last layer by least squares; nothing is left to train."""

    def apply(plan: Plan) -> Plan:
        activation = plan.output_activation()
        fits = plan.loss.kind == "mse" and plan.last_dense() >= 0 and not isinstance(plan.layers[-1], layers.Activation)
        reaches = activation == "linear" or (activation == "relu" and float(subject.sample_y.min()) >= 0)
        may_change = all(layer.trainable for layer in plan.layers if isinstance(layer, layers.Dense))
        if plan.closed_form or not (fits and reaches and may_change):
            return plan
        return replace(plan, closed_form=True, epochs=0, starts=1, initial_weights=None)

    words = "hidden units placed on the data, and the last layer in closed form: model.place(x).solve_output(x, y)"
    return Remedy(words, apply)


def batches(size: int | None) -> Remedy:
    """Another batch size, shuffled."""

    def apply(plan: Plan) -> Plan:
        return replace(plan, batch_size=size or plan.batch_size, shuffle=True)

    def describe(before: Plan, after: Plan) -> str:
        said = [f"batch_size={size} instead of {before.batch_size}"] if before.batch_size != after.batch_size else []
        return " and ".join([*said, *(["fit(shuffle=True)"] if not before.shuffle else [])])

    words = "fit(shuffle=True)" if size is None else f"batch_size={size}, shuffled"
    return Remedy(words, apply, describe=describe)


def starts(count: int = MANY_STARTS) -> Remedy:
    """Many short trainings from random restarts spread over the data; the best is continued."""

    def apply(plan: Plan) -> Plan:
        if plan.optimizer.full_batch or plan.build().count_params() > MOST_FOR_STARTS:
            return plan
        return replace(plan, starts=count)

    return Remedy(f"fit(starts={count}): train the best of many random restarts", apply, True)


def recipe(subject: Subject, width: int, activation: str, rate: float, depth: int = 1) -> Remedy:
    """A plain new net: standardized data, one or two hidden layers, the matched output, Adam."""

    def apply(plan: Plan) -> Plan:
        hidden = [Dense(width, activation) for _ in range(depth)]
        made = replace(
            plan.with_layers([*plan.front, *hidden, Dense(1)]),
            optimizer=optimizers.Adam(rate),
            batch_size=min(32, plan.batch_size),
            shuffle=True,
            starts=1,
            initial_weights=None,
        )
        made = standardize(subject).apply(matched_output(subject.task).apply(made))
        return scale_targets(subject).apply(made) if subject.task.kind == "regression" else made

    sizes = " and ".join([f"{width} {activation} units"] * depth)
    return Remedy(f"a plain new net: standardized data, {sizes}, the matched output and loss, Adam({rate:g})", apply)


# ---- how fit is called -----------------------------------------------------------------------------------------------


def robust(subject: Subject) -> Remedy:
    """Huber's loss, in units of the spread of the ordinary targets."""
    y = np.delete(np.asarray(subject.y[subject.good], np.float64), subject.outliers, axis=0)
    middle = np.median(y, axis=0)
    spread = float(np.sqrt(np.mean(np.square(1.4826 * np.median(np.abs(y - middle), axis=0))))) or float(y.std()) or 1.0

    def apply(plan: Plan) -> Plan:
        if plan.output_activation() != "linear" or plan.loss.kind == "huber":
            return plan
        scaled = isinstance(plan.layers[-1], layers.Rescaling)
        far = not 0.1 <= spread <= 10 or float(np.abs(middle).max()) > 10 * spread
        offset: Any = middle.tolist() if len(middle) > 1 else float(middle[0])
        made = plan.with_layers([*plan.layers, layers.Rescaling(spread, offset)]) if far and not scaled else plan
        return replace(made, loss=losses.Huber(delta=1.345 * spread), loss_weights=spread**-2)

    return Remedy(f"loss=fd.losses.Huber(delta={1.345 * spread:.3g}), which large errors pull only linearly", apply)


def whole() -> Remedy:
    """No rows kept for validation."""
    return Remedy(
        "train on all rows, validation_split=0 (to validate, shuffle the rows before the split)",
        lambda plan: replace(plan, validation_split=0.0),
    )


def weigh_classes(value: Any) -> Remedy:
    """Other class weights, or none."""
    words = "no class_weight" if value is None else f"class_weight={value!r}"
    return Remedy(words, lambda plan: replace(plan, class_weight=value))


def unweighted() -> Remedy:
    """No sample weights."""
    return Remedy("no sample_weight", lambda plan: replace(plan, weighted=False))


def all_epochs(count: int) -> Remedy:
    """At least so many epochs, with no callback that ends them."""
    words = f"all {count} epochs, without that callback"
    return Remedy(words, lambda plan: replace(plan, epochs=max(plan.epochs, count)), outside=True)


def constant_rate(rate: float) -> Remedy:
    """The learning rate as it was before callbacks changed it; trials have none."""
    return Remedy(f"learning_rate={rate:g} throughout, without that callback", lambda plan: plan, outside=True)


def batch_momentum(steps: int) -> Remedy:
    """Moving averages of batch normalization that settle within the training."""
    momentum = max(0.5, min(0.99, round(1 - 10 / max(steps, 11), 2)))

    def change(layer: Layer) -> Layer:
        return (
            changed(layer, momentum=momentum) if isinstance(layer, BatchNorm) and layer.momentum > momentum else layer
        )

    return Remedy(
        f"fd.BatchNorm(momentum={momentum:g})", lambda plan: plan.with_layers([change(layer) for layer in plan.layers])
    )


def without_layer_norm() -> Remedy:
    """No layer normalization; standardized data where it was the first layer."""
    return Remedy(
        "take LayerNorm out",
        lambda plan: plan.with_layers([layer for layer in plan.layers if not isinstance(layer, LayerNorm)]),
    )


# ---- against overfitting ---------------------------------------------------------------------------------------------


def shorter(epochs: int) -> Remedy:
    """Fewer epochs."""
    return Remedy(
        f"{epochs} epochs (EarlyStopping(restore_best_weights=True) on rows kept out finds the number)",
        lambda plan: replace(plan, epochs=min(plan.epochs, epochs)),
    )


def shrink(factor: float, subject: Subject, kind: str = "l2") -> Remedy:
    """A penalty on every kernel, relative to the scale of the loss."""
    scale = float(subject.sample_y.var(axis=0).mean()) if subject.task.kind == "regression" else 1.0
    value = float(f"{factor * (scale if subject.loss.kind == 'mse' else 1.0):.2g}")
    penalty = regularizers.L1(value) if kind == "l1" else regularizers.L2(value)

    def apply(plan: Plan) -> Plan:
        return plan.each(lambda layer: changed(layer, kernel_regularizer=penalty))

    return Remedy(f"kernel_regularizer=fd.regularizers.{_penalty(penalty)} in every dense layer", apply)


def thin_out(rate: float) -> Remedy:
    """Dropout before the last dense layer."""

    def apply(plan: Plan) -> Plan:
        end = plan.last_dense()
        if end < 1 or any(isinstance(layer, layers.Dropout) for layer in plan.layers):
            return plan
        return plan.with_layers([*plan.layers[:end], layers.Dropout(rate), *plan.layers[end:]])

    return Remedy(f"fd.Dropout({rate:g}) before the last layer", apply)


def linear() -> Remedy:
    """No hidden layers."""

    def apply(plan: Plan) -> Plan:
        end = plan.last_dense()
        if end < 0:
            return plan
        return plan.with_layers(([plan.layers[0]] if plan.normalized() and end else []) + list(plan.layers[end:]))

    return Remedy("no hidden layers: a linear model", apply)
