"""The identity found by gradient steps alone: MNIST digits in raw pixels through four layers of 784 units.

`identity_solved.py` solves for the last layer; here nothing is solved, and nothing knows that the target is the input.
What keeps gradient steps from finding it has three parts, and each has its remedy:

1. A ReLU that is off forgets. `place` gives hidden layers orthogonal kernels and biases with which the data keep every
   unit on. Adam from such a start still ends at a loss of hundreds, because
2. what goes into each layer then has a mean far larger than its spread, and pixels hang together: one direction of the
   weights is thousands of times as steep as another. `KFAC` divides that out: by the second moments of each layer's
   inputs, a constant included, so that means do not matter, and by those of its gradients.
3. Outputs have to grow from about 1 to 255. `place` gives them the mean and the spread of the targets (no more of
   them), and a step of `KFAC` is a share of what a layer's outputs vary by; a falling rate lets them settle.

    python examples/identity_by_gradients.py
    python examples/identity_by_gradients.py --epochs 1
"""

import argparse
import time

import fastdense as fd

parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
parser.add_argument("--rows", type=int, default=60000, help="use only so many training images")
parser.add_argument("--epochs", type=int, default=3)
parser.add_argument("--seed", type=int, default=0)
options = parser.parse_args()

(train, _), (test, _) = fd.datasets.load_mnist()
train, test = train[: options.rows].reshape(-1, 784), test.reshape(-1, 784)
batch = 512
steps = options.epochs * -(-len(train) // batch)

model = fd.Model([*(fd.Dense(784, "relu") for _ in range(3)), fd.Dense(784)], inputs=784, seed=options.seed)
rate = fd.schedules.CosineDecay(0.05, steps, alpha=0.001)
model.compile(fd.KFAC(rate, momentum=0.5, interval=20), loss="mse")

start, used = time.perf_counter(), time.process_time()
model.place(train, train)
print(f"placed: test loss {model.evaluate(test, test, verbose=0):.0f}")
model.fit(train, train, batch_size=batch, epochs=options.epochs)
seconds, all_cores = time.perf_counter() - start, time.process_time() - used
loss = model.evaluate(test, test, verbose=0)
print(
    f"{seconds:.0f} s ({all_cores:.0f} s of processor time): test loss {loss:.2g}, in squared grey levels of 0 to 255"
)
