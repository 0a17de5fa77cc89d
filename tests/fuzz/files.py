"""What `fastdense.load` reads: the bytes of a file, and descriptions of models in files with right checksums."""

from __future__ import annotations

import json
import os
import random
import warnings
import zlib

import atheris

from tests.attack.files import KINDS, encoded, mutated, parsed, problem_of, written

# The first byte of an input: 0: the rest is a file; k: the rest is a description for the tensors of the k-th sample.
# Of the models that are loaded, one in 64 is used, too, which takes a hundred times as long.
_SAMPLES = [parsed(written(kind, optimizer)) for kind, optimizer in KINDS]
_DESCRIPTOR = os.memfd_create("fuzzed")
_PATH = f"/proc/self/fd/{_DESCRIPTOR}"
warnings.simplefilter("ignore")


def seeds() -> list[bytes]:
    """A file of each kind, and its description."""
    whole = [bytes([0]) + encoded(*sample) for sample in _SAMPLES]
    return whole + [bytes([k]) + json.dumps(config).encode() for k, (config, _) in enumerate(_SAMPLES, 1)]


def mutate(data: bytes, most: int, seed: int) -> bytes:
    """Change an input: its bytes, or a value of its description."""
    chance = random.Random(seed)
    if data and data[0] and chance.random() < 0.5:
        try:
            config = json.loads(data[1:])
            mutated(config, chance)
            changed = bytes([data[0]]) + json.dumps(config).encode()
            if len(changed) <= most:
                return changed
        except (ValueError, TypeError, LookupError, RecursionError):  # it is no description any more
            pass
    found: bytes = atheris.Mutate(data, most)
    return found


def content(data: bytes) -> bytes:
    """The file that an input stands for."""
    kind = data[0] % (len(_SAMPLES) + 1) if data else 0
    return encoded(data[1:].decode(errors="replace"), _SAMPLES[kind - 1][1]) if kind else data[1:]


def one(data: bytes) -> None:
    """Load a file, and perhaps use what it holds."""
    os.ftruncate(_DESCRIPTOR, 0)
    os.pwrite(_DESCRIPTOR, content(data), 0)
    if problem := problem_of(_PATH, use=zlib.crc32(data) % 64 == 0):
        raise AssertionError(problem)
