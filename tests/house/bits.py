"""Check that a refactoring changes no bit of any result: train many small nets and compare hashes of what they give.

A refactoring moves and renames code but must not change what is computed. The tests compare with tolerances; this
script compares exactly. Each net is trained, trained further, evaluated and used for prediction, and one SHA-256 hash
is taken of its weights, history, metrics, gradients and outputs. This is done for every data type, every instruction
set of this CPU, both paths through the CPU kernels and 1 and 2 threads; most nets also run on the reference engine.

Before the change, with the package built from the old code:    python tests/house/bits.py --out before.json
After it, with the new code built on the same machine:          python tests/house/bits.py --compare before.json

The second command prints every key whose hash differs or is missing, and exits with 1 if there are any. ``--quick``
runs a tenth of the keys. Hashes are comparable only on one machine, with one compiler, NumPy and OpenBLAS, so the file
has no place in the repository. Only public names are used, so that one script runs on the old and on the new code. An
exception, or a weight that is NaN or infinite (equal for too many reasons), is printed and counts as a failure.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import pickle
import re
import subprocess
import sys
import tempfile
import time
import zlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

import fastdense as fd
from fastdense import Activation, Dense, Normalization, Rescaling, Residual, callbacks, losses, regularizers, schedules
from fastdense.initializers import Constant

Array = NDArray[Any]
DTYPES = ("float32", "float64", "bfloat16")
# Values of FASTDENSE_CPU_PATH, the newest first: the code has refused unknown values, or taken them as none at all.
PATHS = {"layerwise": ("layerwise", "wide"), "rowwise": ("rowwise", "narrow")}
NOT_ON_REFERENCE = ("large", "width_513", "many_large", "lm_chunks", "many_arrays")  # slow; the last is refused there
# Cases that also run on nets of 9 times the units: only then has a step enough work for two threads.
SHARED = (
    "optimizer|penalty|loss|bce|cce|sparse|lbfgs$|newton$|.*norm|dropout|residual|probes|precision|validation|solve$"
)


@dataclass
class Case:
    """One net, its data and how it is trained: by `fit`, by `fit_many` if `many` is given, or by a step of its own."""

    layers: list[Any]
    inputs: int = 5
    loss: Any = "mse"
    optimizer: Any = field(default_factory=lambda: fd.Adam(0.01))
    metrics: Any = None
    target: str = "real"
    rows: int = 45
    x: str = "float32"
    weighted: bool = False
    fit: dict[str, Any] = field(default_factory=dict)
    many: dict[str, Any] | None = None
    step: Callable[[fd.Model, Array, Array, int], Any] | None = None
    model: dict[str, Any] = field(default_factory=dict)
    loss_weights: float | None = None
    dtypes: tuple[str, ...] = DTYPES


def saved(model: fd.Model, x: Array, y: Array, threads: int) -> fd.Model:
    model.fit(x, y, verbose=0, n_threads=threads)
    with tempfile.TemporaryDirectory() as folder:
        model.save(f"{folder}/net.safetensors")
        loaded: fd.Model = pickle.loads(pickle.dumps(fd.load(f"{folder}/net.safetensors")))
    return loaded


# fmt: off
def cases(scale: int = 1) -> Iterator[tuple[str, Case]]:
    """All cases, made anew on every call: layers and callbacks remember what they have seen."""
    FULL = DTYPES[:2]
    loss: Any
    penalty: Any

    def D(units: int, *arguments: Any, **options: Any) -> Dense:
        return Dense(scale * units, *arguments, **options)

    def net(*last: Any, **options: Any) -> list[Any]:
        return [D(11, "tanh", **options), D(8, "relu"), *(last or [D(3)])]

    # ---- layers, activations, widths, batches, inputs
    for name in ("linear", "relu", "leaky_relu", "prelu", "relu6", "elu", "selu", "celu", "gelu", "silu", "mish",
                 "softplus", "softsign", "tanh", "sigmoid", "hard_sigmoid", "exponential"):
        spread = Rescaling(0.5 if name == "exponential" else 8.0)  # into all parts of the function
        yield f"activation_{name}", Case([spread, Activation(name), D(9, name), D(17, name), D(3)], metrics="mae")
    alpha = [D(9, Activation("leaky_relu", 0.3)), Activation("elu", 0.5), D(8, Activation("celu", 2.0)), D(2)]
    yield "activation_alpha", Case(alpha)
    for w in (1, 7, 8, 9, 15, 16, 17, 31, 32, 33, 63, 64, 65, 100, 513):
        yield f"width_{w}", Case([D(w, "relu"), D(w, "tanh", use_bias=w % 2 == 0), D(w)], w, rows=37)
    for rows, batch in ((45, 1), (50, 7), (45, 45), (33, 64), (300, 128), (257, 256), (700, 300), (1, 32), (2, 1)):
        yield f"rows_{rows}_batch_{batch}", Case([D(40, "relu"), D(33, "tanh"), D(5)], 20, rows=rows,
                                                 fit={"batch_size": batch, "shuffle": rows != 300})
    yield "unshuffled_whole", Case(net(), rows=90, fit={"batch_size": 90, "shuffle": False, "epochs": 5})
    yield "large", Case([D(512, "relu"), D(512, "relu"), D(10)], 300, rows=520, fit={"batch_size": 512, "epochs": 1})
    yield "deep_classes", Case([D(64, "relu"), D(48, "relu"), D(10, "softmax")], 30, rows=300, target="class",
                               loss="sparse_categorical_crossentropy", fit={"batch_size": 100})
    yield "batch_norm", Case([D(9), fd.BatchNorm(0.9), Activation("relu"), D(8), fd.BatchNorm(), D(2)], rows=70)
    yield "layer_norm", Case([fd.LayerNorm(), D(33, "silu"), fd.LayerNorm(1e-5), D(2)], rows=70, weighted=True)
    yield "dropout", Case([fd.Dropout(0.2), D(30, "relu"), fd.Dropout(0.5), D(20), fd.Dropout(0.1), D(2)], rows=70)
    yield "dropout_last", Case([D(9, "relu"), D(3), fd.Dropout(0.3)], fit={"batch_size": 45})
    block = [fd.LayerNorm(), D(16, "gelu"), fd.Dropout(0.1), Residual([D(16, "prelu"), fd.BatchNorm()]), D(9)]
    yield "residual", Case([D(9), Residual(block), Residual([Activation("tanh")]), D(2)], rows=70)
    yield "normalization", Case([Normalization(), *net()], x="float64", weighted=True)
    yield "rescaling", Case([Rescaling(2.0, -0.5), *net(), Rescaling([1.0, 2.0, 3.0], 0.5)], metrics="r2")
    for kind in ("float64", "uint8", "int64", "strided", "fortran", "bool", "float16"):
        yield f"x_{kind}", Case([Rescaling(1 / 64), *net()], inputs=9, x=kind, rows=50)
    yield "x_uint8_normalized", Case([Normalization(), *net(D(4))], inputs=33, x="uint8", rows=50)
    drawn: list[Any] = ["glorot_uniform", "glorot_normal", "he_uniform", "he_normal", "lecun_uniform", "lecun_normal",
                        "identity", "orthogonal", "random_uniform", "random_normal", "truncated_normal", Constant(0.01)]
    yield "initializers", Case([D(6, "elu", True, kernel, Constant(0.1)) for kernel in drawn])
    yield "initializer_data", Case(net(kernel_initializer="data"))
    for precision in ("tf32", "3xtf32", "bfloat16"):
        yield f"precision_{precision}", Case([D(40, "relu"), D(33), D(3)], 17, model={"precision": precision},
                                             dtypes=("float32",))
    # ---- losses and metrics
    for loss in ("mse", "mae", losses.Huber(0.3), "log_cosh", "mape", losses.Quantile(0.3)):
        name = loss if isinstance(loss, str) else type(loss).__name__.lower()
        yield f"loss_{name}", Case(net(), loss=loss, metrics=["mse", "mae", "mape", "r2"], weighted=True)
        yield f"many_{name}", Case(net(), loss=loss, many={"starts": 5})
    yield "loss_poisson", Case(net(D(2, "softplus")), loss="poisson", target="count", metrics="mse")
    yield "loss_hinge", Case(net(D(2)), loss="hinge", target="sign", weighted=True)
    yield "loss_mse_softmax", Case(net(D(3, "softmax")), target="onehot", metrics=["accuracy", "mae"])
    yield "loss_weights", Case(net(), loss_weights=0.25, metrics="mse", weighted=True)
    rates: list[Any] = ["auc", "precision", "recall", "f1"]
    smooth: dict[str, Any] = {"label_smoothing": 0.1}
    logits: dict[str, Any] = {"from_logits": True}
    for form, sigmoid, softmax, given in (
        ("fused", "sigmoid", "softmax", {}), ("fused_smooth", "sigmoid", "softmax", smooth),
        ("logits", None, None, logits), ("logits_smooth", None, None, logits | smooth),
        ("probabilities", "hard_sigmoid", "softplus", smooth),
    ):
        bce, cce = losses.BinaryCrossentropy(**given), losses.CategoricalCrossentropy(**given)
        sparse = losses.SparseCategoricalCrossentropy(**given)
        for n in (1, 3):
            yield f"bce{n}_{form}", Case(net(D(n, sigmoid)), loss=bce, target="binary", weighted=True,
                                         metrics=["accuracy", fd.metrics.BinaryAccuracy(0.4), *rates])
        for name, loss, target, n in (("cce", cce, "onehot", 4), ("sparse", sparse, "class", 17)):
            yield f"{name}_{form}", Case(net(D(n, softmax)), loss=loss, target=target, weighted=True, rows=61,
                                         metrics=["accuracy", fd.metrics.TopKAccuracy(2), *rates])
            yield f"many_{name}_{form}", Case(net(D(n, softmax)), loss=loss, target=target, many={"starts": 5})
    onehot: dict[str, Any] = {"loss": "categorical_crossentropy", "target": "onehot", "metrics": "accuracy"}
    labels: dict[str, Any] = {"loss": "sparse_categorical_crossentropy", "target": "class", "metrics": "accuracy"}
    yield "cce_activity", Case(net(D(4, "softmax", activity_regularizer="l2")), **onehot)
    yield "cce_layer", Case(net(D(4), Activation("softmax")), **onehot)
    yield "bce_layer", Case(net(D(2), Activation("sigmoid")), loss="bce", target="binary", metrics=["auc", "mse"])
    # ---- optimizers, solvers, regularizers
    fall = schedules.CosineDecay(0.02, 9, alpha=0.1, warmup_target=0.03, warmup_steps=3)
    for i, rule in enumerate((
        fd.SGD(0.05), fd.SGD(0.02, 0.9, clipnorm=0.5), fd.SGD(0.02, 0.9, True), fd.RMSprop(0.01, clipvalue=0.02),
        fd.RMSprop(0.003, momentum=0.5), fd.RMSprop(0.003, momentum=0.5, centered=True, weight_decay=0.1),
        fd.Adagrad(0.05, 0.2), fd.Adadelta(1.0, epsilon=1e-4, global_clipnorm=0.3), fd.Adam(0.01, clipnorm=0.1),
        fd.Adam(0.01, beta_2=0.7, amsgrad=True), fd.AdamW(0.01, 0.05, global_clipnorm=0.2), fd.Nadam(0.01),
        fd.Adam(fall, clipvalue=0.01), fd.Lion(0.002, weight_decay=0.1), fd.Muon(0.02), fd.KFAC(0.02, interval=2),
        fd.Muon(0.01, nesterov=False, rms_rate=None, global_clipnorm=0.5), fd.KFAC(0.01, 0.5, True, clipnorm=0.5),
        fd.SGD(schedules.ExponentialDecay(0.1, 2, 0.5, staircase=True), 0.5),
    )):
        name = f"{i}_{type(rule).__name__.lower()}"
        yield f"optimizer_{name}", Case(net(D(3, "prelu")), optimizer=rule, weighted=True)
        yield f"many_{name}", Case(net(D(3, "prelu")), optimizer=rule, many={"starts": 5})
    yield "muon_norm", Case(net(fd.BatchNorm(), D(3)), optimizer=fd.Muon(0.02, clipnorm=0.5), rows=64)
    yield "kfac_norm", Case(net(fd.LayerNorm(), D(3)), optimizer=fd.KFAC(0.02, interval=3), rows=64)
    l2 = {"kernel_regularizer": "l2", "bias_regularizer": regularizers.l2(0.02)}
    for name, solver in ("lbfgs", fd.LBFGS(4)), ("newton", fd.NewtonCG(cg_steps=12)), ("lm", fd.LevenbergMarquardt()):
        whole: dict[str, Any] = {"optimizer": solver, "dtypes": FULL, "fit": {"batch_size": None, "epochs": 4}}
        yield name, Case([Normalization(), *net(**l2)], weighted=True, rows=150, metrics="r2", **whole)
        yield f"{name}_residual", Case([Residual([D(5, "softplus")]), D(2)], **whole)
        yield f"{name}_chunks", Case([D(200, "softplus"), D(1)], 2, rows=700, **whole)
        yield f"many_{name}", Case(net(**l2), many={"starts": 3, "batch_size": None}, **whole)
        if name != "lm":
            yield f"{name}_softmax", Case(net(D(4, "softmax")), **onehot, **whole)
            yield f"{name}_bce", Case(net(D(2, "sigmoid")), loss="bce", target="binary", **whole)
            yield f"{name}_log_cosh", Case(net(), loss="log_cosh", weighted=True, **whole)
            yield f"{name}_poisson", Case(net(D(2, "softplus")), loss="poisson", target="count", **whole)
    for i, penalty in enumerate((
        "l1", "l2", regularizers.l1_l2(0.01, 0.02), regularizers.orthogonal(0.1), regularizers.repulsion(0.5),
        regularizers.orthogonal(0.1, "columns"), regularizers.l1(0.01) + regularizers.repulsion(0.1),
    )):
        yield f"penalty_{i}", Case([D(9, "relu", kernel_regularizer=penalty), D(12), D(2)])
        yield f"many_penalty_{i}", Case([D(9, "relu", kernel_regularizer=penalty), D(2)], many={"starts": 5})
    sides: dict[str, Any] = {"bias_regularizer": "l1_l2", "activity_regularizer": regularizers.l1_l2(0.01, 0.02)}
    yield "penalty_sides", Case([D(9, "relu", **sides), D(7, None, **sides), D(2)], weighted=True)
    yield "many_sides", Case([D(9, "relu", **sides), D(7, None, **sides), D(2)], many={"starts": 5})
    # ---- what a call of fit can be asked for, and the other calls
    stop = callbacks.EarlyStopping("val_loss", patience=1, restore_best_weights=True)
    plateau = callbacks.ReduceLROnPlateau("loss", 0.5, patience=1, min_delta=0.5)
    yield "validation", Case(net(), metrics="mae", rows=90, fit={"validation_split": 0.3, "epochs": 6,
                                                                 "callbacks": [stop, plateau]})
    hooks = [callbacks.LambdaCallback(on_train_batch_end=lambda batch, logs: None),
             callbacks.LearningRateScheduler(lambda epoch: 0.01 / (1 + epoch))]
    yield "batch_hooks", Case(net(), rows=70, metrics="mse", fit={"callbacks": hooks, "epochs": 3})
    revive = [D(9, "relu", bias_initializer=Constant(-2.0)), D(8, "relu"), D(2)]
    yield "revive", Case(revive, fit={"callbacks": [callbacks.ReviveDeadUnits(every=1)], "epochs": 4})
    yield "class_weight", Case(net(D(3, "softmax")), fit={"class_weight": "balanced"}, **labels)
    yield "probes", Case(net(Residual([D(8, "sigmoid")]), D(2)), fit={"probes": True, "epochs": 5}, rows=70)
    yield "probes_classes", Case(net(D(3, "softmax")), fit={"probes": True}, **labels)
    yield "starts", Case(net(), fit={"starts": 4, "epochs": 12}, weighted=True)
    yield "saved", Case([Normalization(), *net()], step=saved)
    yield "place", Case([Normalization(), *net()], step=lambda m, x, y, n: m.place(x, y))
    for name, units, end in ("solve", 40, []), ("solve_rescaled", 512, [Rescaling(2.0, 1.0)]):
        yield name, Case([D(units, "relu"), D(3), *end], rows=300, weighted=True,
                         step=lambda m, x, y, n: m.place(x).solve_output(x, y, n_threads=n))
    yield "start_on_data", Case([Normalization(), *net()], step=lambda m, x, y, n: fd.start_on_data(m, x, y))
    yield "train_on_batch", Case(net(), metrics="mae", step=lambda m, x, y, n: m.train_on_batch(x, y))
    yield "cross_validate", Case(net(), metrics=["mae", "r2"], step=lambda m, x, y, n: vars(
        fd.cross_validate(m, x, y, folds=3, learning_rate=[0.01, 0.03], n_threads=n)))
    yield "rate_test", Case(net(), step=lambda m, x, y, n: vars(
        fd.learning_rate_test(m, x, y, rates=3, starts=2, n_threads=n)))
    yield "diagnose", Case([D(9, "sigmoid"), D(8, "sigmoid"), D(1, "relu")], step=lambda m, x, y, n: [
        (found.code, found.layer, found.units) for found in m.diagnose(x, y, verify=False).findings])
    # ---- populations
    for starts in (1, 9, 19):
        yield f"many_{starts}", Case([D(3, "tanh"), D(1)], many={"starts": starts, "batch_size": 45, "seed": 7})
    own = {"learning_rate": np.linspace(0.001, 0.05, 9), "penalty": np.linspace(0, 2, 9), "shuffle": "same"}
    yield "many_arrays", Case([D(5, "relu", kernel_regularizer="l1_l2"), D(2)], many=own, weighted=True, dtypes=FULL)
    yield "many_weights", Case(net(), many={"sample_weight": np.random.default_rng(3).random((7, 45))})
    yield "many_stopping", Case(net(), rows=60, many={"starts": 6, "epochs": 9, "callbacks": stop})
    yield "many_revive", Case(revive, many={"starts": 6, "epochs": 6, "callbacks": callbacks.ReviveDeadUnits(2)})
    yield "many_tries", Case([D(3, "tanh"), D(1)], many={"starts": 3, "start": "data", "tries": 4, "epochs": 12})
    first = [np.random.default_rng(9).normal(size=(5, *shape)) for shape in ((5, 3), (3,), (3, 1), (1,))]
    yield "many_initial", Case([D(3), D(1)], many={"initial_weights": first})
    mixed = [Normalization(), D(9, "gelu"), fd.BatchNorm(), Residual([D(9, "prelu"), fd.LayerNorm()]), fd.Dropout(0.2)]
    yield "many_layers", Case([*mixed, D(4, "softmax")], many={"starts": 5}, x="float64", **onehot)
    yield "many_bce", Case(net(D(2, "sigmoid")), loss="bce", target="binary", many={"starts": 5}, x="uint8")
    yield "many_poisson", Case(net(D(2, "exponential")), loss="poisson", target="count", many={"starts": 5})
    yield "many_hinge", Case(net(D(2)), loss="hinge", target="sign", many={"starts": 5})
    yield "many_rows", Case([D(3, "relu"), D(1)], 2, rows=1500, many={"starts": 9, "batch_size": 1500})
    yield "many_large", Case([D(200, "relu"), D(150, "relu"), D(2)], 90, many={"starts": 2, "epochs": 1})
# fmt: on


def cases_for(threads: int) -> Iterator[tuple[str, Case]]:
    """All cases; for several threads also the wider nets whose steps are divided among them."""
    yield from cases()
    for name, case in cases(scale=9) if threads > 1 else ():
        if re.match(SHARED, name):
            fit = {"batch_size": 256, **case.fit}
            yield f"shared_{name}", replace(case, inputs=9 * case.inputs, rows=300, fit=fit)


def data(case: Case, model: fd.Model, seed: int) -> tuple[Array, Array, Array | None]:
    """Rows, targets and sample weights of a case."""
    rng, rows, n = np.random.default_rng([seed, case.rows, case.inputs]), case.rows, model.outputs
    z = rng.normal(size=(rows, 2 * case.inputs))
    x = (0.5 * z[:, : case.inputs]).astype("float32")
    if case.x in ("uint8", "int64", "bool"):
        x = rng.integers(0, 2 if case.x == "bool" else 250, x.shape).astype(case.x)
    elif case.x in ("strided", "fortran"):
        x = np.asfortranarray(x) if case.x == "fortran" else z.astype("float32")[:, ::2]
    else:
        x = x.astype(case.x)
    real, classes = np.sin(z[:, : case.inputs] @ rng.normal(size=(case.inputs, n))), rng.integers(n, size=rows)
    y = {"real": real, "count": np.abs(real) * 3, "sign": np.sign(real), "binary": real > 0}.get(case.target)
    y = y if y is not None else classes if case.target == "class" else np.eye(n)[classes]
    return x, y.astype("int64" if case.target == "class" else "float32"), rng.random(rows) if case.weighted else None


def finite(weights: list[Array]) -> list[Array]:
    if not all(np.isfinite(weight).all() for weight in weights):
        raise ValueError("a weight is NaN or infinite")
    return weights


def results(case: Case, seed: int, threads: int, **options: Any) -> Iterator[Any]:
    """All that a case gives; what depends on time or on wording is left out."""
    model = fd.Model(case.layers, inputs=case.inputs, seed=seed, **options, **case.model)
    model.compile(case.optimizer, case.loss, metrics=case.metrics, loss_weights=case.loss_weights)
    x, y, w = data(case, model, seed)
    yield finite(model.get_weights())
    if case.many is not None:
        given = {"epochs": 2, "batch_size": 16, "sample_weight": w, "seed": seed, **case.many}
        if "callbacks" in given and "val" in getattr(given["callbacks"], "monitor", ""):
            given["validation_data"] = (x[::2], y[::2])
        population = fd.fit_many(model, x, y, verbose=0, n_threads=threads, **given)
        yield finite(population.weights), population.losses, population.history, population.val_history
        yield population.epochs, population.seeds, population.revived, population.best_index
        yield population.predict(x[:3], n_threads=threads), population.evaluate(x[5:], y[5:], n_threads=threads)
        yield population.why_one_by_one == "", population.outcomes().counts
        model, w = population[0], None
    elif case.step is not None:
        made = case.step(model, x, y, threads)
        model = made if isinstance(made, fd.Model) else model
        yield made if model is not made else None
    fit = {"batch_size": 16, "sample_weight": w, "n_threads": threads, "verbose": 0, **case.fit}
    history = model.fit(x, y, **{"epochs": 2, **fit})
    yield history.history, history.epoch, finite(model.get_weights())
    if history.probes is not None:
        yield [history.probes.steps, history.probes.loss, [vars(layer) for layer in history.probes.layers]]
    model.fit(x, y, **{**fit, "epochs": 1, "starts": 1})  # goes on with the optimizer's state
    yield finite(model.get_weights()), model.evaluate(x, y, sample_weight=w, n_threads=threads, return_dict=True)
    yield model.predict(x[:1]), model.predict(x, n_threads=threads), model.activations(x, n_threads=threads)
    for training in (False, True):
        yield model.loss_and_grad(x, y, sample_weight=w, training=training, n_threads=threads)


def feed(digest: Any, value: Any) -> None:
    """Add a value to a hash, with its structure, types and shapes."""
    if isinstance(value, np.ndarray):
        digest.update(f"{value.dtype}{value.shape}".encode() + value.tobytes())
    elif isinstance(value, (dict, list, tuple)):
        digest.update(f"{type(value).__name__}{len(value)}".encode())
        for part in sorted(value.items()) if isinstance(value, dict) else value:
            feed(digest, part)
    elif hasattr(value, "__dict__"):
        feed(digest, vars(value))
    else:
        digest.update(repr(float(value) if isinstance(value, np.floating) else value).encode() + b";")


def job_results(job: dict[str, Any]) -> dict[str, str]:
    """Hashes of the cases of one child process: one data type, instruction set and path."""
    found = {}
    for threads in job["threads"]:
        for name, case in cases_for(threads):
            key = "/".join((name, job["dtype"], job["isa"], job["path"], str(threads)))
            wanted = name in job["only"] if job["only"] else zlib.crc32(key.encode()) % job["every"] == 0
            refused = job["dtype"] not in case.dtypes or (job["device"] == "reference" and name in NOT_ON_REFERENCE)
            if refused or not wanted:
                continue
            digest = hashlib.sha256()
            try:
                for value in results(case, job["seed"], threads, dtype=job["dtype"], device=job["device"]):
                    feed(digest, value)
                found[key] = digest.hexdigest()
            except Exception as error:
                found[key] = f"{type(error).__name__}: {error}"
    return found


def run(job: dict[str, Any], value: str = "") -> dict[str, str]:
    """Run a job in a process of its own: instruction set and path are chosen once in a process."""
    environment = {name: text for name, text in os.environ.items() if not name.startswith(("FASTDENSE_", "OMP_"))}
    environment |= {"OPENBLAS_NUM_THREADS": "1", "FASTDENSE_CPU_PATH": value}  # NumPy's OpenBLAS; ours has one anyway
    if job["device"] == "cpu":
        environment["FASTDENSE_ISA"] = job["isa"]
    command = [sys.executable, "-W", "ignore", __file__, "--job", json.dumps(job)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"{job} ended with {done.returncode}: {done.stderr[-2000:]}")
    found: dict[str, str] = json.loads(done.stdout.splitlines()[-1])
    return found


def failed(text: str) -> bool:
    """Whether there is an error in place of a hash."""
    return not re.fullmatch("[0-9a-f]{64}", text)


def path_values(job: dict[str, Any]) -> dict[str, str]:
    """How this build spells the paths: with its name for one, nets that would take the other by size change bits."""
    found = {"by_size": ""}
    for path, name in (("layerwise", "rows_50_batch_7"), ("rowwise", "large")):
        probe = {**job, "only": [name], "threads": [1]}
        plain = run(probe)
        for value in PATHS[path]:
            given = run(probe, value)
            if given != plain and not any(map(failed, given.values())):
                found[path] = value
                break
        else:
            raise SystemExit(f"FASTDENSE_CPU_PATH: {' or '.join(PATHS[path])} has no effect; add the new name to PATHS")
    return found


def main() -> int:
    """Run all jobs; write, compare, or both."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", help="file to write the hashes to, as JSON")
    parser.add_argument("--compare", help="file of hashes to compare with")
    parser.add_argument("--quick", action="store_true", help="run a tenth of the keys")
    parser.add_argument("--only", nargs="+", default=[], metavar="CASE", help="run these cases alone")
    parser.add_argument("--seed", type=int, default=1, help="of nets and data")
    parser.add_argument("--jobs", type=int, default=len(os.sched_getaffinity(0)), help="processes at a time")
    parser.add_argument("--job", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.job:
        print(json.dumps(job_results(json.loads(arguments.job))))
        return 0
    began, isas = time.perf_counter(), fd.build_config()["isa_available"].split(", ")
    base = {"seed": arguments.seed, "every": 10 if arguments.quick else 1, "only": [], "threads": [1, 2],
            "device": "cpu", "isa": isas[-1], "path": "by_size", "dtype": "float32"}  # fmt: skip
    values = path_values(base)
    base["only"] = arguments.only
    jobs = [{**base, "isa": isa, "path": path, "dtype": dtype}
            for dtype in reversed(DTYPES) for isa in isas for path in ("layerwise", "rowwise")]  # fmt: skip
    jobs += [{**base, "threads": [2]}, {**base, "device": "reference", "isa": "numpy", "path": "-", "threads": [1]}]
    found: dict[str, str] = {}
    with ThreadPoolExecutor(arguments.jobs) as pool:
        for part in pool.map(lambda job: run(job, values.get(job["path"], "")), jobs):
            found |= part
    errors = [f"failed   {key}: {text}" for key, text in found.items() if failed(text)]
    wrong: list[str] = []
    if arguments.compare:
        with open(arguments.compare, encoding="utf-8") as file:
            before: dict[str, str] = json.load(file)
        wrong = [f"differs  {key}" for key in found if found[key] != before.get(key, found[key])]
        wrong += [f"new      {key}" for key in found if key not in before]
        wrong += [f"missing  {key}" for key in before if key not in found and not (arguments.quick or arguments.only)]
    for line in errors + wrong:
        print(line)
    if arguments.out:
        with open(arguments.out, "w", encoding="utf-8") as file:
            json.dump(found, file, indent=0, sort_keys=True)
    names = {key.split("/")[0] for key in found}
    print(f"{len(names)} cases, {len(found)} keys, {len(errors)} failed, {len(wrong)} not as before; "
          f"{', '.join(isas)}; {time.perf_counter() - began:.0f} s")  # fmt: skip
    return int(bool(errors or wrong))


if __name__ == "__main__":
    sys.exit(main())
