"""`Ensemble`: the weighted mean of its members in whatever way it is asked for, its selection, files and refusals."""

from __future__ import annotations

import copy
import doctest
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fastdense as fd
from fastdense.layers.preprocessing import Preprocessing
from fastdense.model import files
from fastdense.population import ensemble as module
from fastdense.population import population as population_module

Array = Any
RNG = np.random.default_rng(0)
X = RNG.normal(size=(60, 4)).astype(np.float32)
CODES = np.concatenate([RNG.integers(0, 3, (60, 1)), X[:, 1:]], axis=1).astype(np.float32)
TARGETS: dict[str, Array] = {
    "mse": X[:, :2] * X[:, 2:],
    "sparse_categorical_crossentropy": (X[:, 0] > 0).astype(np.int64) + (X[:, 1] > 0),
    "binary_crossentropy": (X[:, :1] > X[:, 1:2]).astype(np.float32),
}
OUTPUTS = {"mse": 2, "sparse_categorical_crossentropy": 3, "binary_crossentropy": 1}
ACTIVATION = {"mse": "linear", "sparse_categorical_crossentropy": "softmax", "binary_crossentropy": "sigmoid"}
FORMS = [(loss, logits) for loss in TARGETS for logits in (False, True) if loss != "mse" or not logits]
# a mean of float32 outputs is rounded to float32 once, and those of a row alone and of a block differ by some roundings
CLOSE = {"rtol": 1e-5, "atol": 1e-6}


def member(
    loss: str = "mse", width: int = 6, seed: int = 0, logits: bool = False, front: tuple[Any, ...] = (), **options: Any
) -> fd.Model:
    """A compiled model, with weights as they are drawn."""
    layers = [*front, fd.Dense(width, "tanh"), fd.Dense(OUTPUTS[loss], "linear" if logits else ACTIVATION[loss])]
    model = fd.Model(layers, inputs=4, seed=seed, **options)
    model.compile("adam", {"class_name": loss, "config": {"from_logits": True}} if logits else loss,
                  metrics=["mae", "r2"] if loss == "mse" else ["accuracy", "auc"])  # fmt: skip
    return model


def three(loss: str = "mse", **options: Any) -> list[fd.Model]:
    return [member(loss, width, width, **options) for width in (5, 6, 9)]


def probabilities(model: fd.Model, x: Array) -> Array:
    """What a model predicts, float64, as probabilities for a cross-entropy; written once more."""
    made = model.predict(x).astype(np.float64)
    if not model.loss.from_logits:
        return made
    if model.loss.over_classes:
        e = np.exp(made)
        return e / e.sum(axis=1, keepdims=True)
    return 1 / (1 + np.exp(-made))


# ---- the mean ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("loss", "logits"), FORMS)
@pytest.mark.parametrize("weights", [None, [1, 2, 5]])
def test_the_mean_of_the_members(device: str, weights: Any, loss: str, logits: bool) -> None:
    models = three(loss, logits=logits, device=device)
    if logits:
        models[1] = member(loss, seed=4, device=device)  # of whatever form, they give probabilities
    made = fd.Ensemble(models, weights)
    w = np.ones(3) / 3 if weights is None else np.array(weights) / 8
    each = np.stack([probabilities(model, X) for model in models])
    mean = np.einsum("i,ijk->jk", w, each)
    std = np.sqrt(np.einsum("i,ijk->jk", w, (each - mean) ** 2))
    np.testing.assert_allclose(made.predict(X), mean, **CLOSE)
    predicted, deviation = made.predict(X, return_std=True)
    np.testing.assert_allclose(predicted, mean, **CLOSE)
    np.testing.assert_allclose(deviation, std, **CLOSE)
    assert predicted.dtype == deviation.dtype == models[0].predict(X).dtype
    np.testing.assert_array_equal(made.weights, w)
    assert made.members == models and list(made) == models and len(made) == 3
    assert (made.inputs, made.outputs, made.device) == (4, OUTPUTS[loss], device)
    for row in (X[:1], X[:1].astype(np.float64), X[:1].tolist()):
        np.testing.assert_allclose(made.predict(row), mean[:1], **CLOSE)
        np.testing.assert_allclose(made.predict(row, return_std=True)[1], std[:1], **CLOSE)


