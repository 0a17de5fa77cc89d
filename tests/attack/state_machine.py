"""Long random sequences of calls: the compiled engine against the reference engine, both in float64.

Both engines round differently, by about 1e-16 of what they compute. After each call weights, optimizer state and
results must agree within TOLERANCE of their size; the compiled model then takes over the reference's numbers if they
differ by more than DRIFT, so that a difference is that of one call. What makes rounding large in one call is left out:

- Lion: the sign of a gradient that is 0 but for rounding, such as a bias before BatchNorm.
- Muon: it gives every direction of a gradient the same length, those that are rounding included.
- KFAC with batches of one row: their covariance is 0 but for rounding, and it divides by that. Behind normalization:
  what comes before has gradients that are 0 but for rounding, and it gives each tensor's gradient the same size.
- relu and other kinks behind BatchNorm or on outputs that are 0 but for rounding: the slope jumps there.
- top_k, accuracy and AUC: ties of outputs that are equal but for rounding are broken either way.
- The orthogonal penalty: its slope jumps at kernels that are orthogonal but for rounding, as `place` makes them.
- Solvers near the minimum: whether a line search accepts a step that changes the loss by rounding is chance. They make
  few iterations on noisy targets, which no net here fits.
"""

from __future__ import annotations

import copy
import pickle
import tempfile
from pathlib import Path
from typing import Any

import hypothesis
import numpy as np
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule, run_state_machine_as_test

import fastdense as fd

from .core import Tries, attack, shortened
from .subjects import Array

TOLERANCE, DRIFT = 1e-6, 1e-11

INPUTS, ROWS = 3, 24
_RNG = np.random.RandomState(1)
X = _RNG.normal(size=(ROWS, INPUTS))
NOISE = _RNG.normal(size=(ROWS, 2))
IDS = _RNG.randint(0, 2, ROWS)
WEIGHTS = _RNG.uniform(0.5, 2, ROWS)

SMOOTH = ("tanh", "sigmoid", "softplus", "silu", "gelu", "mish", "linear")
LAYERS = st.one_of(
    st.builds(
        lambda units, activation, penalty, bias: {"class_name": "Dense", "config": {
            "units": units, "activation": activation, "kernel_regularizer": penalty, "use_bias": bias}},
        st.integers(1, 5), st.sampled_from(SMOOTH), st.sampled_from((None, "l2", "repulsion")), st.booleans(),
    ),
    st.sampled_from(["batch_norm", "layer_norm", {"class_name": "Dropout", "config": {"rate": 0.3}}]),
)  # fmt: skip
FIRST_ORDER = {
    "sgd": lambda: fd.SGD(0.01), "momentum": lambda: fd.SGD(0.01, 0.9, nesterov=True),
    "rmsprop": lambda: fd.RMSprop(0.001), "adam": lambda: fd.Adam(0.003),
    "amsgrad": lambda: fd.Adam(0.003, amsgrad=True),
    "adamw": lambda: fd.AdamW(0.003, clipnorm=1.0), "nadam": lambda: fd.Nadam(0.003),
    "adagrad": lambda: fd.Adagrad(0.01),
    "adadelta": lambda: fd.Adadelta(0.1), "kfac": lambda: fd.KFAC(0.01, interval=2),
}  # fmt: skip
SOLVERS = ("lbfgs", "newton_cg", "levenberg_marquardt")
LOSSES = ("mse", "huber", "log_cosh", "sparse_categorical_crossentropy")


