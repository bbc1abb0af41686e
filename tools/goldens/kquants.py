"""Plain quantizers of Q4_K, Q5_K and Q6_K, whose blocks the package gguf can read but not write.

Layouts: ggml-common.h of llama.cpp. The choice of scales is the simplest one: it makes valid blocks that use every
field, not good ones. gguf.quants.dequantize is the oracle for what they mean.
"""

import numpy as np

QK_K = 256


def quantize_q4_k(weights: np.ndarray) -> np.ndarray:
    """f32 [rows, columns] to bytes [rows, columns / 256 * 144]: f16 d and dmin, 12 bytes of 6-bit scales, nibbles."""
    header, q = _with_minimums(weights, 15)
    return np.concatenate([header, _nibbles(q)], axis=1).reshape(weights.shape[0], -1)


def quantize_q5_k(weights: np.ndarray) -> np.ndarray:
    """f32 [rows, columns] to bytes [rows, columns / 256 * 176]: as Q4_K, with 32 bytes of fifth bits in the middle."""
    header, q = _with_minimums(weights, 31)
    fifth = (q >> 4 << np.arange(8, dtype=np.uint8)[:, None]).sum(axis=1, dtype=np.uint8)
    return np.concatenate([header, fifth, _nibbles(q & 15)], axis=1).reshape(weights.shape[0], -1)


def quantize_q6_k(weights: np.ndarray) -> np.ndarray:
    """f32 [rows, columns] to bytes [rows, columns / 256 * 210]: low nibbles, high bits in pairs, i8 scales, f16 d."""
    x = weights.reshape(-1, 16, 16)
    extreme = np.take_along_axis(x, np.abs(x).argmax(axis=2)[:, :, None], axis=2)[:, :, 0]
    step = -extreme / 32  # the largest weight of a sub-block is -32 steps, so scales have either sign
    d, _ = _top(np.abs(step), 127)
    scale = np.clip(np.rint(step / _nonzero(d)[:, None]), -128, 127)
    unit = d[:, None] * scale
    q = np.clip(np.rint(x / _nonzero(unit)[:, :, None]) + 32, 0, 63).astype(np.uint8).reshape(-1, 2, 4, 32)
    low = np.concatenate([q[:, :, 0:2] & 15 | (q[:, :, 2:4] & 15) << 4], axis=2).reshape(-1, 128)
    high = (q[:, :, 0] >> 4 | (q[:, :, 1] >> 4) << 2 | (q[:, :, 2] >> 4) << 4 | (q[:, :, 3] >> 4) << 6).reshape(-1, 64)
    blocks = np.concatenate([low, high, scale.astype(np.int8).view(np.uint8), _f16_bytes(d)], axis=1)
    return blocks.reshape(weights.shape[0], -1)


def _with_minimums(weights: np.ndarray, levels: int) -> tuple[np.ndarray, np.ndarray]:
    """The header of each super-block, and its weights [8, 32] of 0 to `levels`."""
    x = weights.reshape(-1, 8, 32)
    low = np.minimum(x.min(axis=2), 0)
    step = (x.max(axis=2) - low) / levels
    d, scale = _top(step, 63)
    dmin, offset = _top(-low, 63)
    unit = d[:, None] * scale
    shifted = x + (dmin[:, None] * offset)[:, :, None]
    q = np.clip(np.rint(shifted / _nonzero(unit)[:, :, None]), 0, levels).astype(np.uint8)
    return np.concatenate([_f16_bytes(d), _f16_bytes(dmin), _pack_scales(scale, offset)], axis=1), q


def _nibbles(q: np.ndarray) -> np.ndarray:
    """Weights [8, 32] of 4 bits: sub-blocks 2 i in the low nibbles of 32 bytes, 2 i + 1 in the high ones."""
    pairs = q.reshape(-1, 4, 2, 32)
    return (pairs[:, :, 0] | pairs[:, :, 1] << 4).reshape(-1, 128)


def _top(values: np.ndarray, levels: int) -> tuple[np.ndarray, np.ndarray]:
    """One f16 unit for a row of values >= 0, and each value in that unit, 0 to `levels`."""
    unit = (values.max(axis=1) / levels).astype(np.float16).astype(np.float32)
    return unit, np.clip(np.rint(values / _nonzero(unit)[:, None]), 0, levels)


def _nonzero(values: np.ndarray) -> np.ndarray:
    return np.where(values == 0, 1, values)


def _f16_bytes(values: np.ndarray) -> np.ndarray:
    return values.astype(np.float16).view(np.uint8).reshape(-1, 2)


def _pack_scales(scale: np.ndarray, offset: np.ndarray) -> np.ndarray:
    """Sub-blocks 0 to 3: 6 bits in bytes 0 to 7; 4 to 7: nibbles in bytes 8 to 11, two more bits on top of 0 to 7."""
    s, m = scale.astype(np.uint8), offset.astype(np.uint8)
    first = s[:, :4] | (s[:, 4:] >> 4) << 6
    second = m[:, :4] | (m[:, 4:] >> 4) << 6
    third = s[:, 4:] & 15 | (m[:, 4:] & 15) << 4
    return np.concatenate([first, second, third], axis=1)