def test_a_single_member_is_that_model() -> None:
    model = member(dtype="float64")
    np.testing.assert_array_equal(fd.Ensemble([model]).predict(X), model.predict(X))
    mean, std = fd.Ensemble([model, model]).predict(X, return_std=True)
    np.testing.assert_array_equal(mean, model.predict(X))
    assert (std == 0).all()


def test_members_of_two_dtypes() -> None:
    models = [member(dtype="float64"), member(seed=1)]
    made = fd.Ensemble(models).predict(X)
    assert made.dtype == np.float64
    np.testing.assert_allclose(made, (models[0].predict(X) + models[1].predict(X).astype(np.float64)) / 2, rtol=1e-12)


@pytest.mark.parametrize("weights", [None, [1, 2, 5]])
def test_quantiles_over_the_members(weights: Any) -> None:
    models, q = three(), [0.0, 0.2, 0.5, 0.9, 1.0]
    repeated = [model for model, times in zip(models, weights or [1, 1, 1], strict=True) for _ in range(times)]
    expected = np.quantile(np.stack([model.predict(X) for model in repeated]), q, axis=0, method="inverted_cdf")
    made = fd.Ensemble(models, weights)
    np.testing.assert_array_equal(made.quantiles(X, q), expected)
    np.testing.assert_array_equal(made.quantiles(X, 0.5), expected[2])


@pytest.mark.parametrize("hidden", [6, 300])  # row by row, and layer by layer
def test_the_same_bits_at_any_number_of_threads(hidden: int) -> None:
    x = np.random.default_rng(1).normal(size=(3000, 4))
    made = fd.Ensemble([member(width=hidden, seed=seed) for seed in range(3)])
    one = made.predict(x, n_threads=1)
    for threads in (2, 3):
        np.testing.assert_array_equal(made.predict(x, n_threads=threads), one)
    y = np.zeros((3000, 2))
    chosen = [fd.Ensemble.select(list(made), x, y, n_threads=threads) for threads in (1, 2)]
    assert chosen[0].members == chosen[1].members
    np.testing.assert_array_equal(chosen[0].weights, chosen[1].weights)


def test_blocks_of_rows_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    made = fd.Ensemble(three(dtype="float64"))
    whole = made.predict(X, return_std=True)
    monkeypatch.setattr("fastdense.layers.preprocessing.BLOCK_ELEMENTS", 7 * 6)
    for ours, theirs in zip(made.predict(X, return_std=True), whole, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-12, atol=1e-15)
    in_blocks = made.evaluate(X, TARGETS["mse"])
    monkeypatch.undo()
    np.testing.assert_allclose(in_blocks, made.evaluate(X, TARGETS["mse"]), rtol=1e-12)


def test_rows_are_encoded_once_for_equal_layers_in_front(monkeypatch: pytest.MonkeyPatch) -> None:
    fronts = [(fd.OneHot(0, [0, 1, 2]), fd.Log1p(columns=5)), (fd.OneHot(0, [0, 1]),)]
    models = [member(front=fronts[i], seed=seed) for seed, i in enumerate((0, 1, 0, 0))]
    expected = np.mean([model.predict(CODES).astype(np.float64) for model in models], axis=0)
    calls: list[int] = []
    encode = Preprocessing.encode
    monkeypatch.setattr(Preprocessing, "encode", lambda self, x: (calls.append(len(x)), encode(self, x))[1])
    made = fd.Ensemble(models)
    np.testing.assert_allclose(made.predict(CODES), expected, **CLOSE)
    assert len(calls) == 3  # both layers of the first front, and the one of the second
    np.testing.assert_allclose(made.predict(CODES[:1]), expected[:1], **CLOSE)


