"""|x + iy| by three ReLU units: a pyramid, or, far more often, a worse local minimum.

Two inputs, three ReLU units, one output: enough to approximate a cone by an upside-down pyramid of six sides. With the
optimizers and ReLU variants of Keras, single trainings mostly ended in a local minimum. Here a thousand restarts are
one call, so the questions can be answered with statistics:

1. how often a random initialization fails, and why (a dead unit, or two equal units);
2. what helps: units spread over the data, short tries, reinitialization of dead units, repulsion;
3. the success rate for every combination of ReLU variant x optimizer x initialization x number of units.

    python examples/pyramid.py            # a minute; 256 restarts for each cell of the table
    python examples/pyramid.py --full     # 1000 restarts for each cell, and slower activations
"""

import argparse
import csv
import time

import numpy as np

import fastdense as fd

parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
parser.add_argument("--quick", action="store_true", help="fewer restarts and a small table, for a test")
parser.add_argument("--full", action="store_true", help="1000 restarts, 3000 steps and 10 activations in the table")
options = parser.parse_args()
starts, steps = (256, 2000) if options.quick else (1000, 6000)

random = np.random.default_rng(0)
x = random.uniform(-1, 1, (1024, 2))
y = np.hypot(x[:, :1], x[:, 1:])


def net(units=3, activation="relu", start="glorot_uniform", penalty=None, optimizer=None):
    hidden = fd.Dense(units, activation, kernel_initializer=start, kernel_regularizer=penalty)
    model = fd.Model([hidden, fd.Dense(1)], inputs=2)
    model.compile(optimizer or fd.Adam(0.01), "mse")
    return model


# ---- 1 and 2: a thousand restarts of the reported net, and with remedies -------------------------

settings = {"starts": starts, "epochs": steps, "batch_size": len(x), "verbose": 0}
revive = [fd.callbacks.ReviveDeadUnits()]
remedies = {
    "as reported (Glorot)": (net(), {}),
    "He's initializer": (net(start="he_normal"), {}),
    "revive dead units": (net(), {"callbacks": revive}),
    "repulsion between units": (net(penalty=fd.regularizers.repulsion(0.01)), {}),
    "units over the data": (net(), {"start": "data"}),
    "... and best of 16 tries": (net(), {"start": "data", "tries": 16, "callbacks": revive}),
}
began = time.perf_counter()
populations = {name: fd.fit_many(model, x, y, **settings, **extra) for name, (model, extra) in remedies.items()}
best = min(pop.losses.min() for pop in populations.values())
outcomes = {name: pop.outcomes(reference=best) for name, pop in populations.items()}
print(f"{len(remedies)} x {starts} restarts, {steps} steps of Adam each: {time.perf_counter() - began:.1f} s\n")
print(outcomes["as reported (Glorot)"], "\n")


def wilson(successes, n):
    """95 % interval of a fraction (Wilson, 1927)."""
    fraction, z2 = successes / n, 1.96**2
    centre, half = fraction + z2 / (2 * n), 1.96 * np.sqrt(fraction * (1 - fraction) / n + z2 / (4 * n * n))
    return (centre - half) / (1 + z2 / n), (centre + half) / (1 + z2 / n)


def rate(successes, n):
    low, high = wilson(successes, n)
    return f"{successes / n:6.1%} ({low:.1%} to {high:.1%})"


# ---- 3: every activation x optimizer x initialization x units ------------------------------------

activations = ["relu", "leaky_relu", "prelu", "relu6", "elu", "selu"]
widths, cell_starts, cell_steps = [3, 4, 6, 12], 256, 600
if options.quick:
    activations, widths, cell_starts = activations[:2], [3, 6], 32
if options.full:
    activations, cell_starts, cell_steps = [*activations, "celu", "silu", "mish", "gelu"], 1000, 3000


def decaying(learning_rate):
    """Large steps first, small ones at the end, so that every optimizer converges."""
    return fd.schedules.CosineDecay(learning_rate, cell_steps)


optimizers = {  # with the best of several learning rates for relu
    "SGD": fd.SGD(decaying(0.2), momentum=0.9),
    "RMSprop": fd.RMSprop(decaying(0.03)),
    "Adagrad": fd.Adagrad(decaying(0.3)),
    "Adadelta": fd.Adadelta(decaying(20.0)),
    "Adam": fd.Adam(decaying(0.05)),
    "AdamW": fd.AdamW(decaying(0.05), weight_decay=1e-4),
    "Nadam": fd.Nadam(decaying(0.05)),
    "Lion": fd.Lion(decaying(0.02)),
}
if options.quick:
    optimizers = {name: optimizers[name] for name in ("SGD", "Adam")}
initializations = {"Glorot": "glorot_uniform", "He": "he_normal", "data": "glorot_uniform"}

# Few points suffice if they cover the square evenly: x_i = (i a, i b) modulo 1 with powers of the plastic number.
sample = 2 * ((np.arange(128)[:, None] * [0.7548776662466927, 0.5698402909980532] + 0.5) % 1) - 1
sample_y = np.hypot(sample[:, :1], sample[:, 1:])
goal = (
    1.1
    * fd.fit_many(net(), sample, sample_y, starts=64, epochs=3000, batch_size=128, start="data", verbose=0).losses.min()
)

began = time.perf_counter()
table = {}
for activation in activations:
    for initialization, initializer in initializations.items():
        for optimizer_name, optimizer in optimizers.items():
            for units in widths:
                pop = fd.fit_many(
                    net(units, activation, initializer, optimizer=optimizer),
                    sample,
                    sample_y,
                    starts=cell_starts,
                    epochs=cell_steps,
                    batch_size=len(sample),
                    start="data" if initialization == "data" else "random",
                    verbose=0,
                )
                table[activation, initialization, optimizer_name, units] = int(np.sum(pop.losses <= goal))
