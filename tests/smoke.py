"""The shortest proof that an installed wheel works; needs NumPy alone, no pytest: python tests/smoke.py"""

import importlib.metadata
import os
import tempfile
from pathlib import Path

import numpy as np

import fastdense as fd
from fastdense.cli import gallery

assert fd.__version__ == importlib.metadata.version("fastdense"), fd.__version__  # the build has written it
x = np.random.RandomState(0).rand(256, 4).astype(np.float32)
y = x @ np.array([[1.0], [-2.0], [0.5], [3.0]], np.float32)

for dtype in ("float32", "float64"):
    model = fd.Model([fd.Dense(16, activation="relu"), fd.Dense(1)], inputs=4, seed=0, dtype=dtype)
    model.compile(optimizer=fd.Adam(1e-2), loss="mse")
    history = model.fit(x, y, epochs=60, verbose=0)
    assert history.history["loss"][-1] < 0.05 * history.history["loss"][0], history.history["loss"]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "net.safetensors"
        model.save(path)
        assert np.array_equal(fd.load(path).predict(x), model.predict(x))

with tempfile.TemporaryDirectory() as folder:
    os.chdir(folder)
    gallery.run("fir", ["--quick"])  # the examples came along
    os.chdir("/")

if os.environ.get("FASTDENSE_CUDA") == "ON":  # what the wheel was built with
    from fastdense import _cuda  # noqa: F401  it loads without a driver
if not fd.cuda.is_available():
    try:
        fd.Model([fd.Dense(1)], inputs=1, device="cuda")
    except fd.cuda.CudaUnavailable as error:
        assert "use device='cpu'" in str(error), error
    else:
        raise AssertionError("a model on a GPU that is not there")

fd.show_versions()
print("smoke test passed")
