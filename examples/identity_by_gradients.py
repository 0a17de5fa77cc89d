"""The identity by gradient descent only: MNIST digits in raw pixels through four layers of 784 units.

`identity.py` solves for the last layer; here nothing is solved in closed form, and no method uses the fact that the
targets are the inputs. Gradient descent fails for three reasons, and each has a remedy:

1. A ReLU unit that is 0 loses information. `place` gives hidden layers orthogonal kernels, and biases with which every
   unit is active for all data. Adam from these initial values still ends at a loss of hundreds, because
2. the inputs of each layer then have a mean far larger than their standard deviation, and pixels are correlated, so the
   curvature differs by a factor of thousands between directions of the weights. `KFAC` preconditions the gradient: with
   the inverse second moments of each layer's inputs, a constant included, so that means have no effect, and of its
   gradients.
3. Outputs must grow from about 1 to 255. `place` gives them the mean and the standard deviation of the targets (it
   uses nothing else of them), and the step length of `KFAC` is a fraction of the variation of a layer's outputs; a
   decaying learning rate makes it converge.

    python examples/identity_by_gradients.py
    python examples/identity_by_gradients.py --epochs 1
"""

import argparse
import time

import fastdense as fd

parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
parser.add_argument("--rows", type=int, default=60000, help="number of training images")
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