seconds = time.perf_counter() - began
if not options.quick:  # every cell with its interval
    with open("pyramid.csv", "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["activation", "initialization", "optimizer", "units", "restarts", "successes", "low", "high"])
        for key, successes in table.items():
            writer.writerow([*key, cell_starts, successes, *(f"{v:.3f}" for v in wilson(successes, cell_starts))])


def pooled(**wanted):
    """Success rate over all cells with these values."""
    names = ("activation", "initialization", "optimizer", "units")
    cells = [n for key, n in table.items() if all(key[names.index(k)] == v for k, v in wanted.items())]
    return rate(sum(cells), cell_starts * len(cells))


print(
    f"{len(table)} cells of {cell_starts} restarts x {cell_steps} full steps on {len(sample)} points: {seconds:.0f} s"
)
print("A restart succeeds if its loss is at most 10 % above that of the pyramid of six sides:\n")
print(f"{'':14}{'3 units':28}{'all numbers of units'}")
for key, values in {"initialization": initializations, "optimizer": optimizers, "activation": activations}.items():
    for value in values:
        print(f"{value:14}{pooled(**{key: value}, units=3):28}{pooled(**{key: value})}")
for units in widths:
    print(f"{f'{units} units':14}{'':28}{pooled(units=units)}")

plain, repaired = outcomes["as reported (Glorot)"], outcomes["... and best of 16 tries"]
rows = {
    "converged": ("find the pyramid", "occasionally"),
    "dead units": ("stuck with a dead unit", "usually"),
    "duplicate units": ("stuck with two equal", "less often"),
}
print(f"\n{'':26}{'reported by its owner':25}{'reproduced here':28}repaired")
for kind, (text, reported) in rows.items():
    before, after = (rate(found.counts.get(kind, 0), starts) for found in (plain, repaired))
    print(f"{text:26}{reported:25}{before:28}{after}")
print(f"{'optimizers, ReLU variants':26}{'make little difference':25}{'see the table':28}initialization does\n")
for name, found in outcomes.items():
    print(f"{name:28}{rate(found.counts.get('converged', 0), starts)}")

# ---- the figure ----------------------------------------------------------------------------------

try:
    from matplotlib import pyplot as plt
except ImportError:
    print("no picture: matplotlib is not installed (pip install matplotlib)")
else:
    figure = plt.figure(figsize=(16, 10), layout="constrained")
    above, below = figure.subfigures(2, 1, height_ratios=[1, 1.15])
    left, right = above.subfigures(1, 2, width_ratios=[2, 1.3])
    mesh = np.stack(np.meshgrid(*[np.linspace(-1, 1, 61)] * 2), axis=-1)
    pop = populations["as reported (Glorot)"]
    for i, kind in enumerate(k for k in ("converged", "dead units", "duplicate units") if k in plain.representatives):
        member = plain.representatives[kind]
        axis = left.add_subplot(1, 3, i + 1, projection="3d")
        heights = pop[member].predict(mesh.reshape(-1, 2)).reshape(61, 61)
        axis.plot_surface(mesh[..., 0], mesh[..., 1], heights, cmap="viridis", rcount=61, ccount=61, linewidth=0)
        title = {"converged": "the pyramid", "dead units": "a local minimum: dead unit"}.get(
            kind, "a local minimum: equal units"
        )
        axis.set(title=f"{title}\nseed {member}, mse {pop.losses[member]:.2g}", zlim=(-0.2, 1.5))
        axis.view_init(28, -60)
    axis, bottom = right.subplots(), np.zeros(len(outcomes))
    colours = {"converged": "tab:green", "dead units": "tab:red", "duplicate units": "tab:orange", "plateau": "silver",
               "constant": "tab:blue", "moving": "tab:purple", "diverged": "black"}  # fmt: skip
    for kind in dict.fromkeys(kind for found in outcomes.values() for kind in found.counts):
        values = np.array([100 * found.counts.get(kind, 0) / starts for found in outcomes.values()])
        axis.barh(list(outcomes), values, left=bottom, label=kind, color=colours[kind])
        bottom += values
    axis.invert_yaxis()
    axis.set(xlabel=f"% of {starts} restarts", title="outcomes, before and after", xlim=(0, 100))
    axis.legend(ncols=3, fontsize="small", loc="upper center", bbox_to_anchor=(0.5, -0.16))
    axis = below.subplots()
    rows = [(a, p) for a in activations for p in initializations]
    columns = [(o, u) for o in optimizers for u in widths]
    rates = np.array([[100 * table[a, p, o, u] / cell_starts for o, u in columns] for a, p in rows])
    image = axis.imshow(rates, cmap="RdYlGn", vmin=0, vmax=100, aspect="auto")
    axis.set_yticks(range(len(rows)), [f"{a}, {p}" for a, p in rows], fontsize="small")
    axis.set_xticks(range(len(columns)), [str(u) for _, u in columns], fontsize="small")
    for i, name in enumerate(optimizers):
        axis.text((i + 0.5) * len(widths) - 0.5, -0.8, name, ha="center", va="bottom")
        axis.axvline(i * len(widths) - 0.5, color="white", linewidth=2)
    for i in range(len(activations)):
        axis.axhline(i * len(initializations) - 0.5, color="white", linewidth=2)
    below.suptitle(f"% of {cell_starts} restarts that succeed: activation and initialization x optimizer and units")
    axis.set_xlabel("units")
    figure.colorbar(image, ax=axis, pad=0.01)
    figure.savefig("pyramid.png", dpi=100)
    print("picture: pyramid.png")
