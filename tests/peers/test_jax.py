"""Derivatives against JAX in float64: of the inputs, Jacobians, their own derivatives, and Hessians' products."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import fastdense as fd

jax = pytest.importorskip("jax")
jax.config.update("jax_enable_x64", True)
jnp = jax.numpy

ACTIVATIONS = {
    "tanh": jnp.tanh,
    "gelu": lambda z: jax.nn.gelu(z, approximate=False),
    "silu": jax.nn.silu,
    "softplus": jax.nn.softplus,
    "elu": jax.nn.elu,
    "sigmoid": jax.nn.sigmoid,
    "mish": jax.nn.mish,
    "relu": jax.nn.relu,
}


@pytest.mark.parametrize("device", ["reference", "cpu"])
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_derivatives_are_those_of_jax(activation: str, device: str) -> None:
    rng = np.random.default_rng(0)
    f, mean, variance = ACTIVATIONS[activation], rng.normal(size=4), rng.uniform(1, 2, size=4)
    model = fd.Model([fd.Normalization(), fd.Dense(16, activation),
                      fd.Dense(70, activation), fd.Dense(3)], inputs=4, dtype="float64", device=device)  # fmt: skip
    model.compile("sgd", "mse")
    x, y, d_out = (rng.normal(size=(30, n)) for n in (4, 3, 3))
    d_jacobian = rng.normal(size=(30, 3, 4))
    model.set_weights([mean, variance, *model.get_weights()[2:]])
    weights = [jnp.asarray(w) for w in model.get_weights()[2:]]

    def net(w: Any, row: Any) -> Any:
        a = (row - mean) / np.sqrt(variance)
        a = f(a @ w[0] + w[1])
        return f(a @ w[2] + w[3]) @ w[4] + w[5]

    jacobians = jax.vmap(jax.jacrev(net, 1), (None, 0))

    def total(w: Any, rows: Any) -> Any:
        outputs = jax.vmap(net, (None, 0))(w, rows)
        return (d_out * outputs).sum() + (d_jacobian * jacobians(w, rows)).sum()

    def loss(w: Any) -> Any:
        return ((jax.vmap(net, (None, 0))(w, x) - y) ** 2).mean()

    def close(mine: Any, right: Any) -> None:
        np.testing.assert_allclose(mine, right, rtol=0, atol=1e-10 * max(1.0, float(np.abs(right).max())))

    wanted = jacobians(weights, x)
    close(model.jacobian(x), wanted)
    close(model.input_gradient(x, 1), wanted[:, 1])
    close(model.vjp(x, d_out).inputs, np.einsum("ro,roi->ri", d_out, wanted))
    found = model.vjp(x, d_out, d_jacobian)
    for mine, right in zip(found.parameters, jax.grad(total)(weights, x), strict=True):
        close(mine, right)
    close(found.inputs, jax.grad(total, 1)(weights, jnp.asarray(x)))
    v = [rng.normal(size=w.shape) for w in weights]
    product = jax.jvp(jax.grad(loss), (weights,), ([jnp.asarray(one) for one in v],))[1]
    for mine, right in zip(model.hessian_vector(x, y, v), product, strict=True):
        close(mine, right)
