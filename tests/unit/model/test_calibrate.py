"""Temperature scaling: the best factor of the logits, and what it leaves as it is."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fastdense as fd

KINDS: dict[str, tuple[str, Any, int]] = {
    "sparse": ("softmax", "sparse_categorical_crossentropy", 3),
    "one_hot": ("softmax", "categorical_crossentropy", 3),
    "logits": ("linear", fd.losses.CategoricalCrossentropy(from_logits=True), 3),
    "binary": ("sigmoid", "binary_crossentropy", 2),
}


def too_sure(kind: str, device: str) -> tuple[fd.Model, Any, Any]:
    """A net that learned noisy labels by heart, and other rows."""
    rng = np.random.default_rng(0)
    last, loss, outputs = KINDS[kind]
    x = rng.normal(size=(400, 4))
    ids = np.where(rng.random(400) < 0.3, rng.integers(0, 3, 400), x[:, :3].argmax(axis=1))
    y = ids if kind == "sparse" else np.eye(3)[ids][:, :outputs]
    model = fd.Model([fd.Dense(64, "relu"), fd.Dense(outputs, last)], inputs=4, dtype="float64", device=device)
    model.compile(fd.Adam(0.02), loss)
    model.fit(x[:150], y[:150], epochs=60, verbose=0)
    return model, x[150:], y[150:]


@pytest.mark.parametrize("kind", KINDS)
def test_the_temperature_is_the_best_one(kind: str, device: str) -> None:
    model, x, y = too_sure(kind, device)
    before, order = model.evaluate(x, y, verbose=0), model.predict(x).argmax(axis=1)
    temperature = model.calibrate(x, y)
    after = model.evaluate(x, y, verbose=0)
    assert temperature > 1.2 and after < before
    if kind != "binary":
        np.testing.assert_array_equal(model.predict(x).argmax(axis=1), order)
    assert model.calibrate(x, y) == pytest.approx(1, abs=1e-6)  # nothing is left to gain
    weights = model.get_weights()
    for factor in (0.99, 1.01):
        model.set_weights([*weights[:2], factor * weights[2], factor * weights[3]])
        assert model.evaluate(x, y, verbose=0) > after


def calibration_error(p: Any, ids: Any) -> float:
    """The expected calibration error: by how much the surest class is right more or less often than it says."""
    sure, right = p.max(axis=1), p.argmax(axis=1) == ids
    bins = np.minimum((10 * sure).astype(int), 9)
    return float(sum(abs((sure - right)[bins == b].sum()) for b in range(10)) / len(p))


def test_the_calibration_error_falls_on_other_rows() -> None:
    model, x, y = too_sure("sparse", "cpu")
    before = calibration_error(model.predict(x[125:]), y[125:])
    model.calibrate(x[:125], y[:125])
    after = calibration_error(model.predict(x[125:]), y[125:])
    assert before > 0.2 and after < before / 2  # 125 rows: a perfect one has about 0.07, by chance


def test_files_have_it(tmp_path: Path) -> None:
    model, x, y = too_sure("sparse", "reference")
    model.calibrate(x, y)
    model.save(tmp_path / "net.safetensors")
    np.testing.assert_array_equal(fd.load(tmp_path / "net.safetensors").predict(x), model.predict(x))
    pytest.importorskip("onnx", reason="onnx is not installed")
    model.to_onnx(tmp_path / "net.onnx")
    # probabilities in float32: logits of up to 30 after two sums of at most 64 terms
    np.testing.assert_allclose(fd.from_onnx(tmp_path / "net.onnx").predict(x), model.predict(x), atol=1e-4)


def test_what_it_refuses() -> None:
    x, y = np.array([[1.0], [-1.0]]), np.array([[1.0], [0.0]])
    model = fd.Model([fd.Dense(1, "sigmoid", kernel_initializer="ones")], inputs=1, device="reference")
    model.compile("sgd", "hinge")
    with pytest.raises(
        ValueError, match="calibrate: the loss is 'hinge'; a loss of numbers is needed.*or, for probabilities, a cross-"
    ):
        model.calibrate(x, y)
    model.compile("sgd", "binary_crossentropy")
    with pytest.raises(ValueError, match="calibrate: all rows are classified without a doubt; no temperature"):
        model.calibrate(x, y)
    with pytest.raises(ValueError, match="calibrate: the net is wrong more often than right"):
        model.calibrate(x, 1 - y)
    model = fd.Model([fd.Dense(1), fd.Activation("sigmoid")], inputs=1, device="reference")
    model.compile("sgd", "binary_crossentropy")
    with pytest.raises(ValueError, match=r"calibrate: the last layer is Activation.*a Dense with activation='sigmoid'"):
        model.calibrate(x, y)