def test_statistics_taken_from_data_and_members_trained_further() -> None:
    models = three(front=(fd.Normalization(),))
    made = fd.Ensemble(models)
    for model in models:
        model.fit(X * 5 + 3, TARGETS["mse"], verbose=0)
    np.testing.assert_allclose(
        made.predict(X), np.mean([model.predict(X).astype(np.float64) for model in models], axis=0), **CLOSE
    )


# ---- evaluation and selection --------------------------------------------------------------------------------------


@pytest.mark.parametrize(("loss", "logits"), FORMS)
def test_one_member_is_evaluated_as_the_model(loss: str, logits: bool) -> None:
    model, w = member(loss, logits=logits), np.random.default_rng(2).uniform(0, 2, 60)
    made = fd.Ensemble([model])
    for weights in (None, w):
        ours = made.evaluate(X, TARGETS[loss], sample_weight=weights, return_dict=True)
        theirs = model.evaluate(X, TARGETS[loss], sample_weight=weights, return_dict=True)
        assert list(ours) == list(theirs)
        assert ours == pytest.approx(theirs, rel=1e-5)
        assert made.evaluate(X, TARGETS[loss], sample_weight=weights) == list(ours.values())
    model.compile("adam", model.loss, loss_weights=3.0)
    assert made.evaluate(X, TARGETS[loss]) == pytest.approx(model.evaluate(X, TARGETS[loss]), rel=1e-5)


@pytest.mark.parametrize("loss", TARGETS)
def test_a_population_chooses_as_its_models(loss: str) -> None:
    y = TARGETS[loss]
    population = fd.fit_many(member(loss), X[:40], y[:40], starts=6, epochs=40, learning_rate=0.01, verbose=0)
    w = np.random.default_rng(2).uniform(0, 2, 20)
    for given, weights in (("mae" if loss == "mse" else "accuracy", None), (None, None), (None, w)):
        made = population.ensemble(X[40:], y[40:], metric=given, sample_weight=weights, size=10)
        same = fd.Ensemble.select(population, X[40:], y[40:], metric=given, sample_weight=weights, size=10)
        assert type(made) is fd.Ensemble and type(made.members[0]) is fd.Model
        assert [model.seed for model in made] == [model.seed for model in same]
        np.testing.assert_array_equal(made.weights, same.weights)
    best = min(population.evaluate(X[40:], y[40:], sample_weight=w))
    assert made.evaluate(X[40:], y[40:], sample_weight=w, return_dict=True)["loss"] <= best * (1 + 1e-6)


def test_label_smoothing_is_for_training() -> None:
    loss, x, y = "sparse_categorical_crossentropy", X, TARGETS["sparse_categorical_crossentropy"]
    plain = member(loss)
    smooth = plain.clone()
    smooth.compile("adam", fd.losses.SparseCategoricalCrossentropy(label_smoothing=0.3), metrics=plain.metrics)
    smooth.set_weights(plain.get_weights())
    assert fd.Ensemble([smooth]).evaluate(x, y) == fd.Ensemble([plain]).evaluate(x, y)
    population = fd.fit_many(plain, x[:40], y[:40], starts=4, label_smoothing=[0, 0.5, 0.1, 0], epochs=30, verbose=0)
    made = population.ensemble(x[40:], y[40:])
    np.testing.assert_array_equal(made.weights, fd.Ensemble.select(population, x[40:], y[40:]).weights)


