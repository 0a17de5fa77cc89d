"""`fastdense.plots`: what the pictures hold, what is refused, and that they are readable in black and white."""

from __future__ import annotations

import doctest
import sys
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import fastdense as fd

matplotlib = pytest.importorskip("matplotlib")
from fastdense.plots.base import LINES, MAP  # noqa: E402

Array = NDArray[Any]
RNG = np.random.default_rng(0)
X = RNG.uniform(-1, 1, (60, 2))
Y = (X[:, 0] * X[:, 1] > 0).astype(int)


@pytest.fixture(autouse=True)
def closed() -> Iterator[None]:
    from matplotlib import pyplot

    pyplot.switch_backend("Agg")
    yield
    pyplot.close("all")


def net(*layers: Any, inputs: int = 2) -> fd.Model:
    return fd.Model(list(layers) or [fd.Dense(5, "relu"), fd.Dense(4, "tanh"), fd.Dense(1, "sigmoid")], inputs=inputs)


def luminance(colour: Any) -> float:
    """As a copy in black and white has it (Rec. 601)."""
    return float(np.dot(matplotlib.colors.to_rgb(colour), (0.299, 0.587, 0.114)))


# ---- black and white -------------------------------------------------------------------------------------------------


def test_lines_differ_without_colour() -> None:
    assert len({(one["linestyle"]) for one in LINES}) == len(LINES)
    tones = [luminance(one["color"]) for one in LINES[:2]]  # those that most pictures have
    assert abs(tones[0] - tones[1]) > 0.2


def test_the_map_has_a_luminance_that_tells_the_value() -> None:
    tones = [luminance(colour) for colour in matplotlib.colormaps[MAP](np.linspace(0, 1, 64))]
    assert (np.diff(tones) > 0).all()
    assert tones[0] < 0.2 and tones[-1] > 0.8 and abs(tones[32] - 0.48) < 0.05  # 0 is grey


def test_training_and_validation_differ_in_lines_and_bands() -> None:
    runs = [{"loss": list(RNG.random(5)), "val_loss": list(RNG.random(5))} for _ in range(4)]
    axis = fd.plots.history(runs).axes[0]
    training, validation = axis.lines
    assert training.get_linestyle() != validation.get_linestyle() and training.get_marker() != validation.get_marker()
    hatches = [band.get_hatch() for band in axis.collections]
    assert hatches[:2] == [None, None] and None not in hatches[2:] and len(set(hatches[2:])) == 2


# ---- weights ---------------------------------------------------------------------------------------------------------


def test_weights() -> None:
    model = net(fd.Normalization(), fd.Dense(3, "relu"), fd.Dense(2), inputs=6)
    figure = fd.plots.weights(model)
    shown = [axis for axis in figure.axes if axis.images]
    assert [axis.get_title() for axis in shown] == ["dense: 6 to 3", "dense_1: 3 to 2"]
    kernel = model.get_weights()[2]
    image = shown[0].images[0]
    np.testing.assert_array_equal(image.get_array(), kernel)
    assert image.get_clim()[0] == -image.get_clim()[1] and image.get_cmap().name == MAP
    assert (shown[0].get_xlabel(), shown[0].get_ylabel()) == ("unit", "input")
    assert "weight" in [axis.get_ylabel() for axis in figure.axes]

    axis = fd.plots.weights(model, layer="dense", shape=(2, 3), units=2)
    tiles = axis.images[0].get_array()
    np.testing.assert_array_equal(tiles[:2, :3], kernel[:, 0].reshape(2, 3))
    assert np.ma.count(tiles) == 12 and axis.get_xlabel() == "the first 2 units, 2 x 3 weights each"
    assert fd.plots.weights(model, layer=-1, ax=axis) is axis

    zero = net(fd.Dense(2, kernel_initializer="zeros"))
    assert fd.plots.weights(zero, layer=0).images[0].get_clim() == (-1, 1)
    wrapped = fd.keras.Sequential([fd.keras.Input((2,)), fd.keras.layers.Dense(3, name="dense")])
    assert fd.plots.weights(wrapped).axes[0].get_title() == "dense: 2 to 3"


