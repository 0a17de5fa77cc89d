"""The amplitude spectrum of a signal, learnt by a small net.

The inputs are 16 samples, the outputs the amplitudes of their 9 frequencies. A linear layer can represent the Fourier
transform (`fir.py`), but not the square root of real part² + imaginary part² after it. ReLU units approximate that, for
each frequency by a pyramid of many sides; `pyramid.py` shows the result for three units. Here all 9 pyramids and the
transform are learnt at once, from signals and their spectra.

    python examples/spectrum.py
"""

import argparse
import time

import numpy as np

import fastdense as fd

parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
parser.add_argument("--quick", action="store_true", help="half of the training, for a test")
options = parser.parse_args()
epochs, samples = (20, 16) if options.quick else (40, 16)
random = np.random.default_rng(0)


def signals(rows):
    x = random.normal(size=(rows, samples))
    return x, np.abs(np.fft.rfft(x))


x, y = signals(50000)
x_test, y_test = signals(5000)


def train(layers):
    model = fd.Model(layers, inputs=samples, seed=0)
    steps = epochs * -(-len(x) // 128)
    model.compile(fd.Adam(fd.schedules.CosineDecay(0.003, steps)), "mse")
    model.fit(x, y, batch_size=128, epochs=epochs, verbose=0)
    return model


def error(model):
    """Relative error: the norm of all errors over the norm of all amplitudes."""
    return np.linalg.norm(model.predict(x_test) - y_test) / np.linalg.norm(y_test)


start = time.perf_counter()
linear = train([fd.Dense(9)])
small = train([fd.Dense(64, activation="relu"), fd.Dense(9)])
wide = train([fd.Dense(256, activation="relu"), fd.Dense(9)])
seconds = time.perf_counter() - start
print(f"three nets, {epochs} epochs of {len(x)} signals each: {seconds:.1f} s")

print(f"""
relative error on new signals   parameters   reported by its owner          reproduced here
one linear layer                {linear.count_params():10}   not tried                      {error(linear):.1%}
64 ReLU units, then linear      {small.count_params():10}   planned; stuck at 3 units      {error(small):.1%}
256 ReLU units, then linear     {wide.count_params():10}   planned                        {error(wide):.2%}
""")

try:
    from matplotlib import pyplot as plt
except ImportError:
    print("no picture: matplotlib is not installed (pip install matplotlib)")
else:
    # A signal unlike the training data: two sine waves and a little noise.
    time_axis = np.arange(samples) / samples
    waves = 1.2 * np.sin(2 * np.pi * 2 * time_axis) + 0.7 * np.cos(2 * np.pi * 5.5 * time_axis)
    wave = (waves + 0.1 * random.normal(size=samples))[None]
    figure, axes = plt.subplots(1, 3, figsize=(12, 3.6), layout="constrained")
    axes[0].plot(wave[0], ".-")
    axes[0].set(title="a signal: two sine waves", xlabel="sample")
    axes[1].bar(np.arange(9), np.abs(np.fft.rfft(wave))[0], color="lightgrey", label="true")
    axes[1].plot(wide.predict(wave)[0], "kx", label="256 ReLU units")
    axes[1].plot(linear.predict(wave)[0], "C1_", markersize=12, label="linear layer")
    axes[1].set(title="its amplitude spectrum", xlabel="frequency")
    axes[1].legend()
    axes[2].plot(y_test[:300].ravel(), wide.predict(x_test[:300]).ravel(), ".", markersize=2, label="256 ReLU units")
    axes[2].plot([0, y_test[:300].max()], [0, y_test[:300].max()], "k", linewidth=0.8)
    axes[2].set(title=f"300 new signals: relative error {error(wide):.2%}", xlabel="true amplitude", ylabel="learnt")
    figure.savefig("spectrum.png", dpi=120)
    print("picture: spectrum.png")
