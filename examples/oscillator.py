"""A differential equation as the loss: u'' + u = 0, without one value of the solution.

With u(0) = 0 and u'(0) = 1. The net gives u and v for a time t, and the loss asks for u' = v and v' = -u at some times,
and for the two values at t = 0. Model.jacobian gives the derivatives by t, Model.vjp(..., d_jacobian) takes the
derivative of the loss by these back to the weights, and Model.apply_gradients makes the step. The same loop runs in
PyTorch, if that is installed, both with one thread.

    python examples/oscillator.py
"""

import argparse
import time

import numpy as np

import fastdense as fd

parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
parser.add_argument("--quick", action="store_true", help="fewer steps, for a test")
options = parser.parse_args()
steps, rate = (1500 if options.quick else 5000), 0.01

t = np.linspace(0, 2 * np.pi, 64)[:, None]
start = np.array([0.0, 1.0])  # u and v at t = 0


def loss_and_derivatives(p, slope):
    """The loss of outputs p (rows, 2) and their derivatives by t, and its own by both; the first row is t = 0."""
    u, v = p.T
    first, second = slope[:, 0] - v, slope[:, 1] + u  # what should be 0
    d_slope = 2 / len(p) * np.stack([first, second], axis=1)
    d_p = 2 / len(p) * np.stack([second, -first], axis=1)
    d_p[0] += 2 * (p[0] - start)
    return np.mean(first**2 + second**2) + np.sum((p[0] - start) ** 2), d_p, d_slope


scale = fd.Normalization().adapt(t)
model = fd.Model([scale, fd.Dense(32, "tanh"), fd.Dense(32, "tanh"), fd.Dense(2)], inputs=1, dtype="float64")
mean, variance, *weights = model.get_weights()
deviation = float(np.sqrt(variance[0]))
model.compile(fd.Adam(fd.schedules.CosineDecay(rate, steps)), "mse")
losses, began = [], time.perf_counter()
for _ in range(steps):
    loss, d_p, d_slope = loss_and_derivatives(model.predict(t, n_threads=1), model.jacobian(t, n_threads=1)[:, :, 0])
    model.apply_gradients(model.vjp(t, d_p, d_slope[:, :, None], n_threads=1).parameters)
    losses.append(loss)
seconds = time.perf_counter() - began
between = np.linspace(0, 2 * np.pi, 1000)[:, None]
u, v = model.predict(between).T
error = np.abs(u - np.sin(between[:, 0])).max()
print(f"fastdense: loss {losses[0]:.2f} -> {losses[-1]:.1e} in {steps} steps, {seconds:.1f} s")

try:
    import torch
except ImportError:
    print("PyTorch is not installed: nothing to compare with")
    beside = ["-", "-", "-"]
else:
    torch.set_num_threads(1)
    layers = [torch.nn.Linear(1, 32), torch.nn.Tanh(), torch.nn.Linear(32, 32), torch.nn.Tanh(), torch.nn.Linear(32, 2)]
    net = torch.nn.Sequential(*layers).double()
    with torch.no_grad():
        for parameter, value in zip(net.parameters(), weights, strict=True):
            parameter.copy_(torch.from_numpy(value.T))
    adam = torch.optim.Adam(net.parameters(), lr=rate, eps=1e-7)
    cosine = torch.optim.lr_scheduler.CosineAnnealingLR(adam, steps)
    times, began = torch.from_numpy((t - mean) / deviation).requires_grad_(), time.perf_counter()
    for _ in range(steps):
        p = net(times)
        first = torch.autograd.grad(p[:, 0].sum(), times, create_graph=True)[0][:, 0] / deviation - p[:, 1]
        second = torch.autograd.grad(p[:, 1].sum(), times, create_graph=True)[0][:, 0] / deviation + p[:, 0]
        loss = (first**2 + second**2).mean() + ((p[0] - torch.from_numpy(start)) ** 2).sum()
        adam.zero_grad()
        loss.backward()
        adam.step()
        cosine.step()
    taken = time.perf_counter() - began
    with torch.no_grad():
        scaled = torch.from_numpy((between - mean) / deviation)
        other = np.abs(net(scaled)[:, 0].numpy() - np.sin(between[:, 0])).max()
    beside = [f"{loss.item():.1e}", f"{other:.1e}", f"{1e6 * taken / steps:.0f}"]

print(f"\n{'':32}{'fastdense':14}PyTorch")
print(f"{'loss at the end':32}{f'{losses[-1]:.1e}':14}{beside[0]}")
print(f"{'largest error of u':32}{f'{error:.1e}':14}{beside[1]}")
print(f"{'microseconds a step':32}{f'{1e6 * seconds / steps:.0f}':14}{beside[2]}")

try:
    from matplotlib import pyplot as plt
except ImportError:
    print("no picture: matplotlib is not installed (pip install matplotlib)")
else:
    figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.6), layout="constrained")
    left.plot(between, np.sin(between), color="grey", linewidth=4, alpha=0.5, label="sin t, cos t")
    left.plot(between, np.cos(between), color="grey", linewidth=4, alpha=0.5)
    left.plot(between, u, color="black", label="u of the net")
    left.plot(between, v, "--", color="black", label="v of the net")
    left.set(xlabel="t", title="u'' + u = 0")
    left.legend()
    right.semilogy(losses, color="C0")
    right.set(xlabel="step", ylabel="loss", title="residuals of the equation and of the start")
    figure.savefig("oscillator.png", dpi=120)
    print("picture: oscillator.png")
