"""The loss starts at 6.98 and ends at 3.24, whatever is changed.

A net written from scratch for MNIST: leaky ReLU inside, ten sigmoid outputs, binary cross-entropy summed over them.
Its owner changed the learning rate, layers, units and activations, and always saw the same two losses. They explain
themselves:

- 10 ln 2 = 6.93 is what a net pays that says 1/2 ten times;
- 10 H(0.1) = 3.25 is what it pays for saying the class frequencies, 0.1 each, whatever the picture.

So it learned to say the frequencies and nothing else: nothing of the picture arrives at the output. That happens if
the weights start at 0 (or all alike), and then no learning rate and no activation helps.

    python examples/plateau.py
"""

import argparse

import numpy as np

import fastdense as fd

parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
parser.add_argument("--quick", action="store_true", help="fewer digits, for a test")
options = parser.parse_args()
rows = 3000 if options.quick else 20000

(x, y), (x_test, y_test) = fd.datasets.load_mnist(fallback="digits")
x, x_test = (part.reshape(len(part), -1) / x.max() for part in (x[:rows], x_test))
y = np.eye(10)[y[: len(x)]]

frequency = y.mean(axis=0)
half = 10 * np.log(2)
frequencies = -np.sum(frequency * np.log(frequency) + (1 - frequency) * np.log(1 - frequency))


def net(activation="leaky_relu", start="zeros"):
    hidden = [fd.Dense(units, activation, kernel_initializer=start) for units in (64, 32)]
    output = fd.Dense(10, "sigmoid", kernel_initializer=start, bias_initializer=fd.initializers.RandomNormal(0, 0.2))
    return fd.Model([*hidden, output], inputs=x.shape[1], seed=15)


def train(model, rate, epochs=15):
    """The loss before and after each epoch. Keras's is the mean over the outputs, the owner's their sum: ten times."""
    model.compile(fd.SGD(rate), "binary_crossentropy", metrics=["categorical_accuracy"])
    before = 10 * model.evaluate(x, y, verbose=0)[0]
    history = model.fit(x, y, batch_size=32, epochs=epochs, verbose=0).history
    return [before, *(10 * np.array(history["loss"]))]


print(f"{len(x)} digits. Saying 1/2 costs {half:.2f}, saying the frequencies {frequencies:.2f}.\n")
print(f"{'hidden layers':16}{'learning rate':16}{'first loss':>10}{'last loss':>12}")
for activation, rate in (("leaky_relu", 0.3), ("leaky_relu", 1.0), ("relu", 1.0), ("sigmoid", 1.0)):
    losses = train(net(activation), rate, epochs=5)
    print(f"{activation:16}{rate:<16}{losses[0]:>10.2f}{losses[-1]:>12.2f}")

stuck = net()
stuck_losses = train(stuck, 0.3)

print("\nmodel.diagnose(x, y):\n")
report = stuck.diagnose(x, y)
print(report)

# The cause it names is the start. The smallest cure is to leave kernel_initializer alone; treat() gives a whole net.
cured = net(start="auto")
cured_losses = train(cured, 0.3)
treatment = report.treat()
treated = treatment.model
treated.fit(x, y, **treatment.fit_options, verbose=0)


def right(model):
    """Share of the test digits that are recognised."""
    return f"{np.mean(model.predict(x_test).argmax(axis=1) == y_test):.1%}"


print(f"""
                    reported by its owner   reproduced here   repaired: random start   by report.treat()
first loss          6.98                    {stuck_losses[0]:<18.2f}{cured_losses[0]:.2f}
last loss           3.24                    {stuck_losses[-1]:<18.2f}{cured_losses[-1]:.2f}
test digits right                           {right(stuck):18}{right(cured):25}{right(treated)}
""")

try:
    from matplotlib import pyplot as plt
except ImportError:
    print("no picture: matplotlib is not installed (pip install matplotlib)")
else:
    figure, axis = plt.subplots(figsize=(7, 4), layout="constrained")
    axis.axhline(half, color="grey", linestyle=":")
    axis.axhline(frequencies, color="grey", linestyle=":")
    axis.text(0.99, half, "10 ln 2: says 1/2", transform=axis.get_yaxis_transform(), ha="right", va="bottom")
    axis.text(0.99, frequencies, "10 H(frequencies): says how often each class occurs",
              transform=axis.get_yaxis_transform(), ha="right", va="bottom")  # fmt: skip
    axis.plot(stuck_losses, "o-", color="tab:red", markersize=4, label="as reported: kernels start at 0")
    axis.plot(cured_losses, "o-", color="tab:green", markersize=4, label="repaired: kernels start at random")
    axis.set(xlabel="epoch", ylabel="loss (sum over ten outputs)", ylim=(0, None))
    axis.legend(loc="center right", bbox_to_anchor=(1, 0.62))
    figure.savefig("plateau.png", dpi=120)
    print("picture: plateau.png")
