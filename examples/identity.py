"""Can a net of four ReLU layers learn to copy its input?

MNIST digits in raw pixels, 784 -> 784, by one or four layers. The script in the question, in Keras: ReLU in every
layer, RMSprop with its defaults, mean squared error, the mean absolute percentage error as a metric, batches of 128,
20 epochs. An exact solution exists. After 20 epochs the loss in the question was 457 with four layers and 181 with
one. Why?

- A ReLU unit that is 0 for a digit loses information about it. Half of the units are 0, in each layer, and the last
  layer cannot recover what the first layers have lost. `place` initializes the hidden units so that they are active for
  all digits.
- What remains is a least-squares problem for the last layer. `solve_output` solves it in one pass, while gradient
  descent is slow: neighbouring pixels are so strongly correlated that the problem is ill-conditioned.

Neither method uses the fact that the targets are the inputs.

    python examples/identity.py             # two epochs of the training in the question, then the repair
    python examples/identity.py --full      # all 20 epochs, as in the question: about two minutes
"""

import argparse
import time

import numpy as np

import fastdense as fd
from fastdense import keras
from fastdense.keras.layers import Dense
from fastdense.keras.models import Sequential

parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
parser.add_argument("--full", action="store_true", help="train for 20 epochs, as in the question")
parser.add_argument("--quick", action="store_true", help="few digits, for a test")
options = parser.parse_args()
epochs = 20 if options.full else 2

(x, _), (x_test, _) = fd.datasets.load_mnist(fallback="digits")
if options.quick:
    x, x_test = x[:3000], x_test[:500]
x, x_test = x.reshape(len(x), -1), x_test.reshape(len(x_test), -1)
pixels = x.shape[1]

# ---- 1. As reported ------------------------------------------------------------------------------


def train(layers):
    keras.utils.set_random_seed(0)
    model = Sequential()
    for _ in range(layers):
        model.add(Dense(pixels, activation="relu", input_shape=(pixels,)))
    metric = "mean_absolute_percentage_error"
    model.compile(loss="mean_squared_error", optimizer=keras.optimizers.RMSprop(), metrics=[metric])
    began = time.perf_counter()
    history = model.fit(x, x, batch_size=128, epochs=epochs, verbose=2, validation_data=(x_test, x_test)).history
    return model, history, (time.perf_counter() - began) / epochs


print("one layer")
_, one, _ = train(1)
print("\nfour layers")
model, four, seconds = train(4)

# ---- 2. Why? -------------------------------------------------------------------------------------

print("\nmodel.diagnose(x, x):\n")
print(model.diagnose(x, x))

off = [np.mean(values <= 0) for values in model.fastdense.activations(x_test[:1000])]
print("\nfraction of inactive units per digit, layer by layer:", *(f"{fraction:.0%}" for fraction in off))

# ---- 3. The same four layers, with data-dependent initialization, and the last one in closed form

repaired = fd.Model([fd.Dense(pixels, activation="relu") for _ in range(4)], inputs=pixels, seed=0)
repaired.compile("adam", "mse")
began = time.perf_counter()
repaired.place(x)
repaired.solve_output(x, x)
solved = time.perf_counter() - began
loss = repaired.evaluate(x_test, x_test, verbose=0)
off = [np.mean(values <= 0) for values in repaired.activations(x_test[:1000])[:-1]]
print("after place:", *(f"{fraction:.0%}" for fraction in off))

mape = four["val_mean_absolute_percentage_error"][-1]
print(f"""
                          reported (20 epochs)   reproduced here ({epochs} epochs)   repaired
1 layer: test loss        168                    {one["val_loss"][-1]:<28.1f}
4 layers: training loss   457                    {four["loss"][-1]:<28.1f}
4 layers: test loss       524                    {four["val_loss"][-1]:<28.1f}{loss:.2g}
4 layers: test MAPE       500 million %          {mape / 1e6:.0f} million %{"":14}(not meaningful: most pixels are 0)
time                      50 s per epoch         {seconds:.1f} s per epoch{"":14}{solved:.1f} s in all
""")

try:
    from matplotlib import pyplot as plt
except ImportError:
    print("no picture: matplotlib is not installed (pip install matplotlib)")
else:
    side, shown = int(pixels**0.5), x_test[:8]
    figure, axes = plt.subplots(3, 8, figsize=(10, 4.2), layout="constrained")
    rows = (
        ("input", shown),
        (f"trained\n(mse {four['val_loss'][-1]:.0f})", model.predict(shown, verbose=0)),
        (f"repaired\n(mse {loss:.1g})", repaired.predict(shown)),
    )
    for row, (title, images) in zip(axes, rows, strict=True):
        for axis, image in zip(row, images, strict=True):
            axis.imshow(image.reshape(side, side), cmap="gray_r", vmin=0, vmax=x.max())
            axis.set_xticks([])
            axis.set_yticks([])
        row[0].set_ylabel(title)
    figure.savefig("identity.png", dpi=120)
    print("picture: identity.png")
