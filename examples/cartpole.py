"""Reinforcement learning: a policy gradient balances a pole, and the same loop in PyTorch beside it.

REINFORCE with a net of 64 and 64 units on a cart-pole of fifteen lines of NumPy, 16 of them at a time. A step of the
game needs the net's answer for 16 rows; after each round Model.vjp takes the derivative of the objective by the logits
back to the weights and Model.apply_gradients makes the step. Such loops are bound by overhead, not by arithmetic.

    python examples/cartpole.py
"""

import argparse
import time

import numpy as np

import fastdense as fd

parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
parser.add_argument("--quick", action="store_true", help="fewer rounds, for a test")
options = parser.parse_args()
rounds, carts, horizon, rate = (40 if options.quick else 120), 16, 200, 0.005


def move(state, right):
    """A fiftieth of a second: position, speed, angle, its speed (Barto, Sutton and Anderson 1983)."""
    x, speed, angle, turn = state.T
    force = np.where(right, 10.0, -10.0)
    sine, cosine = np.sin(angle), np.cos(angle)
    push = (force + 0.05 * turn**2 * sine) / 1.1
    lean = (9.8 * sine - cosine * push) / (0.5 * (4 / 3 - 0.1 * cosine**2 / 1.1))
    change = np.stack([speed, push - 0.05 * lean * cosine / 1.1, turn, lean], axis=1)
    return state + 0.02 * change


class OfFastdense:
    """A policy and its step, by fastdense."""

    def __init__(self, weights=None):
        self.net = fd.Model([fd.Dense(64, "tanh"), fd.Dense(64, "tanh"), fd.Dense(2)], inputs=4)
        self.net.compile(fd.Adam(rate), "mse")
        if weights is not None:
            self.net.set_weights(weights)

    def logits(self, states):
        return self.net.predict(states, n_threads=1)  # one thread in both: there is too little for two

    def step(self, states, actions, advantages):
        p = softmax(self.logits(states))
        d_logits = p * advantages[:, None]
        d_logits[np.arange(len(p)), actions] -= advantages  # of -sum(advantage * log p(action))
        self.net.apply_gradients(self.net.vjp(states, d_logits / len(p), n_threads=1).parameters)


def softmax(logits):
    e = np.exp(logits - logits.max(axis=1, keepdims=True))
    return e / e.sum(axis=1, keepdims=True)


def learn(policy):
    """Play and learn; steps balanced in each round, and seconds of CPU in the net and altogether, of one thread."""
    rng, balanced, inside, began = np.random.default_rng(0), [], 0.0, time.process_time()
    for _ in range(rounds):
        state, alive = rng.uniform(-0.05, 0.05, size=(carts, 4)), np.ones(carts, dtype=bool)
        states, actions, living = [], [], []
        while alive.any() and len(states) < horizon:
            seen = state.astype(np.float32)
            at = time.process_time()
            logits = policy.logits(seen)
            inside += time.process_time() - at
            action = (rng.random(carts) < softmax(logits)[:, 1]).astype(np.int64)
            states.append(seen), actions.append(action), living.append(alive)
            state = move(state, action == 1)
            alive = alive & (np.abs(state[:, 0]) < 2.4) & (np.abs(state[:, 2]) < 0.2095)
        living = np.array(living)
        returns, total = np.zeros(living.shape), np.zeros(carts)
        for i in range(len(living) - 1, -1, -1):  # discounted sums of a reward of 1 a step
            total = living[i] * (1 + 0.99 * total)
            returns[i] = total
        advantages = returns[living]
        advantages = ((advantages - advantages.mean()) / (advantages.std() + 1e-8)).astype(np.float32)
        at = time.process_time()
        policy.step(np.array(states)[living], np.array(actions)[living], advantages)
        inside += time.process_time() - at
        balanced.append(living.sum(axis=0).mean())
    return np.array(balanced), inside, time.process_time() - began


ours = OfFastdense()
weights = ours.net.get_weights()
ours.step(
    np.zeros((4, 4), np.float32), np.zeros(4, np.int64), np.zeros(4, np.float32)
)  # nothing is timed that is made once
ours = OfFastdense(weights)
results = {"fastdense": learn(ours)}

try:
    import torch
except ImportError:
    print("PyTorch is not installed: nothing to compare with")
else:
    torch.set_num_threads(1)

    class OfTorch:
        """The same policy by PyTorch."""

        def __init__(self):
            layers = [torch.nn.Linear(4, 64), torch.nn.Tanh(), torch.nn.Linear(64, 64), torch.nn.Tanh()]
            self.net = torch.nn.Sequential(*layers, torch.nn.Linear(64, 2))
            with torch.no_grad():
                for parameter, value in zip(self.net.parameters(), weights, strict=True):
                    parameter.copy_(torch.from_numpy(value.T))
            self.adam = torch.optim.Adam(self.net.parameters(), lr=rate, eps=1e-7)

        def logits(self, states):
            with torch.inference_mode():
                return self.net(torch.from_numpy(states)).numpy()

        def step(self, states, actions, advantages):
            log_p = torch.log_softmax(self.net(torch.from_numpy(states)), dim=1)
            chosen = log_p[torch.arange(len(states)), torch.from_numpy(actions)]
            loss = -(torch.from_numpy(advantages) * chosen).mean()
            self.adam.zero_grad()
            loss.backward()
            self.adam.step()

    results["PyTorch"] = learn(OfTorch())

print(f"\n{rounds} rounds of {carts} carts, at most {horizon} steps each\n")
print(f"{'':34}{'fastdense':14}{'PyTorch' if 'PyTorch' in results else ''}")
for name, value in (
    ("steps balanced, first five rounds", lambda r: f"{r[0][:5].mean():.0f}"),
    ("steps balanced, last five rounds", lambda r: f"{r[0][-5:].mean():.0f}"),
    ("seconds of CPU in the net", lambda r: f"{r[1]:.2f}"),
    ("seconds of CPU altogether", lambda r: f"{r[2]:.2f}"),
):
    print(f"{name:34}" + "".join(f"{value(result):14}" for result in results.values()))

try:
    from matplotlib import pyplot as plt
except ImportError:
    print("no picture: matplotlib is not installed (pip install matplotlib)")
else:
    figure, axis = plt.subplots(figsize=(6, 3.6), layout="constrained")
    for (name, result), style in zip(results.items(), ("-", "--"), strict=False):
        axis.plot(result[0], style, label=f"{name}, {result[2]:.1f} s")
    axis.set(xlabel="round", ylabel="steps balanced, mean of 16", title="cart-pole, REINFORCE with 64 and 64 units")
    axis.legend()
    figure.savefig("cartpole.png", dpi=120)
    print("picture: cartpole.png")
