"""A surrogate that knows derivatives: the same rows, with and without the gradient of the target.

The price of a call option by Black and Scholes stands for a slow simulation whose adjoint gives the derivatives of its
result by its inputs for little more. A net is trained on prices alone, and on prices and derivatives (fit(..., dy=)),
with equal rows, steps and first values. Its own derivatives, by input_gradient, are the hedge.

    python examples/surrogate.py
"""

import argparse
import math
import time

import numpy as np

import fastdense as fd

parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
parser.add_argument("--quick", action="store_true", help="fewer rows, seeds and steps, for a test")
options = parser.parse_args()
sizes, seeds, steps = ((32, 128), 1, 800) if options.quick else ((32, 64, 128, 256), 2, 2000)

distribution = np.vectorize(lambda z: 0.5 * math.erfc(-z / math.sqrt(2)))


def option(rows, seed):
    """Spot price, volatility and time; the price of a call at strike 1, and its derivative by each of the three."""
    x = np.random.default_rng(seed).uniform([0.5, 0.1, 0.2], [1.5, 0.6, 2.0], size=(rows, 3))
    spot, volatility, years = x.T
    spread = volatility * np.sqrt(years)
    high = np.log(spot) / spread + 0.5 * spread
    delta, bell = distribution(high), np.exp(-0.5 * high**2) / math.sqrt(2 * math.pi)
    price = spot * delta - distribution(high - spread)
    return x, price, np.stack([delta, spot * bell * np.sqrt(years), spot * bell * volatility / (2 * np.sqrt(years))], 1)


x_test, y_test, dy_test = option(2000, 1000)
kinds = ("prices alone", "and derivatives")
errors = {kind: [] for kind in kinds}  # for each size: of prices, of derivatives, medians over seeds
seconds = dict.fromkeys(kinds, 0.0)
for rows in sizes:
    for kind in kinds:
        found = []
        for seed in range(seeds):
            x, y, dy = option(rows, seed)
            model = fd.Model([fd.Normalization(), fd.Dense(64, "tanh"), fd.Dense(64, "tanh"), fd.Dense(1)], inputs=3,
                             seed=seed)  # fmt: skip
            model.compile(fd.Adam(fd.schedules.CosineDecay(0.01, steps)), "mse")
            began = time.perf_counter()
            given = {"dy": dy, "dy_weight": 0.1} if kind == "and derivatives" else {}
            model.fit(x, y, epochs=steps, batch_size=rows, verbose=0, n_threads=1, **given)
            seconds[kind] += time.perf_counter() - began
            away, slope = model.predict(x_test)[:, 0] - y_test, model.input_gradient(x_test) - dy_test
            found.append([np.sqrt(np.mean(away**2)), np.sqrt(np.mean(slope**2))])
        errors[kind].append(np.median(found, axis=0))
        print(f"{rows:4} rows, {kind:16} price {errors[kind][-1][0]:.5f}   derivatives {errors[kind][-1][1]:.5f}")

plain, informed = (np.array(errors[kind]) for kind in kinds)
gain = plain / informed
print(f"\nseconds a net: {', '.join(f'{seconds[kind] / len(sizes) / seeds:.1f} ({kind})' for kind in kinds)}")
print(f"\n{'root mean square error, price':32}{'derivatives':>14}")
print(f"{'':12}alone   informed   ratio    alone   informed   ratio")
for i, rows in enumerate(sizes):
    both = [f"{plain[i, j]:.5f}  {informed[i, j]:.5f}  {gain[i, j]:6.1f}" for j in (0, 1)]
    print(f"{rows:4} rows   {'   '.join(both)}")

try:
    from matplotlib import pyplot as plt
except ImportError:
    print("no picture: matplotlib is not installed (pip install matplotlib)")
else:
    figure, axes = plt.subplots(1, 2, figsize=(9, 3.6), layout="constrained", sharex=True)
    for j, (axis, name) in enumerate(zip(axes, ("price", "derivatives by spot, volatility, time"), strict=True)):
        axis.loglog(sizes, plain[:, j], "o--", color="black", label="trained on prices alone")
        axis.loglog(sizes, informed[:, j], "s-", color="C0", label="and on derivatives")
        axis.set(xlabel="rows", ylabel="root mean square error", title=name)
        axis.set_xticks(sizes, [str(rows) for rows in sizes])
        axis.set_xticks([], minor=True)
    axes[0].legend()
    figure.savefig("surrogate.png", dpi=120)
    print("picture: surrogate.png")
