"""A FIR filter and a Fourier transform, learnt by one linear layer from signals.

Signals before and after are given. Both operations are linear, so one `Dense` layer without activation and bias can
represent them: its kernel is the filter's taps, or the matrix of the transform. The author had both working; here the
errors are measured.

    python examples/fir.py
"""

import argparse

import numpy as np

import fastdense as fd

parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
parser.add_argument("--quick", action="store_true", help="shorter signals, for a test")
options = parser.parse_args()
rows = 1000 if options.quick else 5000
random = np.random.default_rng(0)

# 1. A low-pass filter of 32 taps (a windowed sinc), known only through one signal before and after it.
taps = np.sinc(np.arange(-15.5, 16) / 4) * np.hamming(32) / 4
before = random.normal(size=rows + 31)
after = np.convolve(before, taps, mode="valid")
windows = np.lib.stride_tricks.sliding_window_view(before, 32)[:, ::-1]  # the newest sample first

# 2. The Fourier transform of 32 samples: 17 frequencies, real and imaginary part.
signals = random.normal(size=(rows, 32))
spectra = np.fft.rfft(signals)
parts = np.concatenate([spectra.real, spectra.imag], axis=1)
unit = np.fft.rfft(np.eye(32))
matrix = np.concatenate([unit.real, unit.imag], axis=1)  # (32, 34): the expected kernel


def learn(x, y, outputs):
    """The kernel of a linear layer after 40 epochs of Adam with a decaying learning rate, and by least squares."""
    model = fd.Model([fd.Dense(outputs, use_bias=False)], inputs=32, dtype="float64", seed=0)
    steps = 40 * -(-len(x) // 32)
    model.compile(fd.Adam(fd.schedules.CosineDecay(0.05, steps)), "mse")
    model.fit(x, y, epochs=40, verbose=0)
    solved = model.clone().solve_output(x, y, ridge=0.0)
    return model.get_weights()[0], solved.get_weights()[0]


trained_taps, solved_taps = (kernel[:, 0] for kernel in learn(windows, after, 1))
trained_matrix, solved_matrix = learn(signals, parts, 34)


def worst(a, b):
    return f"{np.abs(a - b).max():.0e}"


print(f"""
largest error of any number   reported by its owner   reproduced here (Adam)   in closed form (solve_output)
FIR filter, 32 taps           it works                {worst(trained_taps, taps):<25}{worst(solved_taps, taps)}
Fourier matrix, 32 x 34       it works                {worst(trained_matrix, matrix):<25}{worst(solved_matrix, matrix)}
""")

try:
    from matplotlib import pyplot as plt
except ImportError:
    print("no picture: matplotlib is not installed (pip install matplotlib)")
else:
    figure, axes = plt.subplots(1, 3, figsize=(12, 3.6), layout="constrained")
    axes[0].stem(taps, linefmt="C0-", markerfmt="C0o", basefmt=" ", label="true")
    axes[0].plot(trained_taps, "kx", label="learnt")
    axes[0].set(title=f"taps of the filter: error {worst(trained_taps, taps)}", xlabel="tap")
    axes[0].legend()
    for axis, values, title in ((axes[1], matrix, "Fourier matrix"), (axes[2], trained_matrix, "learnt from signals")):
        image = axis.imshow(values, cmap="cividis", vmin=-1, vmax=1, aspect="auto")
        axis.set(title=title, xlabel="frequency: real | imaginary part", ylabel="sample")
        axis.axvline(16.5, color="black", linewidth=0.8)
    figure.colorbar(image, ax=axes[1:])
    figure.savefig("fir.png", dpi=120)
    print("picture: fir.png")
