"""Numbers of nets of PyTorch, without PyTorch."""

from __future__ import annotations

import numpy as np
import pytest

import fastdense as fd

RANDOM = np.random.default_rng(0)
STATE = {
    "net.0.weight": RANDOM.normal(size=(5, 3)).astype(np.float32),
    "net.0.bias": RANDOM.normal(size=5).astype(np.float32),
    "net.1.weight": RANDOM.uniform(0.5, 1.5, 5).astype(np.float32),
    "net.1.bias": RANDOM.normal(size=5).astype(np.float32),
    "net.1.running_mean": RANDOM.normal(size=5).astype(np.float32),
    "net.1.running_var": RANDOM.uniform(0.5, 1.5, 5).astype(np.float32),
    "net.1.num_batches_tracked": np.array(3),
    "net.3.weight": RANDOM.normal(size=(2, 5)).astype(np.float32),
}


def test_layers_and_outputs() -> None:
    model = fd.from_torch(STATE, activation="tanh", output_activation="sigmoid", name="state")
    layers = [fd.Dense(5), fd.BatchNorm(0.9, 1e-5), fd.Activation("tanh"), fd.Dense(2, "sigmoid", use_bias=False)]
    assert model.layers == layers and model.name == "state" and model.dtype == "float32"
    x = RANDOM.normal(size=(7, 3))
    z = x @ STATE["net.0.weight"].T + STATE["net.0.bias"]
    z = (z - STATE["net.1.running_mean"]) / np.sqrt(STATE["net.1.running_var"] + 1e-5)
    z = np.tanh(z * STATE["net.1.weight"] + STATE["net.1.bias"])
    np.testing.assert_allclose(model.predict(x), 1 / (1 + np.exp(-z @ STATE["net.3.weight"].T)), rtol=1e-5)


def test_double_precision_stays() -> None:
    wide = {name: value.astype(np.float64) for name, value in STATE.items()}
    assert fd.from_torch(wide, activation="relu").dtype == "float64"


def test_refusals() -> None:
    with pytest.raises(ValueError, match="^from_torch: module is a mapping of numbers, which does not say what activ"):
        fd.from_torch(STATE)
    with pytest.raises(ValueError, match=r"^from_torch: the mapping holds 0\.weight; weights and biases of Linear"):
        fd.from_torch({"0.weight": np.zeros((3, 3, 3))}, activation="relu")
    with pytest.raises(ValueError, match=r"^from_torch: 1\.weight has shape \(2, 4\); 3 columns reach it"):
        fd.from_torch({"0.weight": np.zeros((3, 3)), "1.weight": np.zeros((2, 4))}, activation="relu")
    with pytest.raises(TypeError, match=r"^from_torch: module is 3; a torch\.nn\.Module or its state_dict\(\) is"):
        fd.from_torch(3)
    with pytest.raises(ValueError, match="^from_torch: module holds no layer; a net has at least one"):
        fd.from_torch({}, activation="relu")
