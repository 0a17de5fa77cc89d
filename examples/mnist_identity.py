"""Can a net of ReLU layers learn to copy its input? MNIST digits in raw pixels, 784 → 784, once or four times.

The set-up is that of a much-asked question: ReLU on every layer, RMSprop with its defaults, mean squared error, the
mean absolute percentage error as a metric, batches of 128, 20 epochs. It does not get to zero; the losses that its
owner saw in Keras were 457 (validation 524) with four layers and 181 (validation 168) with one.

    python examples/mnist_identity.py                     # as asked: four layers
    python examples/mnist_identity.py --layers 1
    python examples/mnist_identity.py --epochs 1 --rows 2000
"""

import argparse
import time

import fastdense as fd

parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
parser.add_argument("--layers", type=int, default=4, help="how many times 784 → 784 (default: %(default)s)")
parser.add_argument("--epochs", type=int, default=20)
parser.add_argument("--rows", type=int, default=60000, help="use only so many training images")
parser.add_argument("--seed", type=int, default=0)
options = parser.parse_args()

(train, _), (test, _) = fd.datasets.load_mnist()
train, test = train[: options.rows].reshape(-1, 784), test.reshape(-1, 784)  # uint8, converted batch by batch

# Keras starts every Dense layer with Glorot's uniform distribution; fastdense's own default for ReLU is He's.
layers = [fd.Dense(784, activation="relu", kernel_initializer="glorot_uniform") for _ in range(options.layers)]
model = fd.Model(layers, inputs=784, seed=options.seed)
model.compile(loss="mean_squared_error", optimizer=fd.RMSprop(), metrics=["mean_absolute_percentage_error"])
model.summary()

start = time.perf_counter()
model.fit(train, train, batch_size=128, epochs=options.epochs, validation_data=(test, test))
seconds = time.perf_counter() - start

loss, percentage = model.evaluate(test, test, verbose=0)
print(f"{seconds / options.epochs:.2f} s per epoch, validation included")
print(f"test loss {loss:.1f}")
print(f"test MAPE {percentage:.0f} %: without meaning here, most pixels are 0 and the error is divided by them")
