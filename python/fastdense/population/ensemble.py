"""`Ensemble`: several trained models that predict as one, by the weighted mean of their outputs."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import fields, replace
from typing import Any, Generic, TypeVar

import numpy as np

from ..arguments import file_path, flag, integer, items, keywords_checked, number
from ..arrays import Array, beside, check_memory, empty_beside, fail, to_host
from ..data.checks import check_x
from ..data.prepare import prepare
from ..data.rows import Rows, Shape
from ..layers.preprocessing import blocks
from ..losses import Loss, Quantile
from ..model import files, intervals
from ..model.base import BaseModel
from ..reference.losses import predictions
from ..training.options import check_threads
from .selection import Measure, greedy

M = TypeVar("M", bound=BaseModel)
MOST = 100_000  # members
# Losses of these targets go together; there the outputs of the nets mean the same.
_MEANING = {
    "values": "values",
    "counts": "values",
    "signs": "scores of classes -1 and 1",
    "probabilities": "a probability for each output",
    "distribution": "probabilities of classes",
    "classes": "probabilities of classes",
    "any": "what a loss of your own makes of them",
    "heads": "outputs of several heads",
}


class Ensemble(Generic[M]):
    """Trained models that predict as one: by the weighted mean of their outputs.

    With a cross-entropy the outputs are probabilities, also those of models whose loss takes logits. The members are
    the very models that were given; they may have different layers, but take the same columns and give outputs of one
    kind. Loss and metrics are those of the first member. `Population.ensemble` and `Ensemble.select` choose members
    and weights by validation data.

    Parameters
    ----------
    models : list of Model, or Population
        Compiled, all on one device.
    weights : list of float, optional
        Weight of each member, above 0; equal by default. They are divided by their sum.

    Raises
    ------
    ValueError, TypeError
        If there is no model, one is not compiled, they do not fit together, or a weight is wrong.

    Examples
    --------
    >>> import numpy as np
    >>> import fastdense as fd
    >>> x = np.random.default_rng(0).normal(size=(64, 3)).astype("float32")
    >>> y = x[:, :1] - x[:, 1:2] ** 2
    >>> models = []
    >>> for width in (4, 8):
    ...     model = fd.Model([fd.Dense(width, "tanh"), fd.Dense(1)], inputs=3, device="reference")
    ...     model.compile("adam", "mse")
    ...     _ = model.fit(x, y, epochs=2, verbose=0)
    ...     models.append(model)
    >>> ensemble = fd.Ensemble(models, weights=[1, 3])
    >>> ensemble
    <Ensemble of 2 models, 3 -> 1, 62 parameters on reference>
    >>> mean, std = ensemble.predict(x, return_std=True)
    >>> bool(np.allclose(mean, 0.25 * models[0].predict(x) + 0.75 * models[1].predict(x)))
    True
    """

    @keywords_checked
    def __init__(self, models: Iterable[M], weights: Any = None) -> None:
        where = "Ensemble"
        self._members: tuple[M, ...] = tuple(items(f"{where}: models", models, "a list of compiled models"))
        if not self._members:
            raise ValueError(f"{where}: models is empty. Give at least one compiled model.")
        check_together(where, self._members)
        if weights is None:
            given = [1.0] * len(self._members)
        else:
            listed = items(f"{where}: weights", weights, "a list of numbers, one for each model")
            given = [number(f"{where}: weights[{i}]", one, above=0) for i, one in enumerate(listed)]
        if len(given) != len(self._members):
            fail(where, f"weights holds {len(given)} numbers", f"one for each of {len(self._members)} models is needed")
        largest = max(given)
        scaled = np.array([one / largest for one in given])  # the sum of what was given may be beyond float64
        self._weights: Array = scaled / scaled.sum()
        self._fronts: tuple[list[object], list[int]] = ([], [])
        self._scores: tuple[Array, list[int]] | None = None  # of rows kept out, for intervals; `changes` of the members

    def _equal_fronts(self) -> list[int]:
        """For each member the first one with the same layers in front: rows are encoded once for all of these."""
        encodings: list[object] = [member.runner.current_net().encoding for member in self._members]
        known, equal = self._fronts
        if known != encodings:
            firsts: dict[str, int] = {}
            fronts = [repr([layer.to_dict() for layer in member.net.front]) for member in self._members]
            equal = [firsts.setdefault(front, i) for i, front in enumerate(fronts)]
            self._fronts = (encodings, equal)
        return equal

    # ---- what it is ------------------------------------------------------------------------------------------------

    @property
    def members(self) -> list[M]:
        """The models."""
        return list(self._members)

    @property
    def weights(self) -> Array:
        """Weight of each member; they sum to 1."""
        copied: Array = self._weights.copy()
        return copied

    @property
    def inputs(self) -> int:
        """Number of columns of the data."""
        return self._members[0].inputs

    @property
    def outputs(self) -> int:
        """Number of outputs per row."""
        return self._members[0].outputs

    @property
    def device(self) -> str:
        """The device that computes the members; `to` changes it."""
        return self._members[0].device

    @property
    def loss(self) -> Loss:
        """The loss of the first member."""
        return self._members[0].loss

    @property
    def _shape(self) -> Shape:
        exact = all(member.dtype == "float64" for member in self._members)
        return replace(self._members[0]._shape, dtype="float64" if exact else "float32")

    @property
    def _dtype(self) -> np.dtype[Any]:
        return np.result_type(*(member.runner.value_dtype for member in self._members))

    def __len__(self) -> int:
        return len(self._members)

    def __iter__(self) -> Iterator[M]:
        return iter(self._members)

    def count_params(self) -> int:
        """Number of parameters of all members."""
        return sum(member.count_params() for member in self._members)

    def __repr__(self) -> str:
        return (
            f"<Ensemble of {len(self)} model{'s' * (len(self) > 1)}, {self.inputs} -> {self.outputs}, "
            f"{self.count_params():,} parameters on {self.device}>"
        )

    def summary(self, *, print_fn: Callable[[str], object] | None = None) -> None:
        """Print a table of the members with their weights and parameters.

        Parameters
        ----------
        print_fn : callable, optional
            Called with the table as one string; `print` by default.
        """
        rows = [("Member", "Weight", "Param #")]
        for i, (member, weight) in enumerate(zip(self._members, self._weights, strict=True)):
            widths = " -> ".join(map(str, (member.inputs, *member.net.widths)))
            rows.append((f"{i}: {member.name} ({widths})", f"{weight:.3g}", f"{member.count_params():,}"))
        sizes = [max(len(row[i]) for row in rows) + 3 for i in range(3)]
        line = "-" * sum(sizes)
        text = [f"{row[0]:<{sizes[0]}}{row[1]:>{sizes[1]}}{row[2]:>{sizes[2]}}" for row in rows]
        text = [f"Ensemble: {len(self)} models", line, text[0], line, *text[1:], line]
        (print if print_fn is None else print_fn)("\n".join([*text, f"Total params: {self.count_params():,}"]))

    # ---- use -------------------------------------------------------------------------------------------------------

    @keywords_checked
    def predict(self, x: Any, *, return_std: bool = False, n_threads: int | None = None) -> Any:
        """Weighted mean of the members' outputs, without dropout and with moving statistics.

        Rows are checked once, and encoded once for all members with the same layers in front.

        Parameters
        ----------
        x, n_threads
            As in `Model.predict`.
        return_std : bool
            Whether to return the standard deviation over the members, too: how far they disagree, which says nothing
            of the noise of the targets.

        Returns
        -------
        ndarray of shape (rows, outputs)
            Probabilities if the loss is a cross-entropy; in the members' dtype. CuPy arrays if x is on a GPU.
        ndarray of shape (rows, outputs), if `return_std`
            ``sqrt(sum_i w_i (p_i - mean)**2)`` with the weights ``w_i`` and outputs ``p_i`` of the members.
        """
        return_std = flag("predict: return_std", return_std)
        made = self._reduced("predict", x, n_threads, (_mean, _std) if return_std else (_mean,))
        return tuple(made) if return_std else made[0]

    @keywords_checked
    def quantiles(self, x: Any, q: Any, *, n_threads: int | None = None) -> Array:
        """Quantiles of the members' outputs: how far they disagree, which says nothing of the noise of the targets.

        Parameters
        ----------
        x, n_threads
            As in `Model.predict`.
        q : float or list of float
            From 0 to 1.

        Returns
        -------
        ndarray of shape (rows, outputs), or (quantiles, rows, outputs) for a list
            The smallest output of a member that, together with smaller ones, has at least the weight q.
        """
        single = np.ndim(q) == 0
        listed = [q] if single else items("quantiles: q", q, "a number from 0 to 1, or a list of them")
        if not listed:
            fail("quantiles", "q is empty", "at least one number from 0 to 1 is needed")
        levels = [number(f"quantiles: q{'' if single else f'[{i}]'}", one, least=0, most=1)
                  for i, one in enumerate(listed)]  # fmt: skip
        made = self._reduced("quantiles", x, n_threads, [_quantile(level) for level in levels])
        return made[0] if single else np.stack(made)

    @keywords_checked
    def calibrate(self, x: Any, y: Any, *, n_threads: int | None = None) -> None:
        """Keep the errors on rows that no member was trained on, from which `predict_interval` makes intervals.

        Parameters
        ----------
        x, y, n_threads
            As in `Model.calibrate`.

        Raises
        ------
        ValueError, TypeError
            If the data are invalid, or the loss is not one of numbers: members that classify are calibrated one by one,
            by `Model.calibrate`.
        """
        intervals.check_loss("calibrate", self.loss, "members that classify are calibrated one by one")
        threads = check_threads("calibrate", n_threads)
        data = prepare("calibrate", x, y, None, self._shape, self.loss)
        scores = intervals.scores_of(self.loss, self._means(data.x, threads), to_host(data.y))
        self._scores = scores, self._changes()

    @keywords_checked
    def predict_interval(self, x: Any, *, coverage: float = 0.9, n_threads: int | None = None) -> tuple[Array, Array]:
        """Intervals in which targets lie with a given probability, of the mean outputs; see `Model.predict_interval`.

        Parameters
        ----------
        x, coverage, n_threads
            As in `Model.predict_interval`.

        Returns
        -------
        lower, upper : ndarray of shape (rows, targets)
            In the type of `predict`, on the host.
        """
        where, loss = "predict_interval", self.loss
        pair, moved = intervals.check_coverage(where, coverage, loss, self._known_scores())
        (outputs,) = self._reduced(where, x, n_threads, (_mean,))
        return intervals.interval(loss, to_host(outputs), pair, moved)

    @keywords_checked
    def evaluate(
        self, x: Any, y: Any, *, sample_weight: Any = None, return_dict: bool = False, n_threads: int | None = None
    ) -> Any:
        """Loss and metrics of the mean outputs, those of the first member, without penalties and label smoothing.

        Parameters
        ----------
        x, y, sample_weight, n_threads
            As in `Model.evaluate`.
        return_dict : bool
            Whether to return a dict by name.

        Returns
        -------
        float, list of float or dict
            The loss if there are no metrics, else the loss and the metrics.
        """
        return_dict = flag("evaluate: return_dict", return_dict)
        threads = check_threads("evaluate", n_threads)
        data = prepare("evaluate", x, y, sample_weight, self._shape, self.loss)
        given = self._means(data.x, threads)
        y_host, w = to_host(data.y), _weights_of(data)
        logs = {"loss": Measure.of("evaluate", None, self.loss, self.outputs)(given, y_host, w)}
        for metric in self._members[0].metrics:
            logs[metric.name] = Measure.of("evaluate", metric, self.loss, self.outputs)(given, y_host, w)
        return logs if return_dict else logs["loss"] if len(logs) == 1 else list(logs.values())

    def to(self, device: str) -> Ensemble[M]:
        """Move all members to another device, in place; see `Model.to`."""
        for member in self._members:
            member.to(device)
        return self

    def _changes(self) -> list[int]:
        return [member.runner.changes for member in self._members]

    def _known_scores(self) -> Array | None:
        """Those of `calibrate`, unless a member has changed since."""
        return self._scores[0] if self._scores is not None and self._scores[1] == self._changes() else None

    def _means(self, rows: Array, threads: int) -> Array:
        """Mean outputs of checked rows, on the host."""
        return np.concatenate([self._mean_of(self._outputs(rows[part], threads)) for part in self._blocks(rows)])

    def _mean_of(self, outputs: Array) -> Array:
        return to_host(_mean(outputs, beside(self._weights, outputs)))

    def _blocks(self, rows: Array) -> list[slice]:
        """Parts of the rows, small enough for what all members make of one to stay small."""
        width = max(len(self) * self.outputs, *(member.net.program["inputs"] for member in self._members))
        return blocks(len(rows), width)

    def _outputs(self, rows: Array, threads: int) -> Array:
        """Outputs of all members for checked rows, probabilities for a cross-entropy: (members, rows, outputs)."""
        made = empty_beside(rows, (len(self), len(rows), self.outputs), self._dtype)
        encoded: dict[int, Array] = {}
        for i, (member, front) in enumerate(zip(self._members, self._equal_fronts(), strict=True)):
            if front not in encoded:
                encoded[front] = member.net.encoded(rows)
            own = member.runner.predict_encoded(encoded[front], threads)
            if member.loss.from_logits:
                own = beside(predictions(member.loss.lower(), to_host(own)), rows)
            made[i] = own
        return made

    def _one_row(self, x: object) -> Array | None:
        """The same for one row as engines hold numbers, without checks: (members, 1, outputs), else None."""
        rows = []
        for member in self._members:
            row = member.runner.predict_row(x)
            if row is None:
                return None
            if member.loss.from_logits:
                row = predictions(member.loss.lower(), row).astype(row.dtype)
            rows.append(row)
        return np.concatenate(rows)[:, None]

    def _reduced(self, where: str, x: Any, n_threads: Any, reductions: Iterable[Callable[..., Array]]) -> list[Array]:
        """For each reduction over the members the array (rows, outputs)."""
        reductions, outputs = list(reductions), self._one_row(x) if n_threads is None else None
        if outputs is None:
            threads, rows = check_threads(where, n_threads), check_x(where, x, self._shape)
            outputs = self._outputs(rows, threads) if len(rows) == 1 else None
        if outputs is not None:
            weights = beside(self._weights, outputs)
            return [reduce(outputs, weights).astype(outputs.dtype) for reduce in reductions]
        dtype = self._dtype
        if isinstance(rows, np.ndarray):
            size = len(rows) * self.outputs * dtype.itemsize * len(reductions)
            what = f"the result, {len(reductions)} times {len(rows)} rows of {self.outputs}"
            check_memory(where, size, what, "predict fewer rows at a time")
        made = [empty_beside(rows, (len(rows), self.outputs), dtype) for _ in reductions]
        for part in self._blocks(rows):
            outputs = self._outputs(rows[part], threads)
            for out, reduce in zip(made, reductions, strict=True):
                out[part] = reduce(outputs, beside(self._weights, outputs))
        return made

    # ---- selection ---------------------------------------------------------------------------------------------------

    @classmethod
    def select(
        cls,
        models: Iterable[M],
        x_val: Any,
        y_val: Any,
        *,
        size: int = 32,
        metric: Any = None,
        sample_weight: Any = None,
        n_threads: int | None = None,
    ) -> Ensemble[M]:
        """Choose members and weights by validation data: greedy selection with replacement (Caruana et al., 2004).

        In each of `size` steps that model is added whose addition gives the best mean outputs, again and again if it
        helps; of equal ones the first. The ensemble is that of the best step. A model's weight is the fraction of steps
        in which it was chosen.

        Parameters
        ----------
        models : list of Model, or Population
            Compiled.
        x_val, y_val, sample_weight
            Data that the models were not trained on, as for `Model.evaluate`.
        size : int
            Number of steps.
        metric : str, Metric or Loss, optional
            What is optimised; by default the loss of the first model, without label smoothing. Losses and errors are
            minimised; accuracies, auc, r2, precision, recall and f1 are maximised.
        n_threads : int, optional
            As in `Model.predict`; the choice is the same at any number.

        Returns
        -------
        Ensemble

        Raises
        ------
        ValueError, TypeError
            If the data or an argument is wrong, or no model has a finite value.
        """
        where = "select"
        all_models: Ensemble[M] = cls(models)
        threads, size = check_threads(where, n_threads), integer(f"{where}: size", size, least=1)
        measure = Measure.of(where, metric, all_models.loss, all_models.outputs)
        data = prepare(where, x_val, y_val, sample_weight, all_models._shape, all_models.loss,
                       names=("x_val", "y_val", "sample_weight"))  # fmt: skip
        check_candidates(where, len(all_models), data, all_models.outputs)
        parts = [to_host(all_models._outputs(data.x[part], threads)) for part in all_models._blocks(data.x)]
        chosen, weights = select(where, measure, np.concatenate(parts, axis=1), data, size)
        return cls([all_models._members[i] for i in chosen], weights)

    # ---- files ------------------------------------------------------------------------------------------------------

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write all members and weights to one file that `fastdense.load` reads; optimizers' states are left out.

        The file appears whole or not at all. It is in the safetensors format, whatever its name ends with; the tensors
        of member i have names that begin with ``member_i/``.

        Parameters
        ----------
        path : str or path

        Raises
        ------
        ValueError
            If a member holds an object of a class of your own.
        """
        path = file_path("save: path", path)
        files.write(path, *self._describe())

    def _describe(self) -> tuple[dict[str, Any], dict[str, Array]]:
        """What a file needs: the configuration in JSON types, and all tensors by name."""
        configs: list[dict[str, Any]] = []
        tensors: dict[str, Array] = {}
        for i, member in enumerate(self._members):
            with member.runner.lock:
                member._check_saveable()
                config, own = member._describe(include_optimizer=False)
            configs.append(config)
            tensors.update({f"member_{i}/{name}": tensor for name, tensor in own.items()})
        scores = self._known_scores()
        if scores is not None:
            tensors[intervals.SCORES] = scores
        head = {key: configs[0][key] for key in ("format", "version")}
        return {**head, "members": configs, "weights": self._weights.tolist()}, tensors

    @classmethod
    def _restore(
        cls, kind: type[M], config: Mapping[str, Any], tensors: Mapping[str, Array], device: str | None
    ) -> Ensemble[M]:
        """Make the ensemble that `save` wrote, of models of class `kind`; on their own device if `device` is None."""
        configs = config["members"]
        if not isinstance(configs, list) or not 1 <= len(configs) <= MOST:
            raise ValueError(f"members is no list of 1 to {MOST:,} models")
        own: list[dict[str, Array]] = [{} for _ in configs]
        numbers = {f"member_{i}": i for i in range(len(configs))}
        for name, tensor in tensors.items():
            if name == intervals.SCORES:
                continue
            member, _, rest = name.partition("/")
            own[numbers[member]][rest] = tensor
        models = [kind._restore(one, owned, device) for one, owned in zip(configs, own, strict=True)]
        if not isinstance(config["weights"], list):
            raise ValueError("weights is no list")
        made: Ensemble[M] = cls(models, config["weights"])
        made._weights = np.array(config["weights"], dtype=np.float64)  # not divided once more, which may change a bit
        if not abs(made._weights.sum() - 1) < 1e-9:
            raise ValueError("the weights do not sum to 1")
        if intervals.SCORES in tensors:
            made._scores = intervals.checked_scores(tensors[intervals.SCORES], made.loss, made.outputs), made._changes()
        return made


