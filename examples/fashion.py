"""Fashion-MNIST by two layers: the loss decreases, but the accuracy stays low.

There is a ReLU before the softmax, which is part of the loss. If the last layer ends with a ReLU, a class whose unit is
0 for all images has the score 0 and no gradient, permanently: it is never predicted. The loss decreased and the
accuracy stayed low; how low depends on the initialization, so many restarts are shown here.

    python examples/fashion.py
"""

import argparse

import numpy as np

import fastdense as fd

parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
parser.add_argument("--quick", action="store_true", help="fewer images, epochs and restarts, for a test")
options = parser.parse_args()
starts, epochs, rows = (4, 2, 3000) if options.quick else (12, 5, 20000)

(x, y), (x_test, y_test) = fd.datasets.load_fashion_mnist(fallback="digits")
x, y = x[:rows].reshape(len(x[:rows]), -1) / x.max(), y[:rows]
x_test = x_test.reshape(len(x_test), -1) / x_test.max()
print(f"{len(x)} images of {x.shape[1]} pixels, {starts} restarts of each net, {epochs} epochs")


def train(activation):
    """Train 784 -> 128 ReLU -> 10 with this last activation from all restarts; also the test accuracy of each."""
    layers = [
        fd.Dense(128, activation="relu"),
        fd.Dense(10, activation=activation, kernel_initializer="glorot_uniform"),
    ]
    model = fd.Model(layers, inputs=x.shape[1])
    model.compile("adam", fd.losses.SparseCategoricalCrossentropy(from_logits=True))
    pop = fd.fit_many(model, x, y, starts=starts, epochs=epochs, batch_size=128, verbose=0)
    scores = pop.predict(x_test)  # (restarts, images, classes)
    return pop, scores, np.mean(scores.argmax(axis=2) == y_test, axis=1)


relu, relu_scores, relu_accuracy = train("relu")
linear, linear_scores, linear_accuracy = train("linear")
lost = np.array(
    [10 - len(np.unique(scores.argmax(axis=1))) for scores in relu_scores]
)  # classes that are never predicted

print(f"\n{'seed':>5}{'loss: first, last epoch':>26}{'test accuracy':>15}{'classes lost':>14}     without ReLU")
for i in range(starts):
    losses = f"{relu.history[0, i]:.3f} -> {relu.history[-1, i]:.3f}"
    print(f"{i:>5}{losses:>26}{relu_accuracy[i]:>15.1%}{lost[i]:>14}{linear_accuracy[i]:>17.1%}")

worst = relu[int(np.argmin(relu_accuracy))]  # a separate Model
print("\nthe one with the lowest accuracy, worst.diagnose(x, y):\n")
print(worst.diagnose(x, y, budget=3 if options.quick else 15))


def span(accuracy):
    return f"{accuracy.min():.0%} to {accuracy.max():.0%}"


def losses_of(pop):
    return f"{pop.history[0].mean():.2f} -> {pop.history[-1].mean():.2f}"


lost_classes = f"{lost.mean():.1f} of 10, {lost.max()} at most"
linear_lost = max(10 - len(np.unique(scores.argmax(axis=1))) for scores in linear_scores)
print(f"""
                     reported by its owner     reproduced here           repaired: linear last layer
loss                 decreases                 {losses_of(relu):26}{losses_of(linear)}
test accuracy        does not learn            {span(relu_accuracy):26}{span(linear_accuracy)}
never predicted                                {lost_classes:26}{linear_lost} at most
""")

try:
    from matplotlib import pyplot as plt
except ImportError:
    print("no picture: matplotlib is not installed (pip install matplotlib)")
else:
    figure, (left, right) = plt.subplots(1, 2, figsize=(10, 3.8), layout="constrained")
    fd.plots.history({"ReLU, then softmax": relu, "softmax alone": linear}, bands=[0.9], ax=left)
    left.set(title=f"training loss, {starts} restarts each")
    right.plot(lost, 100 * relu_accuracy, "o", color="tab:red", label="ReLU, then softmax")
    right.plot(np.zeros(starts), 100 * linear_accuracy, "^", color="tab:green", label="softmax alone")
    right.plot([0, lost.max()], [100 * linear_accuracy.mean(), 100 * linear_accuracy.mean() - 10 * lost.max()], "k:")
    right.set(xlabel="classes never predicted", ylabel="%", title="test accuracy: each lost class costs 10 %")
    right.legend()
    figure.savefig("fashion.png", dpi=120)
    print("picture: fashion.png")
