"""How a map of tokens is cut into windows: which token sits where, and which tokens of a window see each other.

Liu et al., Swin Transformer: Hierarchical Vision Transformer using Shifted Windows, ICCV 2021, in three dimensions.
Everything here is index arithmetic, done once for a size and kept.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from regbench.api.geometry import Shape

WindowRules = Literal["masked", "official", "legacy"]
"""What happens at the edges, and how windows are put back.

masked: padding is masked out of attention; a window longer than the map is cut to it; each axis shifts by itself.
official: as the official code of TransMorph: padding takes part, and one window side of 1 switches every shift off.
legacy: as official, and windows are put back in the shuffled order of TransMorph before March 2022 and of TransMatch.
"""

OFFICIAL_BLOCKED = -100.0
# Below this many mask entries all windows go together, each with a mask of its own; above, windows of a kind share one.
FEW_MASK_ENTRIES = 2**18


@dataclass(frozen=True, eq=False)
class Rows:
    """A gather of rows.

    Attributes:
        index: row r of the result is row index[r] of the source,
        empty: but zero where r stands here; None: nowhere.
    """

    index: Int[Tensor, " rows"]
    empty: Int[Tensor, " none"] | None

    @classmethod
    def of(cls, index: np.ndarray, device: torch.device) -> "Rows":
        """From an index that has −1 where a row is to be zero."""
        empty = np.flatnonzero(index < 0)
        return cls(
            torch.from_numpy(np.maximum(index, 0).astype(np.int32)).to(device),
            torch.from_numpy(empty).to(device) if empty.size else None,
        )

    def take(self, source: Float[Tensor, "old c"]) -> Float[Tensor, "rows c"]:
        """The gathered rows."""
        taken = source.index_select(0, self.index)
        return taken if self.empty is None else taken.index_fill_(0, self.empty, 0.0)


@dataclass(frozen=True, eq=False)
class Group:
    """Neighbouring windows that are masked alike, or that bring a mask each.

    Attributes:
        start: first window.
        stop: behind the last window.
        mask: added to the scores, (1 or windows, tokens, tokens); None: all see all.
    """

    start: int
    stop: int
    mask: Float[Tensor, "w n n"] | None


@dataclass(frozen=True, eq=False)
class Layout:
    """A batch of maps cut into windows. Window rows are the tokens of all windows, window after window.

    Attributes:
        window: sides of a window, after cutting to the map.
        cut: window row ← token.
        uncut: token ← window row it was cut to: the inverse of `cut`.
        read: token ← window row it gets the result of; differs from `uncut` by the legacy shuffle.
        unread: window row ← token that reads it: the inverse of `read`.
        home: window row → token that reads it, or one behind the last token.
        groups: all windows, in order.
    """

    window: Shape
    cut: Rows
    uncut: Rows
    read: Rows
    unread: Rows
    home: Int[Tensor, " rows"]
    groups: tuple[Group, ...]

    @property
    def tokens(self) -> int:
        """Tokens of a window."""
        return self.window[0] * self.window[1] * self.window[2]

    @property
    def windows(self) -> int:
        """Windows of the whole batch."""
        return self.groups[-1].stop


@dataclass(frozen=True, eq=False)
class _Axis:
    """One axis cut into windows.

    Attributes:
        size: tokens; padded: with padding; window, shift: in tokens.
    """

    size: int
    window: int
    shift: int
    masked: bool

    @property
    def padded(self) -> int:
        return -(-self.size // self.window) * self.window

    def coordinates(self) -> np.ndarray:
        """(padded,) which token stands at each place after the shift; −1 for padding."""
        token = (np.arange(self.padded) + self.shift) % self.padded
        return np.where(token < self.size, token, -1)

    def kinds(self) -> tuple[np.ndarray, np.ndarray]:
        """The distinct windows, (kinds, window), as a code for each place, and the kind of each window.

        Places of different codes do not see each other: pieces that the shift brought together from the two ends of
        the map (the official three regions), and −1 for padding that is masked.
        """
        code = np.zeros(self.padded, dtype=np.int64)
        if self.shift:
            code[-self.window :] = 1
            code[-self.shift :] = 2
        if self.masked:
            code[self.coordinates() < 0] = -1
        kinds, kind = np.unique(code.reshape(-1, self.window), axis=0, return_inverse=True)
        return kinds, kind.reshape(-1)


def clip_window(window: Shape, shape: Sequence[int], rules: WindowRules) -> Shape:
    """The window's sides, none longer than the map, unless the rules are the official ones."""
    if rules != "masked":
        return window
    i, j, k = (min(w, n) for w, n in zip(window, shape, strict=True))
    return i, j, k