def check_candidates(where: str, count: int, data: Rows, outputs: int) -> None:
    """Raise if the predictions of so many candidates do not fit in memory, or all weights of the rows are 0."""
    size, remedy = 3 * 8 * count * len(data) * outputs, "use fewer rows or models"
    check_memory(where, size, f"the outputs of {count:,} models for {len(data):,} rows", remedy)
    if data.w is not None and not bool((data.w > 0).any()):
        fail(where, "sample_weight is 0 for all rows", "at least one row must count")


def select(where: str, measure: Measure, outputs: Array, data: Rows, size: int) -> tuple[list[int], list[int]]:
    """Numbers of the candidates that `greedy` chose, in ascending order, and how often it chose each.

    Parameters
    ----------
    outputs : ndarray of shape (candidates, rows, outputs)
        As the ensemble averages them.
    """
    order = greedy(measure, outputs.astype(np.float64), to_host(data.y), _weights_of(data), size)
    if not order:
        fail(where, "no model has a finite value on x_val", "one at least is needed",
             "check the training, and whether the metric is defined for these targets")  # fmt: skip
    counts = np.bincount(order)
    chosen = np.flatnonzero(counts)
    return chosen.tolist(), counts[chosen].tolist()


def _weights_of(data: Rows) -> Array:
    return np.ones(len(data)) if data.w is None else to_host(data.w)