def test_snapshots_are_candidates() -> None:
    """Members that were better before are chosen as by `select` from models with the weights of their best epochs."""
    y = TARGETS["mse"]
    models = [member(width=width, seed=width, logits=False) for width in (5, 9, 9)]
    population = fd.fit_many(models, X[:40], y[:40], learning_rate=[1.0, 0.1, 0.05], epochs=12, snapshots=2,
                             validation_data=(X[40:], y[40:]), verbose=0)  # fmt: skip
    assert all(len(own) == 2 for own in population.snapshots)
    candidates = list(population)
    for i, own in enumerate(population.snapshots):
        for _, value, weights in own:
            candidates.append(population[i])
            candidates[-1].set_weights(weights)
            assert fd.Ensemble(candidates[-1:]).evaluate(X[40:], y[40:])[0] == pytest.approx(value, rel=1e-5)
    made, same = population.ensemble(X[40:], y[40:]), fd.Ensemble.select(candidates, X[40:], y[40:])
    np.testing.assert_array_equal(made.weights, same.weights)
    for ours, theirs in zip(made, same, strict=True):
        for mine, its in zip(ours.get_weights(), theirs.get_weights(), strict=True):
            np.testing.assert_array_equal(mine, its)
    best = min(value for own in population.snapshots for _, value, _ in own)
    assert made.evaluate(X[40:], y[40:])[0] <= best * (1 + 1e-6) < population.evaluate(X[40:], y[40:]).min()


def test_members_of_different_kinds_are_refused() -> None:
    population = fd.fit_many(
        [member_of_two(loss) for loss in ("mse", "binary_crossentropy")], X, X[:, :2] > 0, verbose=0
    )
    with pytest.raises(ValueError, match=r"^ensemble: models\[0\] gives values and models\[1\] a probability for each"):
        population.ensemble(X, X[:, :2] > 0)


def member_of_two(loss: str) -> fd.Model:
    model = fd.Model([fd.Dense(2, "sigmoid")], inputs=4)
    model.compile("adam", loss)
    return model


def test_selection_weights() -> None:
    """A constant 0 and a constant 1 for the target 3/4: the mean is right with weights 1/4 and 3/4."""
    models = []
    for constant in (0.0, 1.0):
        models.append(member())
        models[-1].set_weights([0 * w for w in models[-1].get_weights()[:-1]] + [np.full(2, constant)])
    y = np.full((60, 2), 0.75)
    made = fd.Ensemble.select(models, X, y, size=32)
    assert made.members == models
    np.testing.assert_array_equal(made.weights, [0.25, 0.75])
    first = np.r_[np.ones(30), np.zeros(30)]
    y[30:] = 0.0
    np.testing.assert_array_equal(fd.Ensemble.select(models, X, y, sample_weight=first).weights, [0.25, 0.75])
    assert fd.Ensemble.select(models, X, y, sample_weight=1 - first).members == [models[0]]


# ---- copies and files ----------------------------------------------------------------------------------------------


@pytest.fixture
def mixed() -> fd.Ensemble[fd.Model]:
    models = [
        member(front=(fd.OneHot(0, [0, 1, 2]), fd.Normalization())),
        member(width=9, dtype="float64"),
        member(front=(fd.OneHot(0, [0, 1, 2]),), seed=2),
    ]
    for model in models:
        model.fit(CODES, TARGETS["mse"], verbose=0)
    return fd.Ensemble(models, [0.1, 0.2, 0.4])


def identical(one: fd.Ensemble[fd.Model], other: fd.Ensemble[fd.Model]) -> None:
    np.testing.assert_array_equal(one.weights, other.weights)
    for rows in (CODES, CODES[:1]):
        for ours, theirs in zip(one.predict(rows, return_std=True), other.predict(rows, return_std=True), strict=True):
            np.testing.assert_array_equal(ours, theirs)
    assert one.evaluate(CODES, TARGETS["mse"]) == other.evaluate(CODES, TARGETS["mse"])
    assert repr(one) == repr(other)
    assert [m.get_config() for m in one] == [m.get_config() for m in other]
    assert [m.get_compile_config() for m in one] == [m.get_compile_config() for m in other]


