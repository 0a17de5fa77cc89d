"""Write ONNX files of dense nets by other tools: `python -m tests.peers.make_onnx_files FOLDER`.

What is in tests/data/onnx was written by this script, with the inputs and the outputs of each net; the tools and their
versions are in the files (producer). Tools that are not installed are left out.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

Maker = Callable[[Path, Any], Any]  # writes a file for rows, and returns the outputs
MAKERS: dict[str, Maker] = {}
INPUTS = 6


def maker(function: Maker) -> Maker:
    """List a function under its name."""
    MAKERS[function.__name__] = function
    return function


def torch_net(*, gelu: bool) -> Any:
    """A net of PyTorch with moving statistics that are not those of the beginning."""
    import torch
    from torch import nn

    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(INPUTS, 12), nn.BatchNorm1d(12), nn.GELU() if gelu else nn.SiLU(), nn.Dropout(0.2),
                        nn.Linear(12, 8), nn.LayerNorm(8), nn.Hardswish(), nn.Linear(8, 8, bias=False), nn.LeakyReLU(),
                        nn.Linear(8, 3), nn.Softmax(dim=1))  # fmt: skip
    for _ in range(20):
        net(torch.randn(32, INPUTS))
    return net.eval()


def exported(net: Any, path: Path, x: Any, **options: Any) -> Any:
    """The outputs of a module, which is written by PyTorch's exporter."""
    import torch

    given = torch.tensor(x)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(net, (given,), str(path), input_names=["x"], output_names=["y"], **options)
    return net(given).detach().numpy()


@maker
def torch_script_opset_11(path: Path, x: Any) -> Any:
    """The older exporter of PyTorch, with gelu and layer_norm as several nodes."""
    return exported(torch_net(gelu=True), path, x, dynamo=False, opset_version=11, dynamic_axes={"x": {0: "n"}})


@maker
def torch_script_opset_17(path: Path, x: Any) -> Any:
    """The older exporter of PyTorch."""
    return exported(torch_net(gelu=False), path, x, dynamo=False, opset_version=17)


@maker
def torch_dynamo_opset_18(path: Path, x: Any) -> Any:
    """The newer exporter of PyTorch, with its optimizations."""
    return exported(torch_net(gelu=True), path, x, dynamo=True, opset_version=18, external_data=False)


@maker
def torch_dynamo_opset_20(path: Path, x: Any) -> Any:
    """The newer exporter of PyTorch, without its optimizations."""
    return exported(torch_net(gelu=False), path, x, dynamo=True, opset_version=20, optimize=False, external_data=False)


@maker
def torch_residual(path: Path, x: Any) -> Any:
    """A module of PyTorch with skips, halves of its columns and a merge."""
    import torch
    from torch import nn

    class Net(nn.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b, self.c = nn.Linear(INPUTS, INPUTS), nn.Linear(3, 5), nn.Linear(INPUTS + 5, 2)

        def forward(self, x: Any) -> Any:
            x = x + torch.tanh(self.a(x))
            first, second = x[:, :3], x[:, 3:]
            wide = torch.cat([x, torch.relu(self.b(first * second))], dim=1)
            return torch.sigmoid(self.c(wide))

    torch.manual_seed(1)
    return exported(Net().eval(), path, x, dynamo=False, opset_version=17, dynamic_axes={"x": {0: "n"}})


def from_sklearn(path: Path, x: Any, estimator: Any) -> Any:
    """The outputs of an estimator, which is written by skl2onnx."""
    from skl2onnx import to_onnx

    path.write_bytes(to_onnx(estimator, x[:1]).SerializeToString())
    outputs = estimator.predict_proba(x) if hasattr(estimator, "predict_proba") else estimator.predict(x)
    return np.asarray(outputs).reshape(len(x), -1).astype(np.float32)


def fitted(estimator: Any, x: Any, y: Any) -> Any:
    """The estimator after a few steps."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return estimator.fit(x, y)


@maker
def sklearn_three_classes(path: Path, x: Any) -> Any:
    """skl2onnx, with the nodes that give labels."""
    from sklearn.neural_network import MLPClassifier

    mlp = MLPClassifier(hidden_layer_sizes=(9, 4), activation="tanh", max_iter=5, random_state=0)
    return from_sklearn(path, x, fitted(mlp, x, np.arange(len(x)) % 3))


@maker
def sklearn_two_classes(path: Path, x: Any) -> Any:
    """skl2onnx, of a single sigmoid, from which it makes two probabilities."""
    from sklearn.neural_network import MLPClassifier

    mlp = MLPClassifier(hidden_layer_sizes=(7,), max_iter=5, random_state=0)
    return from_sklearn(path, x, fitted(mlp, x, np.array(["no", "yes"])[np.arange(len(x)) % 2]))


@maker
def sklearn_scaled_regressor(path: Path, x: Any) -> Any:
    """skl2onnx, with a scaler in front."""
    from sklearn.neural_network import MLPRegressor
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    mlp = MLPRegressor(hidden_layer_sizes=(8, 8), activation="logistic", max_iter=5, random_state=0)
    return from_sklearn(path, x, fitted(make_pipeline(StandardScaler(), mlp), x, x[:, 0]))


@maker
def keras_export(path: Path, x: Any) -> Any:
    """Keras's own export (with KERAS_BACKEND=torch; with others it needs tf2onnx)."""
    import keras
    from keras import layers

    keras.utils.set_random_seed(0)
    net = keras.Sequential([keras.Input((INPUTS,)), layers.Dense(9, "relu"), layers.BatchNormalization(),
                            layers.Dense(5, "silu"), layers.Dense(2, "softmax")])  # fmt: skip
    y = net.predict(x, verbose=0)
    net.export(str(path), format="onnx", verbose=False)
    return y


def plain(data: bytes) -> bytes:
    """A file without notes on where in what program each node comes from."""
    import onnx

    model = onnx.ModelProto.FromString(data)
    del model.metadata_props[:]
    for one in (*model.graph.node, *model.graph.value_info, *model.graph.input, *model.graph.output):
        del one.metadata_props[:]
        one.ClearField("doc_string")
    return model.SerializeToString()


def main() -> None:
    """Write all files."""
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    x = np.random.default_rng(0).normal(0, 1.5, (24, INPUTS)).astype(np.float32)
    for name, make in MAKERS.items():
        path = folder / f"{name}.onnx"
        try:
            y = make(path, x)
        except ImportError as error:
            print(f"{name}: left out, {error}")
            continue
        path.write_bytes(plain(path.read_bytes()))
        np.savez(folder / f"{name}.npz", x=x, y=y)
        print(f"{name}: {path.stat().st_size} bytes")


if __name__ == "__main__":
    main()
