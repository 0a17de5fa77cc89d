"""Intervals that hold, and a curve that only rises.

Noise that grows with x: the intervals of three quantiles in one net, the same after calibrate, and those of a net that
was trained on squares and calibrated. What is promised, 90 %, is counted on new rows. Then 40 noisy rows of a rising
curve, learned by nets that may do anything, and by nets that may only rise.

    python examples/intervals.py
"""

import argparse

import numpy as np

import fastdense as fd

parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
parser.add_argument("--quick", action="store_true", help="fewer tables, for a test")
options = parser.parse_args()
tables = 4 if options.quick else 20
levels = [0.05, 0.5, 0.95]


def noisy(rows, random):
    x = random.uniform(0, 1, (rows, 1))
    return x, np.sin(6 * x[:, 0]) + (0.05 + 0.6 * x[:, 0] ** 2) * random.normal(size=rows)


def trained(end, loss, x, y, seed):
    model = fd.Model([fd.Normalization(), fd.Dense(32, "tanh"), fd.Dense(32, "tanh"), end], inputs=1, seed=seed)
    model.compile(fd.Adam(fd.schedules.CosineDecay(0.01, 800)), loss)
    model.fit(x, y, epochs=100, batch_size=50, verbose=0)
    return model


kinds = ("quantiles", "quantiles, calibrated", "squares, calibrated")
grid, shown = np.linspace(0, 1, 201)[:, None], {}
counted = {kind: [] for kind in kinds}  # of each table: covered, covered where x is below 1/2 and above, mean width
for seed in range(tables):
    random = np.random.default_rng(seed)
    x, y = noisy(400, random)
    kept, kept_y = noisy(200, random)
    new, new_y = noisy(2000, random)
    for kind in kinds:
        quantile = kind != kinds[2]
        end, loss = (fd.Ascending(3), fd.losses.Quantile(levels)) if quantile else (fd.Dense(1), "mse")
        model = trained(end, loss, x, y, seed)
        if kind != kinds[0]:
            model.calibrate(kept, kept_y)
        lower, upper = model.predict_interval(new, coverage=0.9)
        inside = (lower[:, 0] <= new_y) & (new_y <= upper[:, 0])
        calm = new[:, 0] < 0.5
        counted[kind].append([inside.mean(), inside[calm].mean(), inside[~calm].mean(), (upper - lower).mean()])
        if seed == 0:
            shown[kind] = model.predict_interval(grid, coverage=0.9)


def curve(x):
    return np.tanh(8 * (x - 0.3)) + np.tanh(20 * (x - 0.75))


away = {"free": [], "rising": []}
falls = {"free": 0, "rising": 0}
curves = {}
fine = np.linspace(0, 1, 401)[:, None]
for seed in range(tables):
    random = np.random.default_rng(100 + seed)
    few = random.uniform(0, 1, (40, 1))
    few_y = curve(few[:, 0]) + 0.4 * random.normal(size=40)
    for kind in away:
        layers = [fd.Normalization(), fd.Dense(32, "relu"), fd.Dense(32, "relu"), fd.Dense(1)]
        model = fd.Model(layers, inputs=1, seed=seed, monotonic=[1] if kind == "rising" else None)
        model.compile(fd.Adam(fd.schedules.CosineDecay(0.01, 1000)), "mse")
        model.fit(few, few_y, epochs=500, batch_size=20, verbose=0)
        made = model.predict(fine)[:, 0]
        away[kind].append(np.sqrt(np.mean((made - curve(fine[:, 0])) ** 2)))
        falls[kind] += int((np.diff(made) < -1e-5).sum())
        curves.setdefault(kind, made)
    if seed == 0:
        points = few, few_y

print(f"{'90 % intervals':24}covered   where x < 1/2   where x > 1/2   mean width")
for kind in kinds:
    covered, calm, wild, width = np.mean(counted[kind], axis=0)
    print(f"{kind:24}{covered:7.1%}   {calm:13.1%}   {wild:13.1%}   {width:10.2f}")
print(f"\n{'40 noisy rows':24}root mean square error   steps down, of 400")
for kind in away:
    print(f"{kind:24}{np.mean(away[kind]):22.3f}   {falls[kind] / tables:18.1f}")

try:
    from matplotlib import pyplot as plt
except ImportError:
    print("no picture: matplotlib is not installed (pip install matplotlib)")
else:
    figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.6), layout="constrained")
    x, y = noisy(400, np.random.default_rng(0))
    left.plot(x[:, 0], y, ".", color="0.7", markersize=3)
    for kind, style in zip(kinds[1:], ("C0-", "C1--"), strict=True):
        for i, edge in enumerate(shown[kind]):
            left.plot(grid[:, 0], edge[:, 0], style, label=None if i else kind)
    left.set(xlabel="x", ylabel="y", title="intervals of 90 %")
    left.legend()
    right.plot(points[0][:, 0], points[1], "o", color="0.7", markersize=4)
    right.plot(fine[:, 0], curve(fine[:, 0]), ":", color="black", label="the curve")
    right.plot(fine[:, 0], curves["free"], "C1--", label="learned, free")
    right.plot(fine[:, 0], curves["rising"], color="C0", label="learned, monotonic=[1]")
    right.set(xlabel="x", title="40 rows of a rising curve")
    right.legend()
    figure.savefig("intervals.png", dpi=120)
    print("picture: intervals.png")
