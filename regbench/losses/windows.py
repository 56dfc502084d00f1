"""Sums over a cubic window around each voxel, zero outside the volume."""

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor


def box_sum(volumes: Tensor, window: int) -> Tensor:
    """Window sums of (b, i, j, k) at once, as three products with banded matrices of ones; for an accelerator."""
    i, j, k = (_band(n, window, volumes) for n in volumes.shape[1:])
    along_j_and_k = torch.matmul(j, torch.matmul(volumes, k))
    return torch.matmul(i, along_j_and_k.flatten(2)).view_as(volumes)


def _band(size: int, window: int, like: Tensor) -> Tensor:
    place = torch.arange(size, device=like.device)
    return ((place[:, None] - place).abs() <= window // 2).to(like.dtype)


def doublings(window: int) -> Iterator[tuple[bool, int]]:
    """How a sum of `window` terms is built: each step adds a copy of the sum so far (True) or of the terms, shifted.

    >>> list(doublings(9))
    [(True, 1), (True, 2), (True, 4), (False, 8)]
    """
    width = 1
    for bit in f"{window:b}"[1:]:
        yield True, width
        width *= 2
        if bit == "1":
            yield False, width
            width += 1


class BoxSum:
    """Window sums of one volume that comes plane by plane along i; for a CPU, where a few planes fit the cache.

    Within a plane, rows follow each other with a gap of half a window of zeros between them, so that a sum along
    either axis is a sum of shifted flat buffers. From plane to plane the sum runs on, and is made anew every `renewal`
    planes (1: always), so that rounding errors of large values do not reach windows that do not hold them.

    Attributes:
        length: elements of a flat plane of sums.
        padded: the next plane with its gaps, flat; gaps must stay zero.
        inside: the same without gaps, (j, k).
    """

    def __init__(
        self, plane: Sequence[int], window: int, dtype: torch.dtype, renewal: int, scratch: Sequence[Tensor]
    ) -> None:
        rows, columns = plane
        self._shape, self._half = (rows, columns), window // 2
        self.padded = torch.zeros(padded_length(plane, window), dtype=dtype)
        pitch = columns + self._half
        skip = self._half * (pitch + 1)
        self.inside = self.padded.as_strided((rows, columns), (pitch, 1), skip)
        self._additions = list(_additions(self.padded, (1, pitch), window, scratch))
        self.length = self._additions[-1][0].numel()
        self._planes = self.padded.new_zeros(window, self.length)
        self._rows = self._planes.unbind(0)
        self._sums = torch.zeros_like(self._rows[0])
        self._count = 0
        self._renewal = renewal

    def push(self, *, empty: bool = False) -> Tensor:
        """Take in the plane that stands in `padded` (or one of zeros).

        Returns:
            The sums around the plane that came half a window earlier, flat; `unpad` gives them as (j, k). They must not
            be changed, and are valid until the next push.
        """
        newest = self._rows[self._count % len(self._rows)]
        self._count += 1
        anew = self._count % self._renewal == 0
        if not anew:
            self._sums.sub_(newest)
        if empty:
            newest.zero_()
        else:
            for a, b, out in self._additions[:-1]:
                torch.add(a, b, out=out)
            a, b, _ = self._additions[-1]
            torch.add(a, b, out=newest)
        return torch.sum(self._planes, 0, out=self._sums) if anew else self._sums.add_(newest)

    def unpad(self, flat: Tensor) -> Tensor:
        """A plane as `push` gives it, as (j, k)."""
        return flat.as_strided(self._shape, (self._shape[1] + self._half, 1))


def padded_length(plane: Sequence[int], window: int) -> int:
    """Elements of a plane with its gaps: also the size of the scratch buffers, of which three are needed."""
    rows, columns = plane
    half = window // 2
    return (rows + 2 * half) * (columns + half) + half


def _additions(
    terms: Tensor, strides: Sequence[int], window: int, scratch: Sequence[Tensor]
) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """The additions (a, b, out) that sum a flat plane over the window along each stride in turn."""
    for stride in strides:
        sums = terms
        for of_sums, shift in doublings(window):
            shifted = (sums if of_sums else terms)[shift * stride :]
            length = min(sums.numel(), shifted.numel())
            taken = {sums.data_ptr(), terms.data_ptr()}
            out = next(buffer for buffer in scratch if buffer.data_ptr() not in taken)[:length]
            yield sums[:length], shifted[:length], out
            sums = out
        terms = sums
