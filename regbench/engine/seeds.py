"""Every random number of a run is a pure function of its seed, what it is for, and where in the run it is drawn."""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager

import torch


def derive(seed: int, purpose: str, *place: int) -> int:
    """A seed for one purpose at one place: 63 bits that share nothing with those of any other.

    >>> derive(0, "step", 1) == derive(0, "step", 1) != derive(0, "step", 2)
    True
    """
    text = repr((seed, purpose, place)).encode()
    return int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), "big") >> 1


@contextmanager
def own_randomness(device: torch.device) -> Iterator[None]:
    """Torch's generators are as before when the block ends, whatever was drawn and seeded in it."""
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        yield
