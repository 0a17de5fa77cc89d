"""Batch normalization before the activation, after it, or not at all: measured.

Papers, books and forums disagree about its position. Here three dense nets are trained with each of the three variants
from thirty random initializations, with one call per variant, and compared with confidence intervals. Restart i has
the same initial weights in all variants, so the differences are paired, which makes their intervals narrower.

    python examples/batchnorm.py
"""

import argparse
import time

import numpy as np

import fastdense as fd

parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
parser.add_argument("--quick", action="store_true", help="fewer digits and epochs, for a test")
options = parser.parse_args()
starts, epochs, rows = (30, 3, 1000) if options.quick else (30, 10, 5000)

(x, y), (x_test, y_test) = fd.datasets.load_mnist(fallback="digits")


def pooled(images):
    """Mean over blocks of 4 x 4 pixels (MNIST: 7 x 7 of them), between 0 and 1."""
    if images.shape[1] == 28:
        images = images.reshape(-1, 7, 4, 7, 4).mean(axis=(2, 4))
    return images.reshape(len(images), -1) / images.max()


x, y, x_test = pooled(x[:rows]), y[:rows], pooled(x_test)
nets = {"32": [32], "32, 16": [32, 16], "24, 24, 24": [24, 24, 24]}


def block(units, variant):
    dense, relu = fd.Dense(units, kernel_initializer="he_normal"), fd.Activation("relu")
    return {"none": [dense, relu], "before": [dense, fd.BatchNorm(), relu], "after": [dense, relu, fd.BatchNorm()]}[
        variant
    ]


print(f"{len(x)} digits of {x.shape[1]} pixels, {starts} restarts, {epochs} epochs of Adam")
began, accuracy = time.perf_counter(), {}
for name, widths in nets.items():
    for variant in ("none", "before", "after"):
        layers = [layer for units in widths for layer in block(units, variant)]
        model = fd.Model([*layers, fd.Dense(10, activation="softmax")], inputs=x.shape[1])
        model.compile(fd.Adam(0.003), "sparse_categorical_crossentropy")
        pop = fd.fit_many(model, x, y, starts=starts, epochs=epochs, batch_size=32, verbose=0)
        accuracy[name, variant] = 100 * np.mean(pop.predict(x_test).argmax(axis=2) == y_test, axis=1)
print(f"{len(accuracy) * starts} nets in {time.perf_counter() - began:.1f} s")


def interval(values):
    """Mean and half of its 95 % interval (2.05: Student's t for 30 values)."""
    return values.mean(), 2.05 * values.std(ddof=1) / np.sqrt(len(values))


def text(values):
    mean, half = interval(values)
    return f"{mean:.2f} ± {half:.2f}"


print(f"\n{'':16}test accuracy in %, mean of {starts} restarts ± 95 % interval{'':9}paired difference")
print(f"{'hidden layers':16}{'none':18}{'before':18}{'after':22}{'after - before':20}before - none")
verdicts = []
for name in nets:
    none, before, after = (accuracy[name, variant] for variant in ("none", "before", "after"))
    print(f"{name:16}{text(none):18}{text(before):18}{text(after):22}{text(after - before):20}{text(before - none)}")
    mean, half = interval(after - before)
    verdicts.append("after" if mean > half else "before" if mean < -half else "no significant difference")

print(f"""
                              reported by its owner                     reproduced here
which of the two is better    before (the paper), after (others)        {"; ".join(f"{n}: {v}" for n, v in zip(nets, verdicts, strict=True))}
largest difference            opinions differ                           {max(abs(interval(accuracy[n, "after"] - accuracy[n, "before"])[0]) for n in nets):.2f} percentage points
""")  # noqa: E501

try:
    from matplotlib import pyplot as plt
except ImportError:
    print("no picture: matplotlib is not installed (pip install matplotlib)")
else:
    figure, (left, right) = plt.subplots(1, 2, figsize=(11, 3.8), layout="constrained", width_ratios=[1.5, 1])
    for j, variant in enumerate(("none", "before", "after")):
        for i, name in enumerate(nets):
            offsets = i + 0.25 * (j - 1) + np.linspace(-0.07, 0.07, starts)
            mean, half = interval(accuracy[name, variant])
            left.plot(offsets, accuracy[name, variant], ".", color=f"C{j}", alpha=0.4)
            left.errorbar(i + 0.25 * (j - 1), mean, half, fmt="_", color="black", capsize=6, linewidth=1.5)
        left.plot([], [], ".", color=f"C{j}", label={"none": "none"}.get(variant, f"{variant} the ReLU"))
    left.set_xticks(range(len(nets)), nets)
    left.set(xlabel="hidden layers", ylabel="%", title=f"test accuracy of {starts} restarts, means with intervals")
    left.legend()
    for i, name in enumerate(nets):
        mean, half = interval(accuracy[name, "after"] - accuracy[name, "before"])
        right.errorbar(mean, i, xerr=half, fmt="o", color="black", capsize=6)
    right.axvline(0, color="grey", linewidth=0.8)
    right.set_yticks(range(len(nets)), nets)
    right.set(xlabel="percentage points", title="after minus before, paired", ylim=(len(nets) - 0.5, -0.5))
    figure.savefig("batchnorm.png", dpi=120)
    print("picture: batchnorm.png")