def _levels(loss: Loss) -> list[float]:
    """The quantiles that the outputs of a net are, if they are several."""
    return loss.levels if isinstance(loss, Quantile) and loss.outputs_each > 1 else []


_MAY_DIFFER = ("dtype", "loss_weight", "any_targets")  # of the models' shapes


def check_together(where: str, models: Sequence[Any]) -> None:
    """Raise unless these are compiled models that take the same columns and give outputs of one kind."""
    for i, model in enumerate(models):
        if not isinstance(model, BaseModel):
            raise TypeError(f"{where}: models[{i}] is of type {type(model).__name__}. Give compiled models.")
        if not model.compiled:
            fail(where, f"models[{i}] is not compiled", "its loss says what its outputs mean",
                 "call compile with the loss that it was trained with")  # fmt: skip
        first = models[0]
        for what in [field.name for field in fields(Shape) if field.name not in _MAY_DIFFER]:
            mine, its = getattr(first._shape, what), getattr(model._shape, what)
            if mine != its:
                given = f"models[0] has {what}={mine!r} and models[{i}] {what}={its!r}"
                fail(where, given, "all must have the same")
        if _MEANING[model.loss.targets] != _MEANING[first.loss.targets]:
            given = f"models[0] gives {_MEANING[first.loss.targets]} and models[{i}] {_MEANING[model.loss.targets]}"
            fail(where, f"{given} (losses {first.loss.name!r} and {model.loss.name!r})",
                 "a mean needs outputs of one kind", "make one ensemble of each kind")  # fmt: skip
        if _levels(model.loss) != _levels(first.loss):
            fail(where, f"models[0] has the loss {first.loss!r} and models[{i}] {model.loss!r}",
                 "a mean needs the same quantiles", "make one ensemble of each kind")  # fmt: skip


# ---- over the members: of outputs (members, rows, outputs) and weights (members,) ------------------------------------


def _mean(outputs: Array, weights: Array) -> Array:
    mean: Array = (outputs * weights[:, None, None]).sum(axis=0)
    return mean


def _std(outputs: Array, weights: Array) -> Array:
    deviation: Array = np.sqrt(_mean((outputs - _mean(outputs, weights)) ** 2, weights))
    return deviation


def _quantile(q: float) -> Callable[[Array, Array], Array]:
    def reduce(outputs: Array, weights: Array) -> Array:
        order = outputs.argsort(axis=0)
        before = np.cumsum(weights[order], axis=0) < q - 1e-9  # what rounding may lack of the weight
        place = np.minimum(before.sum(axis=0), len(weights) - 1)
        picked = np.take_along_axis(order, place[None], axis=0)
        quantile: Array = np.take_along_axis(outputs, picked, axis=0)[0]
        return quantile

    return reduce
