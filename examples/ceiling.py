"""A regression net whose predictions have an upper limit, or are all the same.

The net had tanh (or sigmoid) hidden units and a linear output, and its predictions never exceeded some number. Tanh is
between -1 and 1, so a linear output is between bias - sum |kernel| and bias + sum |kernel|: a small net on large
targets has a low upper limit, which training raises slowly. With ReLU, Adam and an L2 penalty there was no limit, but
all predictions were equal, because the penalty shrank all weights to 0.

    python examples/ceiling.py
"""

import argparse

import numpy as np

import fastdense as fd

parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
parser.add_argument("--quick", action="store_true", help="fewer rows, for a test")
options = parser.parse_args()
rows = 800 if options.quick else 2000
random = np.random.default_rng(0)


def prices(rows):
    """Eight features, and targets distributed like prices: positive, a few of them very large."""
    x = random.normal(size=(rows, 8))
    return x, 20 * np.exp(0.8 * x[:, :1] + 0.4 * x[:, 1:2]) + 5 * np.abs(x[:, 2:3])


x, y = prices(rows)
x_test, y_test = prices(rows)


def r2(model):
    """Coefficient of determination on the test data."""
    return 1 - np.mean((model.predict(x_test) - y_test) ** 2) / y_test.var()


# ---- 1. The upper limit --------------------------------------------------------------------------

tanh = fd.Model([fd.Dense(16, "tanh"), fd.Dense(16, "tanh"), fd.Dense(1)], inputs=8, seed=0)
tanh.compile(fd.SGD(1e-4), "mse")
tanh.fit(x, y, epochs=20, verbose=0)
kernel, bias = tanh.get_weights()[-2:]
ceiling = bias[0] + np.abs(kernel).sum()
above = np.mean(y > ceiling)
print(f"bias + sum |kernel| = {ceiling:.1f}; largest prediction {tanh.predict(x_test).max():.1f}; "
      f"targets go up to {y.max():.0f}, {above:.0%} of them are above it")  # fmt: skip
print("\ntanh.diagnose(x, y):\n")
tanh_report = tanh.diagnose(x, y)
print(tanh_report)

# ---- 2. One prediction for every input -----------------------------------------------------------

l2 = fd.regularizers.l2(1.0)
layers = [fd.Dense(16, "relu", kernel_regularizer=l2), fd.Dense(16, "relu", kernel_regularizer=l2)]
flat = fd.Model([*layers, fd.Dense(1, kernel_regularizer=l2)], inputs=8, seed=0)
flat.compile(fd.Adam(), "mse")
scaled = (y - y.mean()) / y.std()
flat.fit(x, scaled, epochs=100, verbose=0)
spread = flat.predict(x_test).std()
print(f"\nReLU, Adam and L2: the predictions' standard deviation is {spread:.1e} (the targets': 1)")
print("\nflat.diagnose(x, y):\n")
flat_report = flat.diagnose(x, scaled)
print(flat_report)

# ---- 3. Repaired ---------------------------------------------------------------------------------

# ReLU units have no upper limit; the net learns standardized targets, which Rescaling scales back; there is no penalty.
repaired = fd.Model(
    [fd.Dense(16, "relu"), fd.Dense(16, "relu"), fd.Dense(1), fd.Rescaling(y.std(), y.mean())], inputs=8, seed=0
)
repaired.compile(fd.Adam(0.01), "mse")
repaired.fit(x, y, epochs=100, verbose=0)

treatment = flat_report.treat()
treatment.model.fit(x, scaled, **treatment.fit_options, verbose=0)
flat_r2 = 1 - np.mean((treatment.model.predict(x_test) * y.std() + y.mean() - y_test) ** 2) / y_test.var()

largest = f"{tanh.predict(x_test).max():.0f}, targets up to {y_test.max():.0f}"
print(f"""
                            reported by its owner    reproduced here           repaired
largest prediction          a hard upper limit       {largest:26}{repaired.predict(x_test).max():.0f}
R2 on new rows                                       {r2(tanh):<26.3f}{r2(repaired):.3f}
ReLU + L2: predictions      all the same             {f"spread {spread:.0e}":26}R2 {flat_r2:.3f}
""")

try:
    from matplotlib import pyplot as plt
except ImportError:
    print("no picture: matplotlib is not installed (pip install matplotlib)")
else:
    figure, axes = plt.subplots(1, 3, figsize=(12, 3.8), layout="constrained", sharex=True, sharey=True)
    shown = (
        ("tanh, as reported", tanh.predict(x_test)),
        ("ReLU, Adam, L2, as reported", flat.predict(x_test) * y.std() + y.mean()),
        ("ReLU, targets scaled in the net", repaired.predict(x_test)),
    )
    for axis, (title, predicted) in zip(axes, shown, strict=True):
        axis.plot([0, y_test.max()], [0, y_test.max()], color="grey", linewidth=0.8)
        axis.plot(y_test, predicted, ".", markersize=3)
        axis.set(title=title, xlabel="target")
    axes[0].axhline(ceiling, color="tab:red", linestyle=":")
    axes[0].text(y_test.max(), ceiling, "bias + Σ |kernel|", color="tab:red", ha="right", va="bottom")
    axes[0].set(ylabel="prediction")
    figure.savefig("ceiling.png", dpi=120)
    print("picture: ceiling.png")
