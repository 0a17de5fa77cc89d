"""The loss starts at 6.98 and ends at 3.24, whatever is changed.

A net written from scratch for MNIST: leaky ReLU hidden units, ten sigmoid outputs, binary cross-entropy summed over
them. Changes of the learning rate, layers, units and activations had no effect: the two losses were always the same.
They have an explanation:

- 10 ln 2 = 6.93 is the loss of predicting 1/2 for all ten outputs;
- 10 H(0.1) = 3.25 is the loss of predicting the class frequencies, 0.1 each, for every image.

So the net learned the frequencies and nothing else: the output does not depend on the image. That happens if all
weights are initially 0 (or equal), and then no learning rate and no activation helps.

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
    """The loss before and after each epoch, as a sum over the outputs; Keras's is the mean, a tenth of it."""
    model.compile(fd.SGD(rate), "binary_crossentropy", metrics=["categorical_accuracy"])
    before = 10 * model.evaluate(x, y, verbose=0)[0]
    history = model.fit(x, y, batch_size=32, epochs=epochs, verbose=0).history
    return [before, *(10 * np.array(history["loss"]))]


print(f"{len(x)} digits. Loss of predicting 1/2: {half:.2f}; of predicting the frequencies: {frequencies:.2f}.\n")
print(f"{'hidden layers':16}{'learning rate':16}{'first loss':>10}{'last loss':>12}")
for activation, rate in (("leaky_relu", 0.3), ("leaky_relu", 1.0), ("relu", 1.0), ("sigmoid", 1.0)):
    losses = train(net(activation), rate, epochs=5)
    print(f"{activation:16}{rate:<16}{losses[0]:>10.2f}{losses[-1]:>12.2f}")

stuck = net()
stuck_losses = train(stuck, 0.3)

print("\nmodel.diagnose(x, y):\n")
report = stuck.diagnose(x, y)
print(report)

# The cause is the initializer. The smallest repair is the default kernel_initializer; treat() returns a complete model.
cured = net(start="auto")
cured_losses = train(cured, 0.3)
treatment = report.treat()
treated = treatment.model
treated.fit(x, y, **treatment.fit_options, verbose=0)


def right(model):
    """Test accuracy."""
    return f"{np.mean(model.predict(x_test).argmax(axis=1) == y_test):.1%}"


print(f"""
                    reported by its owner   reproduced here   repaired: random init    by report.treat()
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
    axis.text(0.99, half, "10 ln 2: predicts 1/2", transform=axis.get_yaxis_transform(), ha="right", va="bottom")
    axis.text(0.99, frequencies, "10 H(frequencies): predicts the class frequencies",
              transform=axis.get_yaxis_transform(), ha="right", va="bottom")  # fmt: skip
    axis.plot(stuck_losses, "o-", color="tab:red", markersize=4, label="as reported: kernels initially 0")
    axis.plot(cured_losses, "o-", color="tab:green", markersize=4, label="repaired: kernels initially random")
    axis.set(xlabel="epoch", ylabel="loss (sum over ten outputs)", ylim=(0, None))
    axis.legend(loc="center right", bbox_to_anchor=(1, 0.62))
    figure.savefig("plateau.png", dpi=120)
    print("picture: plateau.png")
