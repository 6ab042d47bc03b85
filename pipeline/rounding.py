"""Fewer bits a number: what is stored keeps the digits that matter, and the rest becomes zeros that compress away.

Rounding the mantissa is known as bit rounding (Zender 2016; Delaunay et al. 2019; Kloewer et al. 2021). The numbers
stay float32, with its range: several openSMILE descriptors exceed what float16 holds.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

# Explicit bits of the mantissa of descriptors and targets on frames: a relative error of at most 2**-9 (.2 %). What it
# is beside the noise of 16-bit sound is in docs/tables.md.
FRAME_BITS = 8
_MANTISSA = 23  # explicit bits of float32


def keep_bits(values: NDArray[np.floating], bits: int = FRAME_BITS) -> NDArray[np.float32]:
    """Round float32 to ``bits`` explicit bits of the mantissa, to nearest, ties to even.

    The relative error is at most ``2 ** -(bits + 1)``, below the smallest normal number (1.2e-38) the absolute one at
    most ``2 ** -(127 + bits)``. NaN and infinity stay what they are; only a number above
    ``(2 - 2 ** -(bits + 1)) * 2 ** 127`` becomes infinite, as in any rounding.

    Args:
        values: any shape.
        bits: 1 to 22.

    Returns:
        Of the same shape.

    >>> keep_bits(np.array([1.0, 1.001, -300.7], np.float32)).tolist()
    [1.0, 1.0, -301.0]
    """
    dropped = _MANTISSA - bits
    raw = np.ascontiguousarray(values, np.float32).view(np.uint32)
    even = (raw >> np.uint32(dropped)) & np.uint32(1)
    rounded = (raw + np.uint32((1 << (dropped - 1)) - 1) + even) & np.uint32(0xFFFFFFFF << dropped & 0xFFFFFFFF)
    exponent = np.uint32(0x7F800000)
    special = (raw & exponent) == exponent
    return np.where(special, raw, rounded).view(np.float32)
