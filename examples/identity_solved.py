"""The identity that training cannot find, found: MNIST digits in raw pixels through 784 → 784 ReLU, four times.

`mnist_identity.py` is the question: gradient steps end at a mean squared error of hundreds. The reason is the start. A
ReLU that is off for a row forgets what it saw, half of them are off in every layer, and what is lost after the first
layers no last layer can bring back (solving it exactly after a plain random start still leaves 484). So

1. `place` gives each hidden layer an orthogonal kernel and biases with which the data keep every unit on, and
2. `solve_output` fits the last layer to whatever the targets are by least squares, in one pass over the data.

Nothing here knows that the target is the input.

    python examples/identity_solved.py
    python examples/identity_solved.py --rows 5000
"""

import argparse
import time

import fastdense as fd

parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
parser.add_argument("--rows", type=int, default=60000, help="use only so many training images")
parser.add_argument("--seed", type=int, default=0)
options = parser.parse_args()

(train, _), (test, _) = fd.datasets.load_mnist()
train, test = train[: options.rows].reshape(-1, 784), test.reshape(-1, 784)

model = fd.Model([fd.Dense(784, activation="relu") for _ in range(4)], inputs=784, seed=options.seed)
model.compile(optimizer="adam", loss="mse")
print(f"random start: test loss {model.evaluate(test, test, verbose=0):.1f}")

start, used = time.perf_counter(), time.process_time()
model.place(train)
placed = time.perf_counter()
model.solve_output(train, train)
end = time.perf_counter()

seconds = time.process_time() - used  # of all cores
print(f"place {placed - start:.1f} s, solve_output {end - placed:.1f} s ({seconds:.1f} s of processor time)")
print(f"test loss {model.evaluate(test, test, verbose=0):.2g}, in squared grey levels of 0 to 255")