def test_kernels_of_blocks() -> None:
    block = fd.Branches([[fd.Dense(3)], [fd.Dense(2), fd.Dense(5)]])
    model = net(block, fd.Dense(1), inputs=4)
    shapes = ["4 to 3", "4 to 2", "2 to 5", "8 to 1"]
    for figure, wanted in ((fd.plots.weights(model), shapes), (fd.plots.weights(model, layer=0), shapes[:3])):
        titles = [axis.get_title() for axis in figure.axes if axis.get_title()]
        assert [title.split(": ")[1] for title in titles] == wanted and len(set(titles)) == len(wanted)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"layer": "dens"},
            r"plots\.weights: layer is 'dens'; a number from 0 to 2 or one of activation, dense, dense_1",
        ),
        ({"layer": 3}, r"plots\.weights: layer is 3; a number from 0 to 2"),
        ({"layer": 0}, r"plots\.weights: layer 'activation' has no kernel; one of dense, dense_1 is needed"),
        ({"shape": (2, 4)}, r"plots\.weights: shape \(2, 4\) is 8 inputs; 'dense' has 6"),
        ({"shape": (6,)}, r"plots\.weights: shape is \(6,\); \(height, width\) is needed"),
        ({"units": 0}, r"plots\.weights: units=0 is out of range"),
    ],
)
def test_weights_refuses(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        fd.plots.weights(net(fd.Activation("tanh"), fd.Dense(3), fd.Dense(2), inputs=6), **options)


def test_what_is_no_model_or_no_axes() -> None:
    model = net(fd.Dense(3), fd.Dense(2))
    with pytest.raises(ValueError, match=r"plots\.weights: model is 3; a fastdense\.Model is needed"):
        fd.plots.weights(3)
    with pytest.raises(ValueError, match=r"ax is one Axes, and there are 2 pictures to draw \(dense, dense_1\)"):
        fd.plots.weights(model, ax=fd.plots.weights(model, layer=0))
    with pytest.raises(TypeError, match=r"plots\.weights: ax is 3; an Axes of matplotlib is needed"):
        fd.plots.weights(model, layer=0, ax=3)
    with pytest.raises(ValueError, match="plots.weights: the model has no layer with a kernel"):
        fd.plots.weights(net(fd.Activation("tanh")))


# ---- units -----------------------------------------------------------------------------------------------------------


def test_hyperplanes_and_their_positive_side() -> None:
    model = net(fd.Normalization(), fd.Dense(4, "relu", bias_initializer="random_normal"), fd.Dense(1))
    model.compile("sgd", "mse")
    model.fit(X, Y, verbose=0)
    axis = fd.plots.units(model, X, Y, layer="dense")
    assert axis.get_title() == "dense: where the sums of its 4 units are 0"
    mean, variance, kernel, bias = (np.asarray(one, dtype=np.float64) for one in model.get_weights()[:4])
    found = {one.get_gid(): one for one in axis.collections if one.get_gid()}
    assert found
    for name, drawn in found.items():
        unit = int(name.split()[1])
        slope = kernel[:, unit] / np.sqrt(variance)
        (path,) = [path for path in drawn.get_paths() if len(path.vertices)]
        # the mesh is interpolated linearly, and activations are float32
        assert np.abs((path.vertices - mean) @ slope + bias[unit]).max() < 1e-5
        (ahead_x, ahead_y), angle = np.diff(path.vertices, axis=0)[0], np.radians(60)
        stroke = np.array([ahead_x * np.cos(angle) - ahead_y * np.sin(angle),
                           ahead_x * np.sin(angle) + ahead_y * np.cos(angle)])  # fmt: skip
        assert stroke @ slope > 0
    assert "strokes: the positive side" in axis.get_xlabel() and axis.get_ylabel() == "input 1"
    numbers = {text.get_text() for text in axis.texts}
    assert numbers == {name.split()[1] for name in found}


def test_units_of_a_whole_net() -> None:
    model = net()
    titles = [axis.get_title() for axis in fd.plots.units(model, X, Y).axes if axis.get_title()]
    assert titles == ["dense: where the sums of its 5 units are 0", "dense_2: output",
                      *(f"dense_1: unit {k}" for k in range(4))]  # fmt: skip
    layer = fd.plots.units(model, layer=1)
    assert [axis.get_title() for axis in layer.axes if axis.get_title()] == titles[2:]
    axis = fd.plots.units(model, X, Y, layer=-1)
    shown = axis.collections[0]
    corners = model.predict([[axis.get_xlim()[0], axis.get_ylim()[0]], [axis.get_xlim()[1], axis.get_ylim()[1]]])
    values = shown.get_array().ravel()
    np.testing.assert_allclose([values[0], values[-1]], corners[:, 0], rtol=1e-5)
    markers = {line.get_label(): line.get_marker() for line in axis.lines}
    assert markers == {"class 0": "o", "class 1": "^"}
    few = net(fd.Dense(3, "softmax"))
    regions = fd.plots.units(few, X, np.eye(3)[Y], span=2)
    assert [axis.get_title() for axis in regions.axes] == ["dense: the most probable class"]
    assert regions.axes[0].get_xlim() == (-2, 2) and regions.axes[0].get_legend() is not None


def test_units_of_numbers_and_of_nothing() -> None:
    flat = net(fd.Dense(3, "relu", kernel_initializer="zeros"), fd.Dense(1, kernel_initializer="zeros"))
    figure = fd.plots.units(flat, X, X[:, 0])
    assert "3 have no 0 in here" in figure.axes[0].get_xlabel()
    assert "0\neverywhere" in [text.get_text() for text in figure.axes[1].texts]
    assert fd.plots.units(net(fd.Dense(3), fd.Dense(2)), layer=0).get_xlim() == (-1, 1)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"y": Y}, r"plots\.units: y is given without x; both are needed, or x alone"),
        ({"x": X[:, :1]}, r"plots\.units: x has shape \(60, 1\); \(rows, 2\) with finite numbers is needed"),
        ({"x": X, "y": Y[:3]}, r"plots\.units: x has 60 rows, and y shape \(3,\); as many are needed"),
        ({"x": X, "y": X}, r"plots\.units: y has 2 columns; one is needed, or one-hot classes: choose a column"),
        (
            {"span": (1, 0, 0, 1)},
            r"plots\.units: span is \(1, 0, 0, 1\); a number above 0, or \(low, high, low, high\)",
        ),
        (
            {"layer": "x"},
            r"plots\.units: layer is 'x'; a number from 0 to 2 or one of dense, dense_1",
        ),
    ],
)
def test_units_refuses(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        fd.plots.units(net(), **arguments)


def test_units_needs_two_inputs() -> None:
    with pytest.raises(ValueError, match=r"plots\.units: the model has 3 inputs; two are needed, for a plane"):
        fd.plots.units(net(fd.Dense(1), inputs=3))
    from matplotlib import pyplot

    with pytest.raises(ValueError, match=r"there are 4 pictures to draw \(unit 0, unit 1, .*by layer="):
        fd.plots.units(net(), layer=1, ax=pyplot.subplots()[1])


# ---- history ---------------------------------------------------------------------------------------------------------


def test_bands_of_a_population() -> None:
    model = net()
    model.compile(fd.Adam(0.01), "binary_crossentropy", metrics=["accuracy"])
    population = fd.fit_many(model, X, Y, starts=9, epochs=6, verbose=0, validation_data=(X[:20], Y[:20]))
    figure = fd.plots.history(population, bands=[0.5])
    assert [axis.get_title() for axis in figure.axes] == ["loss", "accuracy"]
    training, validation = figure.axes[0].lines
    np.testing.assert_allclose(training.get_ydata(), np.median(population.history, axis=1))
    assert population.val_history is not None
    np.testing.assert_allclose(validation.get_ydata(), np.median(population.val_history, axis=1))
    np.testing.assert_array_equal(training.get_xdata(), np.arange(1, 7))
    band = figure.axes[0].collections[0].get_paths()[0].vertices
    low, high = np.quantile(population.history, [0.25, 0.75], axis=1)
    assert band[:, 1].min() == pytest.approx(low.min()) and band[:, 1].max() == pytest.approx(high.max())
    labels = [text.get_text() for text in figure.axes[0].get_legend().get_texts()]
    assert labels == ["training, 50% of the runs", "training, median of 9",
                      "validation, 50% of the runs", "validation, median of 9"]  # fmt: skip


def test_runs_of_different_lengths() -> None:
    axis = fd.plots.history([{"loss": [4.0, 2.0, 1.0]}, {"loss": [2.0, float("nan")]}], bands=()).axes[0]
    np.testing.assert_array_equal(axis.lines[0].get_ydata(), [3, 2, 1])
    assert not axis.collections
    again = fd.plots.history({"loss": [3.0, 2.0], "mae": [1.0, 1.0]}, ["mae"], ax=axis)
    assert again is axis and axis.get_title() == "mae"


def test_named_histories_are_compared() -> None:
    one = {"loss": [3.0, 2.0], "val_loss": [4.0, 3.0]}
    figure = fd.plots.history({"a": one, "b": [one, one], "c": {"loss": [1.0]}}, bands=[])
    (axis,) = figure.axes
    assert [line.get_label() for line in axis.lines] == [
        "a", "a, validation", "b, median of 2", "b, validation, median of 2", "c"]  # fmt: skip
    dashes = [line.get_linestyle() for line in axis.lines]
    assert dashes[0] == dashes[1] != dashes[2] == dashes[3] != dashes[4] != dashes[0]
    assert [line.get_marker() for line in axis.lines] == [".", "x", ".", "x", "."]


def test_numbers_of_a_metric_that_is_an_array() -> None:
    figure = fd.plots.history({"per_class": [np.array([1.0, 2.0]), np.array([3.0, 4.0])]})
    assert [axis.get_title() for axis in figure.axes] == ["per_class[0]", "per_class[1]"]
    np.testing.assert_array_equal(figure.axes[1].lines[0].get_ydata(), [2, 4])


def test_history_refuses() -> None:
    record = {"loss": [1.0], "mae": [1.0]}
    with pytest.raises(ValueError, match=r"plots\.history: 'mea' is not in the history; it holds loss, mae\. Did you"):
        fd.plots.history(record, ["mea"])
    with pytest.raises(ValueError, match=r"plots\.history: bands=1 is out of range"):
        fd.plots.history(record, bands=[1])
    with pytest.raises(TypeError, match=r"plots\.history: history is 3; what fit or fit_many returned is needed"):
        fd.plots.history(3)
    axis = fd.plots.history(record, ["loss"]).axes[0]
    with pytest.raises(ValueError, match=r"there are 2 pictures to draw \(loss, mae\); leave ax out .* by keys="):
        fd.plots.history(record, ax=axis)


# ---- classes ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("normalize", [False, True])
def test_confusion_matrix_as_scikit_learns(normalize: bool) -> None:
    sklearn_metrics = pytest.importorskip("sklearn.metrics")
    true, scores = RNG.integers(0, 4, 200), RNG.random((200, 4))
    axis = fd.plots.confusion_matrix(true, scores, normalize=normalize, labels=list("abcd"))
    right = sklearn_metrics.confusion_matrix(true, scores.argmax(axis=1), normalize="true" if normalize else None)
    np.testing.assert_allclose(axis.images[0].get_array(), right)
    texts = [text.get_text() for text in axis.texts]
    assert texts == [f"{one:.0%}" if normalize else str(one) for one in right.ravel()]
    assert (axis.get_xlabel(), axis.get_ylabel()) == ("predicted class", "true class")
    assert [text.get_text() for text in axis.get_yticklabels()] == list("abcd")
    for text in axis.texts:  # every number is read on its cell
        row, column = int(text.get_position()[1]), int(text.get_position()[0])
        cell = axis.images[0].cmap(axis.images[0].norm(axis.images[0].get_array()[row, column]))
        assert abs(luminance(cell) - luminance(text.get_color())) > 0.35


def test_confusion_matrix_of_two_classes_and_of_many() -> None:
    axis = fd.plots.confusion_matrix([0, 1, 1], [[0.2], [0.5], [0.4]])
    assert axis.images[0].get_array().tolist() == [[1, 0], [1, 1]] and axis.get_title() == "66.7% of 3 rows right"
    same = fd.plots.confusion_matrix(np.eye(3)[[0, 2]], [0, 2], ax=axis)
    assert same is axis and axis.images[-1].get_array().shape == (3, 3)
    many = fd.plots.confusion_matrix(np.arange(40), np.arange(40))
    assert not many.texts and many.figure.axes[-1].get_ylabel() == "rows"


@pytest.mark.parametrize("strategy", ["uniform", "quantile"])
@pytest.mark.parametrize("bins", [1, 7, 10])
def test_calibration_curve_as_scikit_learns(strategy: str, bins: int) -> None:
    calibration = pytest.importorskip("sklearn.calibration")
    p = np.append(RNG.beta(0.5, 0.5, 400), [0.0, 1.0, 0.5, 0.1])
    true = (RNG.random(404) < p**1.5).astype(int)
    fraction, mean = calibration.calibration_curve(true, p, n_bins=bins, strategy=strategy)
    axis = fd.plots.calibration_curve(true, p, bins=bins, strategy=strategy)
    x, y = axis.lines[1].get_data()
    np.testing.assert_allclose(x, mean, rtol=1e-12)
    np.testing.assert_allclose(y, fraction, rtol=1e-12)
    counts = [bar.get_height() for bar in axis.figure.axes[1].patches]
    assert sum(counts) == 404 and len(counts) == len(x)
    error = np.sum(counts * np.abs(x - y)) / 404
    assert axis.get_title() == f"expected calibration error {error:.3f}"
    two = fd.plots.calibration_curve(true, np.stack([1 - p, p], axis=1), bins=bins, strategy=strategy)
    np.testing.assert_allclose(two.lines[1].get_xydata(), axis.lines[1].get_xydata(), rtol=1e-12)


def test_calibration_of_several_classes() -> None:
    p = RNG.dirichlet(np.ones(3), 300)
    true = RNG.integers(0, 3, 300)
    axis = fd.plots.calibration_curve(true, p, bins=5)
    sure = p.max(axis=1)
    which = np.minimum((sure * 5).astype(int), 4)
    right = [np.mean((p.argmax(axis=1) == true)[which == b]) for b in range(5) if (which == b).any()]
    np.testing.assert_allclose(axis.lines[1].get_ydata(), right)
    assert axis.get_ylabel() == "fraction predicted right"
    assert axis.lines[0].get_linestyle() != axis.lines[1].get_linestyle()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: fd.plots.confusion_matrix([0, 1], [0]),
            r"plots\.confusion_matrix: y has 2 rows and predictions 1",
        ),
        (lambda: fd.plots.confusion_matrix([0.5], [0]), r"y has the value 0\.5; class ids from 0 are needed"),
        (lambda: fd.plots.confusion_matrix([0, -1], [0, 0]), r"y has the value -1; class ids from 0 are needed"),
        (lambda: fd.plots.confusion_matrix([0], [2.5]), r"predictions are neither class ids nor probabilities; round"),
        (lambda: fd.plots.confusion_matrix([0, 2], [0, 2], labels=["a"]), r"labels has 1 names; there are 3 classes"),
        (
            lambda: fd.plots.calibration_curve([0, 1], [0.1]),
            r"y has 2 rows, and probabilities shape \(1,\)",
        ),
        (
            lambda: fd.plots.calibration_curve([0, 1], [0.1, 3]),
            r"not between 0 and 1; those of a sigmoid",
        ),
        (lambda: fd.plots.calibration_curve([0], [[0.1, 0.1]]), r"the rows of probabilities do not add up to 1"),
        (lambda: fd.plots.calibration_curve([2], [0.1]), r"y has class 2; the probabilities are those of 2 classes"),
        (lambda: fd.plots.calibration_curve([0], [0.1], strategy="even"), r"strategy='even' is not known"),
        (lambda: fd.plots.calibration_curve([0], [0.1], bins=0), r"bins=0 is out of range"),
    ],
)
def test_classes_refuse(call: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()


def test_without_matplotlib(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    message = r": it needs matplotlib, which is not installed; run: pip install 'fastdense\[plot\]'"
    with pytest.raises(ImportError, match=r"plots\.weights" + message):
        fd.plots.weights(net())
    with pytest.raises(ImportError, match=r"plots\.calibration_curve" + message):
        fd.plots.calibration_curve([0, 1], [0.1, 0.9])


@pytest.mark.parametrize("name", fd.plots.__all__)
def test_examples_run(name: str) -> None:
    (test,) = doctest.DocTestFinder(recurse=False).find(getattr(fd.plots, name), name, globs={})
    assert test.examples
    runner = doctest.DocTestRunner()
    runner.run(test)
    assert runner.summarize(verbose=False).failed == 0