def test_copies_and_files_are_the_same_to_the_last_bit(mixed: fd.Ensemble[fd.Model], tmp_path: Path) -> None:
    identical(pickle.loads(pickle.dumps(mixed)), mixed)
    identical(copy.deepcopy(mixed), mixed)
    mixed.save(tmp_path / "all")
    loaded = fd.load(tmp_path / "all")
    assert type(loaded) is fd.Ensemble and type(loaded.members[0]) is fd.Model
    identical(loaded, mixed)
    loaded.members[0].fit(CODES, TARGETS["mse"], verbose=0)
    config, tensors = files.read(tmp_path / "all")
    assert {name.split("/")[0] for name in tensors} == {"member_0", "member_1", "member_2"}
    assert not any("optimizer" in name for name in tensors) and len(config["members"]) == 3


def test_devices(mixed: fd.Ensemble[fd.Model], tmp_path: Path) -> None:
    mixed.save(tmp_path / "all")
    loaded = fd.load(tmp_path / "all", device="reference")
    assert loaded.device == "reference" and all(model.device == "reference" for model in loaded)
    np.testing.assert_allclose(loaded.predict(CODES), mixed.predict(CODES), **CLOSE)
    assert mixed.to("reference") is mixed and mixed.device == "reference"
    np.testing.assert_array_equal(loaded.predict(CODES), mixed.predict(CODES))


def rewritten(path: Path, change: Any) -> str:
    """Change config or tensors of a file, and return what `load` says to it."""
    config, tensors = files.read(path)
    change(config, tensors)
    files.write(path, config, tensors)
    with pytest.raises(ValueError, match=r"^load: '.*' cannot be loaded: ") as caught:
        fd.load(path)
    return str(caught.value).split(" cannot be loaded: ")[1]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda c, t: c.update(members=[]), "members is no list of 1 to 100,000 models"),
        (lambda c, t: c.update(members={"0": 1}), "members is no list of 1 to 100,000 models"),
        (lambda c, t: c.update(members=[{}] * 100_001), "members is no list of 1 to 100,000 models"),
        (lambda c, t: c["members"].pop(), "'member_2'"),
        (lambda c, t: c["members"].append(c["members"][0]), "there is no tensor 'weights.0.normalization.mean'"),
        (lambda c, t: c["members"].__setitem__(1, 7), "'int' object is not subscriptable"),
        (lambda c, t: c["members"][1].update(compile=None), "Ensemble: models[1] is not compiled; "),
        (lambda c, t: c["members"][1]["model"].update(inputs=2**40), "Model: a net of 9,895,604,650,013 parameters "),
        (lambda c, t: c["members"][1]["model"].update(inputs=5), "tensor 'weights.0.dense.kernel' has shape (4, 9)"),
        (lambda c, t: t.pop("member_2/weights.0.dense.kernel"), "there is no tensor 'weights.0.dense.kernel'"),
        (lambda c, t: t.update(odd=np.zeros(1)), "'odd'"),
        (lambda c, t: c.pop("weights"), "'weights'"),
        (lambda c, t: c.update(weights=None), "weights is no list"),
        (lambda c, t: c.update(weights=[0.5, 0.5]), "Ensemble: weights holds 2 numbers"),
        (lambda c, t: c.update(weights=[0.5, 0.5, 0.5]), "the weights do not sum to 1"),
        (lambda c, t: c.update(weights=[0.5, 0.5, float("nan")]), "Ensemble: weights[2]=nan is out of range"),
        (lambda c, t: c.update(weights=[1.5, 0.5, -1.0]), "Ensemble: weights[2]=-1.0 is out of range"),
        (lambda c, t: c.update(weights=[0.5, 0.25, "0.25"]), "Ensemble: weights[2]='0.25' is of type str"),
    ],
)  # fmt: skip
def test_files_that_describe_no_ensemble(
    mixed: fd.Ensemble[fd.Model], tmp_path: Path, change: Any, message: str
) -> None:
    mixed.save(tmp_path / "all")
    said = rewritten(tmp_path / "all", change)
    assert said.startswith("it does not describe a model (") and message in said