def _axes(shape: Sequence[int], window: Shape, shifted: bool, rules: WindowRules) -> list[_Axis]:
    masked = rules == "masked"
    sides = clip_window(window, shape, rules)
    shifts = [w // 2 if shifted and not (masked and n <= w) else 0 for n, w in zip(shape, sides, strict=True)]
    if not masked and min(shifts) == 0:
        shifts = [0, 0, 0]
    return [_Axis(n, w, s, masked) for n, w, s in zip(shape, sides, shifts, strict=True)]


@lru_cache(maxsize=64)
@torch.inference_mode(False)  # what is kept must serve training, too, whoever asks first
def layout(batch: int, shape: Shape, window: Shape, shifted: bool, rules: WindowRules, device: torch.device) -> Layout:
    """How a batch of maps is cut into windows.

    Args:
        batch: number of maps.
        shape: tokens of a map along i, j, k.
        window: sides of a window in tokens.
        shifted: by half a window.
        rules: see `WindowRules`.
        device: where the index lists are kept.
    """
    axes = _axes(shape, window, shifted, rules)
    masked = rules == "masked"
    source = _source(axes)
    order, groups = _group(batch, axes, device)
    rank = np.empty_like(order)
    rank[order] = np.arange(order.size)
    offset = np.arange(batch)[:, None, None] * int(np.prod(shape))
    per_map = _windows_of(source, axes)
    cut = np.where(per_map >= 0, per_map + offset, -1).reshape(order.size, -1)[order]
    row = (rank.reshape(batch, -1, 1) * cut.shape[1] + np.arange(cut.shape[1])).reshape(batch, *per_map.shape)
    read = _to_tokens(row, source, axes, legacy=rules == "legacy")
    unread = np.full(cut.size, -1)
    unread[read] = np.arange(read.size)
    uncut = _to_tokens(row, source, axes, legacy=False)
    cut = cut.reshape(-1)
    i, j, k = (axis.window for axis in axes)
    return Layout(
        window=(i, j, k),
        cut=Rows.of(np.maximum(cut, 0) if masked else cut, device),
        uncut=Rows.of(uncut, device),
        read=Rows.of(read, device),
        unread=Rows.of(unread, device),
        home=torch.from_numpy(np.where(unread < 0, read.size, unread)).to(device),
        groups=groups,
    )


def _source(axes: Sequence[_Axis]) -> np.ndarray:
    """(padded, padded, padded) number of the token at each place after padding and shift; −1 for padding."""
    number = np.zeros((1, 1, 1), dtype=np.int64)
    padding = np.zeros((1, 1, 1), dtype=bool)
    for axis, at in zip(axes, np.ix_(*(a.coordinates() for a in axes)), strict=True):
        number = number * axis.size + at
        padding = padding | (at < 0)
    return np.where(padding, -1, number)


def _windows_of(grid: np.ndarray, axes: Sequence[_Axis]) -> np.ndarray:
    """(windows, tokens): a padded grid cut into windows, in their official order."""
    split = grid.reshape([n for a in axes for n in (a.padded // a.window, a.window)])
    return split.transpose(0, 2, 4, 1, 3, 5).reshape(-1, int(np.prod([a.window for a in axes])))


def _to_tokens(row: np.ndarray, source: np.ndarray, axes: Sequence[_Axis], *, legacy: bool) -> np.ndarray:
    """(batch · tokens,) the window row that each token gets, from (batch, windows, tokens) row numbers."""
    counts = [a.padded // a.window for a in axes]
    split = row.reshape(-1, *counts, *(a.window for a in axes))
    back = (0, 1, 3, 5, 2, 4, 6) if legacy else (0, 1, 4, 2, 5, 3, 6)
    placed = split.transpose(back).reshape(len(row), -1)
    token = source.reshape(-1)
    real = token >= 0
    result = np.empty((len(row), int(real.sum())), dtype=np.int64)
    result[:, token[real]] = placed[:, real]
    return result.reshape(-1)


def _group(batch: int, axes: Sequence[_Axis], device: torch.device) -> tuple[np.ndarray, tuple[Group, ...]]:
    """The order in which windows of a kind stand together, and the groups."""
    kinds, kind = zip(*(axis.kinds() for axis in axes), strict=True)
    numbers = [len(k) for k in kinds]
    of_window = np.tile(np.ravel_multi_index(np.ix_(*kind), numbers).reshape(-1), batch)
    tokens = int(np.prod([a.window for a in axes]))
    official = not axes[0].masked
    masks = {
        int(code): _mask([kinds[a][i] for a, i in enumerate(np.unravel_index(code, numbers))], official)
        for code in np.unique(of_window)
    }
    if of_window.size * tokens**2 <= FEW_MASK_ENTRIES:
        each = None if not any(m.any() for m in masks.values()) else np.stack([masks[int(c)] for c in of_window])
        return np.arange(of_window.size), (Group(0, of_window.size, _tensor(each, device)),)
    order = np.argsort(of_window, kind="stable")
    groups, start = [], 0
    for code, mask in masks.items():
        stop = start + int((of_window == code).sum())
        groups.append(Group(start, stop, _tensor(mask[None] if mask.any() else None, device)))
        start = stop
    return order, tuple(groups)


def _mask(codes: Sequence[np.ndarray], official: bool) -> np.ndarray:
    """(tokens, tokens) what is added to the scores of a window whose three axes have these codes."""
    blocked = np.zeros((1, 1), dtype=bool)
    padding = np.zeros(1, dtype=bool)
    for code in codes:
        differ = code[:, None] != code[None, :]
        n, m = len(blocked), len(code)
        blocked = (blocked[:, None, :, None] | differ[None, :, None, :]).reshape(n * m, n * m)
        padding = (padding[:, None] | (code < 0)[None, :]).reshape(-1)
    # Padding sees everything, so that no row of scores is empty; nobody reads what it gets.
    blocked = (blocked | padding[None, :]) & ~padding[:, None]
    return np.where(blocked, OFFICIAL_BLOCKED if official else -np.inf, 0.0).astype(np.float32)


def _tensor(mask: np.ndarray | None, device: torch.device) -> Tensor | None:
    return None if mask is None else torch.from_numpy(mask).to(device)


@lru_cache(maxsize=64)
@torch.inference_mode(False)  # what is kept must serve training, too, whoever asks first
def relative_index(window: Shape, clipped: Shape, device: torch.device) -> Int[Tensor, " pairs"]:
    """For each pair (query, key) of a window, the row of the table of relative positions.

    Args:
        window: the sides that the table was made for, (2 w₀ − 1)(2 w₁ − 1)(2 w₂ − 1) rows.
        clipped: the sides of the window at hand, none longer: it uses the middle of the table.
        device: where the index is kept.
    """
    index = np.zeros((1, 1), dtype=np.int64)
    for side, cut in zip(window, clipped, strict=True):
        place = np.arange(cut)
        offset = place[:, None] - place[None, :] + side - 1
        n = len(index)
        index = (index[:, None, :, None] * (2 * side - 1) + offset[None, :, None, :]).reshape(n * cut, n * cut)
    return torch.from_numpy(index.reshape(-1)).to(device)
