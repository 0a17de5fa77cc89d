"""Counter-based random numbers: the same words on every engine, in any order, at any batch size.

Philox4x32-10 of Salmon et al., "Parallel random numbers: as easy as 1, 2, 3" (SC 2011). A stream is a function
of (counter, key), so nothing has to be remembered between two draws. The last counter word names the use:
1 initial values, 2 shuffles, 3 dropout, 4 normal noise.
"""

from __future__ import annotations

from statistics import NormalDist

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .arrays import Array, as_float

Words = NDArray[np.uint64]  # 32-bit words held in 64 bits, so that products and sums do not overflow

_MASK = 0xFFFFFFFF
_INITIAL_VALUES, _SHUFFLE, _DROPOUT, _NOISE = 1, 2, 3, 4


def philox(counter: ArrayLike, key: ArrayLike) -> NDArray[np.uint32]:
    """Philox4x32-10.

    Parameters
    ----------
    counter : (..., 4) array of 32-bit words
    key : (2,) array of 32-bit words

    Returns
    -------
    (..., 4) uint32 array
        Four random words for every counter.
    """
    c0, c1, c2, c3 = np.moveaxis(np.asarray(counter, dtype=np.uint64), -1, 0)
    k0, k1 = (int(word) for word in np.asarray(key, dtype=np.uint64))
    mask, half = np.uint64(_MASK), np.uint64(32)
    for _ in range(10):
        left, right = np.uint64(0xD2511F53) * c0, np.uint64(0xCD9E8D57) * c2
        c0, c1 = (right >> half) ^ c1 ^ np.uint64(k0), right & mask
        c2, c3 = (left >> half) ^ c3 ^ np.uint64(k1), left & mask
        k0, k1 = (k0 + 0x9E3779B9) & _MASK, (k1 + 0xBB67AE85) & _MASK
    return np.stack([c0, c1, c2, c3], axis=-1).astype(np.uint32)


def _words(seed: int, counter: tuple[Words | int, Words | int, int, int]) -> Words:
    """Philox words (..., 4) for broadcast counter words and a 64-bit seed as the key."""
    parts = np.broadcast_arrays(*(np.asarray(word, dtype=np.uint64) for word in counter))
    return philox(np.stack(parts, axis=-1), (seed & _MASK, seed >> 32 & _MASK)).astype(np.uint64)


def uniform(seed: int, tensor_index: int, n: int) -> Array:
    """Draw the n uniform numbers in (0, 1) behind the initial values of tensor `tensor_index`.

    Two words give the 53 bits of one number; the added half keeps 0 and 1 out.
    """
    element = np.arange(n, dtype=np.uint64)
    block = element >> np.uint64(1)
    words = _words(seed, (block & np.uint64(_MASK), block >> np.uint64(32), tensor_index, _INITIAL_VALUES))
    first = 2 * (element & np.uint64(1)).astype(np.intp)
    row = np.arange(n)
    high = (words[row, first] >> np.uint64(5)).astype(np.float64)
    low = (words[row, first + 1] >> np.uint64(6)).astype(np.float64)
    return as_float((high * 2.0**26 + low + 0.5) / 2.0**53)


def normal(seed: int, tensor_index: int, n: int) -> Array:
    """Draw n standard normals: the inverse normal cdf of `uniform`."""
    inverse = NormalDist().inv_cdf
    return np.array([inverse(u) for u in uniform(seed, tensor_index, n)])


def truncated_normal(seed: int, tensor_index: int, n: int) -> Array:
    """Draw n normals conditioned on (-2, 2): the inverse cdf between the two ends' probabilities.

    The standard deviation of these is 0.8796, not 1; initializers divide by it.
    """
    gauss = NormalDist()
    low, high = gauss.cdf(-2.0), gauss.cdf(2.0)
    return np.array([gauss.inv_cdf(low + u * (high - low)) for u in uniform(seed, tensor_index, n)])


def dropout_mask(seed: int, op_index: int, step: int, rate: float, shape: tuple[int, int]) -> NDArray[np.bool_]:
    """Tell which elements of a (rows, width) batch op `op_index` keeps in optimizer step `step`."""
    kept: NDArray[np.bool_] = _batch_words(seed, op_index, step, shape, _DROPOUT) >= np.uint64(int(rate * 2.0**32))
    return kept.reshape(-1)[: shape[0] * shape[1]].reshape(shape)


def normal_noise(seed: int, op_index: int, step: int, shape: tuple[int, int]) -> Array:
    """Draw Box and Muller's normals for a (rows, width) batch of op `op_index` in optimizer step `step`."""
    u = (_batch_words(seed, op_index, step, shape, _NOISE).astype(np.float64) + 0.5) / 2.0**32
    radius, angle = np.sqrt(-2.0 * np.log(u[:, ::2])), 2.0 * np.pi * u[:, 1::2]
    pairs = np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=-1)
    return as_float(pairs.reshape(-1)[: shape[0] * shape[1]].reshape(shape))


def _batch_words(seed: int, op_index: int, step: int, shape: tuple[int, int], use: int) -> Words:
    """The words of each four elements of a batch, (blocks, 4)."""
    block = np.arange((shape[0] * shape[1] + 3) // 4, dtype=np.uint64)
    where = op_index | (step >> 32 << 16)
    return _words(seed, (block & np.uint64(_MASK), step & _MASK, where & _MASK, use))


def _mix(h: Words) -> Words:
    """Scramble 32-bit words with murmur3's finalizer."""
    mask = np.uint64(_MASK)
    h = (h ^ (h >> np.uint64(16))) * np.uint64(0x85EBCA6B) & mask
    h = (h ^ (h >> np.uint64(13))) * np.uint64(0xC2B2AE35) & mask
    mixed: Words = h ^ (h >> np.uint64(16))
    return mixed


def shuffle_indices(n: int, seed: int, epoch: int, positions: ArrayLike | None = None) -> NDArray[np.int64]:
    """Tell which row stands at each position of the shuffled order of an epoch.

    A keyed bijection of 0..n-1 that needs no memory: a six-round Feistel network permutes 0..4^h - 1 >= n, and a
    value outside 0..n-1 is sent round again ("cycle walking"), which ends because the network permutes.

    Parameters
    ----------
    n : number of rows, at least 1
    seed, epoch : the key
    positions : positions to look up; all n of them if None

    Returns
    -------
    int64 array in the shape of `positions`
    """
    h = max(4, ((n - 1).bit_length() + 1) // 2)
    shift, mask, whole = np.uint64(h), np.uint64((1 << h) - 1), np.uint64(_MASK)
    keys = _words(seed, (np.arange(2, dtype=np.uint64), 0, epoch & _MASK, _SHUFFLE)).reshape(-1)[:6]
    value = np.array(np.arange(n) if positions is None else positions, dtype=np.uint64)
    outside = np.ones(value.shape, dtype=bool)
    while outside.any():
        left, right = value[outside] >> shift, value[outside] & mask
        for key in keys:
            left, right = right, left ^ (_mix((right + key) & whole) & mask)
        value[outside] = left << shift | right
        outside = value >= n
    return value.astype(np.int64)