def test_a_file_of_an_ensemble_is_no_model(mixed: fd.Ensemble[fd.Model], tmp_path: Path) -> None:
    mixed.save(tmp_path / "all")
    with pytest.raises(ValueError, match=r"cannot be loaded: it holds an ensemble, and one model is needed; give a f"):
        mixed.members[0].load_weights(tmp_path / "all")


def test_objects_of_ones_own_are_not_saved(tmp_path: Path) -> None:
    class Own(fd.losses.MeanSquaredError):
        pass

    models = three()
    models[1].compile("adam", Own())
    with pytest.raises(ValueError, match="save: .* holds an object of a class of your own"):
        fd.Ensemble(models).save(tmp_path / "all")
    assert not (tmp_path / "all").exists()


# ---- output and refusals -------------------------------------------------------------------------------------------


def test_summary_and_repr() -> None:
    made, said = fd.Ensemble(three(), [1, 1, 2]), list[str]()
    made.summary(print_fn=said.append)
    assert repr(made) == "<Ensemble of 3 models, 4 -> 2, 146 parameters on cpu>" and made.count_params() == 146
    assert said[0].splitlines() == [
        "Ensemble: 3 models",
        "--------------------------------------------",
        "Member                      Weight   Param #",
        "--------------------------------------------",
        "0: model (4 -> 5 -> 2)        0.25        37",
        "1: model (4 -> 6 -> 2)        0.25        44",
        "2: model (4 -> 9 -> 2)         0.5        65",
        "--------------------------------------------",
        "Total params: 146",
    ]


def wide() -> fd.Model:
    model = fd.Model([fd.Dense(2)], inputs=5)
    model.compile("adam", "mse")
    return model


