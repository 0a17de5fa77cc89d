"""Works with sigmoid; with ReLU it learns for some epochs and then collapses to 10 %.

A self-written library, 500 digits of MNIST. The author suspected the implementation of the ReLU, which was correct.
Steps that sigmoid units tolerate are too large for ReLU units: a single large step can make a unit 0 for all digits.
Then its gradient is exactly 0 and it never recovers. When all units of a layer are dead, the net gives the same output
for every digit.

    python examples/collapse.py
"""

import argparse

import numpy as np

import fastdense as fd

parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
parser.add_argument("--quick", action="store_true", help="25 epochs instead of 50, for a test")
options = parser.parse_args()
epochs = 25 if options.quick else 50

(x, y), (x_test, y_test) = fd.datasets.load_mnist(fallback="digits")
x, x_test = (part.reshape(len(part), -1) / x.max() for part in (x[:500], x_test))
y = y[:500]


def net(activation):
    layers = [fd.Dense(units, activation, kernel_initializer="lecun_normal") for units in (100, 50)]
    return fd.Model([*layers, fd.Dense(10, activation="softmax")], inputs=x.shape[1], seed=0)


class DeadUnitCounter(fd.callbacks.Callback):
    """Records after each epoch how many hidden units are 0 for all digits."""

    def __init__(self):
        super().__init__()
        self.dead = []

    def on_epoch_end(self, epoch, logs=None):
        hidden = self.model.activations(x)[:-1]
        self.dead.append(sum(int((values.max(axis=0) <= 0).sum()) for values in hidden))


def train(model, optimizer):
    model.compile(optimizer, "sparse_categorical_crossentropy", metrics=["accuracy"])
    counter = DeadUnitCounter()
    history = model.fit(x, y, batch_size=32, epochs=epochs, verbose=0, callbacks=[counter]).history
    return 100 * np.array(history["accuracy"]), counter.dead


sigmoid_accuracy, _ = train(net("sigmoid"), fd.SGD(0.2, momentum=0.9))
model = net("relu")
relu_accuracy, dead = train(model, fd.SGD(0.2, momentum=0.9))
print(f"{'epoch':>5}{'sigmoid':>12}{'ReLU':>10}{'dead units of 150':>20}")
for epoch in [*range(0, min(16, epochs), 2), *range(19, epochs, 10)]:
    print(f"{epoch + 1:>5}{sigmoid_accuracy[epoch]:>10.0f} %{relu_accuracy[epoch]:>8.0f} %{dead[epoch]:>20}")
last_good = int(np.flatnonzero(relu_accuracy > 50)[-1]) + 1

print("\nmodel.diagnose(x, y):\n")
report = model.diagnose(x, y)
print(report)

# The cause is the step size. Try a range of learning rates, and choose one well inside the working range.
rates = [0.2, 0.1, 0.05, 0.02, 0.01]
results = {}
for rate in rates:
    results[rate] = train(net("relu"), fd.SGD(rate, momentum=0.9))
print(f"\n{'learning rate':>14}{'accuracy at the end':>22}{'dead units':>13}")
for rate, (accuracy, counts) in results.items():
    print(f"{rate:>14}{accuracy[-1]:>20.0f} %{counts[-1]:>13}")

treatment = report.treat()
treated = treatment.model
treated.fit(x, y, **treatment.fit_options, verbose=0)
treated_accuracy = np.mean(treated.predict(x_test).argmax(axis=1) == y_test)
repaired_accuracy, repaired_dead = results[0.02]

print(f"""
                          reported by its owner       reproduced here              repaired: learning rate / 10
with sigmoid              works                       {sigmoid_accuracy[-1]:.0f} % of the 500 digits
with ReLU, at the end     about 10 %                  {relu_accuracy[-1]:<3.0f}%{"":26}{repaired_accuracy[-1]:.0f} %
collapse                  after about 8 epochs        after {last_good:2} epochs               none
dead units                                            {dead[-1]} of 150                   {repaired_dead[-1]} of 150
by report.treat(): {treated_accuracy:.0%} of the test digits
""")

try:
    from matplotlib import pyplot as plt
except ImportError:
    print("no picture: matplotlib is not installed (pip install matplotlib)")
else:
    figure, axis = plt.subplots(figsize=(8, 4), layout="constrained")
    steps = np.arange(1, epochs + 1)
    named = {"sigmoid, learning rate 0.2": sigmoid_accuracy, "ReLU, learning rate 0.2": relu_accuracy}
    named["ReLU, learning rate 0.02"] = repaired_accuracy
    fd.plots.history({name: {"accuracy": accuracy} for name, accuracy in named.items()}, log=False, ax=axis)
    axis.set(ylabel="% of the 500 digits", title="", ylim=(0, 103))
    other = axis.twinx()
    other.fill_between(steps, dead, color="grey", alpha=0.3, label="dead units at 0.2")
    other.set(ylabel="dead units of 150", ylim=(0, 150))
    handles = axis.get_legend_handles_labels(), other.get_legend_handles_labels()
    axis.legend(handles[0][0] + handles[1][0], handles[0][1] + handles[1][1], loc="center right", fontsize="small")
    figure.savefig("collapse.png", dpi=120)
    print("picture: collapse.png")