class Engines(RuleBasedStateMachine):
    """A model on the compiled engine, its twin on the reference engine, and the same calls for both."""

    steps = 0  # of all machines, for the report

    @initialize(
        layers=st.lists(LAYERS, min_size=0, max_size=3),
        relu=st.booleans(),
        seed=st.integers(0, 99),
        loss=st.sampled_from(LOSSES),
    )
    def make(self, layers: list[Any], relu: bool, seed: int, loss: str) -> None:
        self.plain = not any(isinstance(layer, str) or "rate" in layer["config"] for layer in layers)
        self.loss = loss
        if relu and self.plain:
            layers = [{"class_name": "Dense", "config": {"units": 4, "activation": "relu"}}, *layers]
        last = {"class_name": "Dense", "config": {"units": 2}}
        if loss == "sparse_categorical_crossentropy":
            last["config"] = {"units": 2, "activation": "softmax"}
        self.models = [
            fd.Model([*layers, last], inputs=INPUTS, seed=seed, dtype="float64", device=device)
            for device in ("cpu", "reference")
        ]
        self.compile_both("adam", loss)

    # ---- the comparison --------------------------------------------------------------------------------------------

    def compile_both(self, optimizer: str, loss: str) -> None:
        for model in self.models:
            model.compile(
                FIRST_ORDER[optimizer]() if optimizer in FIRST_ORDER else optimizer, loss, metrics=self.metrics
            )
        self.optimizer = optimizer
        self.agree(None, None)

    @property
    def metrics(self) -> list[str]:
        return [] if self.sparse else ["mae", "mse"]

    @property
    def sparse(self) -> bool:
        return self.loss == "sparse_categorical_crossentropy"

    @property
    def y(self) -> Array:
        return IDS if self.sparse else NOISE

    def both(self, call: Any) -> None:
        """Make the same call for both models and compare all that can be seen."""
        results = []
        for model in self.models:
            try:
                results.append(call(model))
            except (ValueError, TypeError) as error:
                results.append(str(error))
        self.agree(*results)

    def agree(self, ours: Any, reference: Any) -> None:
        Engines.steps += 1
        close("result", ours, reference)
        mine, twin = self.models
        with mine.runner.lock:
            close("step", mine.runner.step, twin.runner.step)
            close("epochs_trained", mine.runner.epochs_trained, twin.runner.epochs_trained)
            drift = close("weights", mine.get_weights(), twin.get_weights())
            slots, numbers = twin.runner.slots(), twin.runner.numbers()
            drift = max(drift, close("slots", mine.runner.slots(), slots))
            if drift > DRIFT:
                mine.set_weights(twin.get_weights())
                mine.runner.set_slots(slots, twin.runner.step, numbers)

    # ---- the calls -------------------------------------------------------------------------------------------------

    @rule(
        epochs=st.integers(1, 3), batch_size=st.sampled_from((1, 5, 8, 24, 100)), shuffle=st.booleans(),
        split=st.sampled_from((0.0, 0.0, 0.25)), weighted=st.booleans(), threads=st.integers(1, 2),
        probes=st.booleans(),
    )  # fmt: skip
    @precondition(lambda self: self.optimizer in FIRST_ORDER)
    def fit(
        self, epochs: int, batch_size: int, shuffle: bool, split: float, weighted: bool, threads: int, probes: bool
    ) -> None:
        if self.optimizer == "kfac":
            batch_size = max(batch_size, 5)
        options: dict[str, Any] = {
            "sample_weight": WEIGHTS if weighted else None,
            "n_threads": threads,
            "probes": probes,
        }
        self.both(lambda model: model.fit(
            X, self.y, epochs=epochs, batch_size=batch_size, shuffle=shuffle, validation_split=split,
            verbose=0, **options,
        ).history)  # fmt: skip

    @rule(epochs=st.integers(1, 2))
    @precondition(lambda self: self.optimizer in SOLVERS)
    def iterate(self, epochs: int) -> None:
        self.both(lambda model: model.fit(X, self.y, epochs=epochs, verbose=0).history)

    @rule(first=st.integers(0, 9))
    @precondition(lambda self: self.optimizer in FIRST_ORDER)
    def train_on_batch(self, first: int) -> None:
        self.both(lambda model: model.train_on_batch(X[first:], self.y[first:]))

    @rule(rows=st.integers(1, ROWS), weighted=st.booleans())
    def evaluate(self, rows: int, weighted: bool) -> None:
        w = WEIGHTS[:rows] if weighted else None
        self.both(lambda model: model.evaluate(X[:rows], self.y[:rows], sample_weight=w, verbose=0))

    @rule(rows=st.integers(1, ROWS), order=st.sampled_from(("C", "F", "reversed", "float32")))
    def predict(self, rows: int, order: str) -> None:
        x = {"C": X, "F": np.asfortranarray(X), "reversed": X[::-1], "float32": X.astype(np.float32)}[order][:rows]
        self.both(lambda model: [model.predict(x), model.activations(x)])

    @rule(training=st.booleans())
    def loss_and_grad(self, training: bool) -> None:
        self.both(lambda model: model.loss_and_grad(X, self.y, training=training))

    @rule(optimizer=st.sampled_from(sorted(FIRST_ORDER)))
    def compile_again(self, optimizer: str) -> None:
        if optimizer != "kfac" or self.plain:
            self.compile_both(optimizer, self.loss)

    @rule(optimizer=st.sampled_from(SOLVERS))
    @precondition(lambda self: self.plain)
    def compile_solver(self, optimizer: str) -> None:
        try:
            self.models[1].clone().compile(optimizer, self.loss)
        except ValueError:  # it does not know this loss or a penalty
            return
        self.compile_both(optimizer, self.loss)

    @rule(loss=st.sampled_from(LOSSES[:3]))
    @precondition(lambda self: not self.sparse and self.optimizer != "levenberg_marquardt")
    def other_loss(self, loss: str) -> None:
        self.loss = loss
        self.compile_both(self.optimizer, loss)

    @rule(rate=st.sampled_from((1e-4, 1e-3, 0.01)))
    @precondition(lambda self: self.optimizer in FIRST_ORDER)
    def learning_rate(self, rate: float) -> None:
        for model in self.models:
            model.optimizer.learning_rate = rate
        self.agree(None, None)

    @rule(factor=st.sampled_from((0.5, 0.9, 1.1)))
    def set_weights(self, factor: float) -> None:
        self.both(lambda model: model.set_weights([w * factor for w in model.get_weights()]))

    @rule(how=st.sampled_from(("file", "pickle", "copy", "device")))
    def brought_back(self, how: str) -> None:
        """The model is replaced by one from a file, a pickle or a copy, or goes over to the other engine and back."""
        if how == "device":
            for model, other in zip(self.models, ("reference", "cpu"), strict=True):
                device = model.device
                model.to(other).to(device)
        elif how == "file":
            with tempfile.TemporaryDirectory() as folder:
                for i, model in enumerate(self.models):
                    model.save(Path(folder, "net"))
                    self.models[i] = fd.load(Path(folder, "net"))
        else:
            self.models = [
                pickle.loads(pickle.dumps(model)) if how == "pickle" else copy.deepcopy(model) for model in self.models
            ]
        self.agree(None, None)

    @rule(with_y=st.booleans())
    def place(self, with_y: bool) -> None:
        self.both(lambda model: model.place(X, NOISE if with_y else None).device and None)

    @rule(ridge=st.sampled_from((1e-3, 0.1, 1.0)))
    @precondition(lambda self: not self.sparse)
    def solve_output(self, ridge: float) -> None:
        self.both(lambda model: model.solve_output(X, NOISE, ridge=ridge).device and None)

    @rule(
        starts=st.integers(1, 5), epochs=st.integers(1, 2), batch_size=st.sampled_from((5, 24)),
        start=st.sampled_from(("random", "data")), shuffle=st.booleans(),
    )  # fmt: skip
    @precondition(lambda self: self.optimizer in FIRST_ORDER)
    def fit_many(self, starts: int, epochs: int, batch_size: int, start: str, shuffle: bool) -> None:
        def call(model: fd.Model) -> Any:
            population = fd.fit_many(
                model,
                X,
                self.y,
                starts=starts,
                epochs=epochs,
                batch_size=batch_size,
                start=start,
                shuffle=shuffle,
                verbose=0,
            )
            return [population.losses, population.history, population.weights, population.predict(X[:3])]

        self.both(call)

    @rule(folds=st.integers(2, 3))
    @precondition(lambda self: self.optimizer in FIRST_ORDER)
    def cross_validate(self, folds: int) -> None:
        self.both(lambda model: fd.cross_validate(model, X, self.y, folds=folds).train_loss)