X_NAN = np.where(np.arange(4) == 1, np.nan, X)
REFUSED: dict[str, tuple[Any, type[Exception], str]] = {
    "no models": (
        lambda: fd.Ensemble([]),
        ValueError,
        "Ensemble: models is empty. Give at least one compiled model.",
    ),
    "a model": (
        lambda: fd.Ensemble(member()),  # type: ignore[arg-type]
        TypeError,
        "Ensemble: models=<Model 'model' 4 -> 6 -> 2, 44 parameters, float32 on cpu> is of type Model. Give "
        "a list of compiled models.",
    ),
    "other things": (
        lambda: fd.Ensemble([member(), "net"]),  # type: ignore[list-item]
        TypeError,
        "Ensemble: models[1] is of type str. Give compiled models.",
    ),
    "not compiled": (
        lambda: fd.Ensemble([member(), fd.Model([fd.Dense(2)], inputs=4)]),
        ValueError,
        "Ensemble: models[1] is not compiled; its loss says what its outputs mean: call compile with the "
        "loss that it was trained with",
    ),
    "other inputs": (
        lambda: fd.Ensemble([member(), wide()]),
        ValueError,
        "Ensemble: models[0] has inputs=4 and models[1] inputs=5; all must have the same",
    ),
    "other devices": (
        lambda: fd.Ensemble([member(), member(device="reference")]),
        ValueError,
        "Ensemble: models[0] has device='cpu' and models[1] device='reference'; all must have the same",
    ),
    "other outputs": (
        lambda: fd.Ensemble([member(), member("binary_crossentropy")]),
        ValueError,
        "Ensemble: models[0] has outputs=2 and models[1] outputs=1; all must have the same",
    ),
    "other kind": (
        lambda: fd.Ensemble([member(), member_of_two("binary_crossentropy")]),
        ValueError,
        "Ensemble: models[0] gives values and models[1] a probability for each output (losses "
        "'mean_squared_error' and 'binary_crossentropy'); a mean needs outputs of one kind: make one "
        "ensemble of each kind",
    ),
    "weights": (
        lambda: fd.Ensemble(three(), [1, 2]),
        ValueError,
        "Ensemble: weights holds 2 numbers; one for each of 3 models is needed",
    ),
    "weight 0": (
        lambda: fd.Ensemble(three(), [1, 0, 2]),
        ValueError,
        "Ensemble: weights[1]=0 is out of range. Give a finite number above 0.",
    ),
    "one weight": (
        lambda: fd.Ensemble(three(), 1),
        TypeError,
        "Ensemble: weights=1 is of type int. Give a list of numbers, one for each model.",
    ),
    "misspelt": (
        lambda: fd.Ensemble(three(), weigths=[1]),  # type: ignore[call-arg]
        TypeError,
        "Ensemble: unknown argument 'weigths'. Did you mean 'weights'? It takes models, weights.",
    ),
    "columns": (
        lambda: fd.Ensemble(three()).predict(X[:, :3]),
        ValueError,
        "predict: x has 3 columns, shape (60, 3); a dense net needs (rows, 4): give the model inputs=3, or "
        "pass 4 columns",
    ),
    "not finite": (
        lambda: fd.Ensemble(three()).predict(X_NAN[:1]),
        ValueError,
        "predict: x[0, 1] is nan; finite numbers are needed: drop or fill such rows; "
        "np.isfinite(x).all(axis=1) marks the good ones",
    ),
    "threads": (
        lambda: fd.Ensemble(three()).predict(X, n_threads=0),
        ValueError,
        "predict: n_threads=0 is out of range. Give a whole number, at least 1.",
    ),
    "a flag": (
        lambda: fd.Ensemble(three()).predict(X, return_std=2),  # type: ignore[arg-type]
        TypeError,
        "predict: return_std=2 is of type int. Give True or False.",
    ),
    "a quantile": (
        lambda: fd.Ensemble(three()).quantiles(X, [0.5, 2]),
        ValueError,
        "quantiles: q[1]=2 is out of range. Give a finite number at least 0 and at most 1.",
    ),
    "no quantile": (
        lambda: fd.Ensemble(three()).quantiles(X, []),
        ValueError,
        "quantiles: q is empty; at least one number from 0 to 1 is needed",
    ),
    "quantile as text": (
        lambda: fd.Ensemble(three()).quantiles(X, "half"),
        TypeError,
        "quantiles: q='half' is of type str. Give a finite number at least 0 and at most 1.",
    ),
    "size": (
        lambda: fd.Ensemble.select(three(), X, TARGETS["mse"], size=0),
        ValueError,
        "select: size=0 is out of range. Give a whole number, at least 1.",
    ),
    "rows": (
        lambda: fd.Ensemble.select(three(), X, TARGETS["mse"][:9]),
        ValueError,
        "select: x_val has 60 rows and y_val has 9 rows; one target per row is needed: x_val and y_val must "
        "be cut from the same table",
    ),
    "no weight": (
        lambda: fd.Ensemble.select(three(), X, TARGETS["mse"], sample_weight=np.zeros(60)),
        ValueError,
        "select: sample_weight is 0 for all rows; at least one row must count",
    ),
    "metric": (
        lambda: fd.Ensemble.select(three(), X, TARGETS["mse"], metric="accurracy"),
        ValueError,
        "select: metric='accurracy' is no metric and no loss. Use one of 'mse', 'mae', ",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refused(case: str) -> None:
    call, error, message = REFUSED[case]
    with pytest.raises(error) as caught:
        call()
    if case == "metric":
        assert str(caught.value).startswith(message)
    else:
        assert str(caught.value) == message


def test_no_model_with_finite_outputs() -> None:
    models = three()
    for model in models:
        model.set_weights([np.full(w.shape, np.inf) for w in model.get_weights()])
    message = (
        "select: no model has a finite value on x_val; one at least is needed: check the training, and whether the "
        "metric is defined for these targets"
    )
    with pytest.raises(ValueError) as caught:
        fd.Ensemble.select(models, X, TARGETS["mse"])
    assert str(caught.value) == message


@pytest.mark.parametrize("part", [module, population_module], ids=lambda m: str(m.__name__))
def test_examples_run(part: Any) -> None:
    found = doctest.testmod(part)
    assert found.attempted and not found.failed
