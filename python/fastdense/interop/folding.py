"""Normalizations and scalings as part of the dense layers beside them."""

from __future__ import annotations

import numpy as np

from ..arrays import Array
from .chain import Chain, ChainBlock, ChainStep

Affine = tuple[Array, Array]  # x scale + shift


def folded(chain: Chain, behind_only: bool = False) -> Chain:
    """The same function with fewer steps, in float64: an affine step next to a dense one becomes part of it.

    Parameters
    ----------
    chain : Chain
        Without idle steps.
    behind_only : bool
        Whether to leave alone what stands in front of a dense step: sums of large numbers would lose digits there.
    """
    made: Chain = []
    for one in chain:
        if isinstance(one, ChainBlock):
            inner = [folded(c, behind_only) for c in one.chains]
            made.append(ChainBlock(one.merge, inner, one.inputs, one.outputs, one.place))
            continue
        affine, before = affine_of(one), made[-1] if made else None
        earlier = None if behind_only or not isinstance(before, ChainStep) else affine_of(before)
        if affine is not None and isinstance(before, ChainStep) and before.kind == "dense":
            scale, shift = affine
            kernel, bias = _numbers(before)
            made[-1] = _dense(before, kernel * scale, bias * scale + shift)
        elif affine is not None and earlier is not None:
            made[-1] = _rescaling(one, (earlier[0] * affine[0], earlier[1] * affine[0] + affine[1]))
        elif one.kind == "dense" and earlier is not None:
            scale, shift = earlier
            kernel, bias = _numbers(one)
            made[-1] = _dense(one, scale[:, None] * kernel, bias + shift @ kernel)
        elif one.kind == "batch_norm" and affine is not None:
            made.append(_rescaling(one, affine))
        else:
            made.append(one)
    return made


def affine_of(step: ChainStep) -> Affine | None:
    """The step as x scale + shift, if it is that."""
    if step.kind == "batch_norm":
        gamma = 1.0 if step.get("gamma") is None else np.asarray(step.get("gamma"), np.float64)
        beta = 0.0 if step.get("beta") is None else np.asarray(step.get("beta"), np.float64)
        scale = gamma / np.sqrt(np.asarray(step.get("variance"), np.float64) + step.get("epsilon"))
        return scale, beta - step.get("mean") * scale
    if step.kind == "normalization":
        scale = 1.0 / np.asarray(step.get("deviation"), np.float64)
        return scale, -np.asarray(step.get("mean"), np.float64) * scale
    if step.kind == "rescaling":
        return np.asarray(step.get("scale"), np.float64), np.asarray(step.get("offset"), np.float64)
    if step.kind == "scale":
        return np.asarray(step.get("scale"), np.float64), np.zeros(step.inputs)
    return None


def _numbers(step: ChainStep) -> tuple[Array, Array]:
    kernel = np.asarray(step.get("kernel"), np.float64)
    bias = step.get("bias")
    return kernel, np.zeros(kernel.shape[1]) if bias is None else np.asarray(bias, np.float64)


def _dense(step: ChainStep, kernel: Array, bias: Array) -> ChainStep:
    return ChainStep("dense", {"kernel": kernel, "bias": bias}, step.inputs, step.outputs, step.place)


def _rescaling(step: ChainStep, affine: Affine) -> ChainStep:
    return ChainStep("rescaling", {"scale": affine[0], "offset": affine[1]}, step.inputs, step.outputs, step.place)