def close(what: str, ours: Any, reference: Any) -> float:
    """The largest relative difference of two results, of any structure; raises if it is more than TOLERANCE."""
    assert type(ours) is type(reference), f"{what}: {shortened(repr(ours))} instead of {shortened(repr(reference))}"
    if isinstance(reference, dict):
        assert ours.keys() == reference.keys(), f"{what}: {sorted(ours)} instead of {sorted(reference)}"
        return max((close(f"{what} {key}", ours[key], reference[key]) for key in reference), default=0.0)
    if isinstance(reference, (list, tuple)):
        assert len(ours) == len(reference), f"{what}: {len(ours)} instead of {len(reference)}"
        pairs = zip(ours, reference, strict=True)
        return max((close(f"{what} {i}", *pair) for i, pair in enumerate(pairs)), default=0.0)
    if reference is None or isinstance(reference, (str, int)):
        assert isinstance(reference, str) or ours == reference, f"{what}: {ours!r} instead of {reference!r}"
        return 0.0
    a, b = np.asarray(ours, np.float64), np.asarray(reference, np.float64)
    assert a.shape == b.shape, f"{what}: shape {a.shape} instead of {b.shape}"
    scale = 1.0 + float(np.abs(b[np.isfinite(b)]).max(initial=0.0))
    both = np.isfinite(a) & np.isfinite(b)
    assert (both == np.isfinite(b)).all(), f"{what}: other numbers are finite"
    difference = float(np.abs(a - b)[both].max(initial=0.0)) / scale
    assert difference <= TOLERANCE, f"{what}: differs by {difference:.2g} of {scale:.3g}"
    return difference


def run_machine(machines: int, steps: int, seed: int | None) -> None:
    """Run so many machines of at most so many steps; raises with the shortest sequence of calls that fails."""
    chosen = settings(
        max_examples=machines, stateful_step_count=steps, deadline=None, database=None, derandomize=seed is None,
        suppress_health_check=list(HealthCheck), phases=(Phase.generate, Phase.shrink), print_blob=False,
    )  # fmt: skip
    machine = type("Engines", (Engines,), {})
    if seed is not None:
        hypothesis.seed(seed)(machine)
    run_state_machine_as_test(machine, settings=chosen)


@attack("steps", short=800, long=12_000, seconds=(20, 500))
def engines(tries: Tries) -> None:
    """Random sequences of calls: the compiled engine against the reference engine, step by step"""
    seed, length = tries.seed, 25
    tries.begin(0)
    while Engines.steps < tries.size and not tries.out_of_time():
        before = Engines.steps
        try:
            run_machine(10, length, seed)
        except AssertionError as error:
            notes = [note for note in getattr(error, "__notes__", []) if "state." in note]
            tries.begin(seed, f"machines of hypothesis with seed {seed}")
            tries.fail(f"{error} after {' '.join(notes)[-400:]}")
        tries.count(Engines.steps)
        seed += 1 + (Engines.steps == before)
