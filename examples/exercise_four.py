"""A course's exercise on neural nets: 400 → 25 → 10 sigmoid units on 5000 small digits, trained on all rows at once.

The course trains it by truncated Newton to about 95 % of its training set. Its cost is the cross-entropy summed over
the ten outputs, averaged over the rows, plus lambda/(2 rows) times the squared kernels, lambda = 1. Written in Keras
with l2(1) per layer, which is 10 000 times that penalty, and SGD, it stays at 10 %.

    python examples/exercise_four.py
"""

import time

import numpy as np

import fastdense as fd

ROWS, OUTPUTS = 5000, 10

(images, labels), _ = fd.datasets.load_mnist()
x = images[:ROWS, 4:24, 4:24].reshape(ROWS, 400) / 255.0  # 20 × 20, as the course has them
y = np.eye(OUTPUTS)[labels[:ROWS]]

# binary_crossentropy is the mean over the outputs, the course's cost their sum: the penalty is divided by ten as well
penalty = fd.regularizers.l2(1.0 / (2 * ROWS) / OUTPUTS)
layers = [fd.Dense(units, "sigmoid", kernel_regularizer=penalty) for units in (25, OUTPUTS)]
for optimizer in (fd.NewtonCG(), fd.LBFGS(), fd.SGD(0.01), fd.Adam(0.01)):
    model = fd.Model(layers, inputs=400, seed=0)
    model.compile(optimizer, "binary_crossentropy", metrics=["categorical_accuracy"])
    start = time.perf_counter()
    history = model.fit(x, y, epochs=50, batch_size=ROWS, verbose=0).history
    seconds = time.perf_counter() - start
    reached = next((i + 1 for i, a in enumerate(history["categorical_accuracy"]) if a >= 0.95), None)
    print(
        f"{type(optimizer).__name__:9} cost {OUTPUTS * history['loss'][-1]:.4f}, accuracy "
        f"{history['categorical_accuracy'][-1]:.2%} after {len(history['loss'])} iterations in {seconds:.2f} s; "
        f"95 % {f'after {reached}' if reached else 'not reached'}"
    )
