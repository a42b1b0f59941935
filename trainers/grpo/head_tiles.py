"""Tile size over the vocabulary of TRL's fused head on a CPU."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from trl.trainer import utils

# At most this many bytes of logits stay in a CPU's cache while worked on, and are not given back to the system.
_TILE_BYTES = 8 * 2**20
_NARROWEST = 512


@contextmanager
def narrow_head_tiles(device: torch.device, positions: int) -> Iterator[None]:
    """Let TRL's fused head compute fewer columns of the vocabulary at a time, where it has no kernel of its own.

    Its 32,768 columns are meant for a kernel that goes over a tile once. In torch a tile is read and written a dozen
    times, and memory of its size comes new from the system each time: for 512 positions, a hidden size of 512 and
    151,936 tokens forward and backward pass take 7.2 s of one core, with narrow tiles 4.3 s. The numbers are the same,
    summed up in another order. The width is a constant of TRL's, not an argument; `test_trl_seams.py` watches it.

    Args:
        device (`torch.device`): Where the head is; any but a CPU keeps TRL's width.
        positions (`int`): Rows of a tile.
    """
    before = utils._CHUNKED_LOGPROB_CHUNK_SIZE
    if device.type == "cpu":
        fitting = _TILE_BYTES // (4 * max(positions, 1))
        utils._CHUNKED_LOGPROB_CHUNK_SIZE = min(max(fitting, _NARROWEST), before)
    try:
        yield
    finally:
        utils._CHUNKED_LOGPROB_CHUNK_SIZE = before
