"""Blocks of every quantization format and what gguf.quants.dequantize makes of them.

    python dequant.py

A file holds `blocks` (u8, [n_blocks, bytes of a block]) and `values` (f32, [n_blocks, weights of a block]).
"""

from importlib.metadata import version

import gguf
import numpy as np
from gguf import GGMLQuantizationType as Type
from safetensors.numpy import save_file

from make import GOLDENS

N_RANDOM = 6
# Scales as bits of an f16: 0, -0, smallest and largest subnormal, smallest normal, 1, -1, largest, and their like.
F16_SCALES = [0x0000, 0x8000, 0x0001, 0x8001, 0x03FF, 0x0400, 0x3C00, 0xBC00, 0x7BFF, 0xFBFF]
# Where the f16 scales of a block stand, in bytes.
SCALES = {
    Type.Q8_0: [0],
    Type.Q4_0: [0],
    Type.Q4_1: [0, 2],
    Type.Q5_0: [0],
    Type.Q5_1: [0, 2],
    Type.Q4_K: [0, 2],
    Type.Q5_K: [0, 2],
    Type.Q6_K: [208],
}


def blocks(kind: Type, generator: np.random.Generator) -> np.ndarray:
    """Random blocks with usual scales, then one for each extreme scale, then all bits of the weights zero and one."""
    size = gguf.GGML_QUANT_SIZES[kind][1]
    every = generator.integers(0, 256, (N_RANDOM + len(F16_SCALES) + 2, size), dtype=np.uint8)
    every[-2:] = [[0], [255]]
    usual = generator.uniform(-0.1, 0.1, (len(every), len(SCALES[kind]))).astype(np.float16).view(np.uint16)
    for column, offset in enumerate(SCALES[kind]):
        bits = usual[:, column]
        extreme = F16_SCALES if column == 0 else F16_SCALES[::-1]
        bits[N_RANDOM : N_RANDOM + len(extreme)] = extreme
        every[:, offset : offset + 2] = bits.astype("<u2").view(np.uint8).reshape(-1, 2)
    return every


def halves(kind: Type) -> np.ndarray:
    """All 65,536 bit patterns would be 256 KiB: every exponent and sign with a few mantissas, NaN left out."""
    n_mantissa, top = (10, 0x7C00) if kind == Type.F16 else (7, 0x7F80)
    mantissas = [0, 1, (1 << n_mantissa) // 3, (1 << n_mantissa) - 1]
    exponents = range(0, top, 1 << n_mantissa)
    bits = [exponent | mantissa for exponent in exponents for mantissa in mantissas] + [top]
    both = np.array(bits + [pattern | 0x8000 for pattern in bits], dtype="<u2")
    return both.view(np.uint8).reshape(-1, 2)


def main() -> None:
    folder = GOLDENS / "dequant"
    folder.mkdir(parents=True, exist_ok=True)
    generator = np.random.default_rng(1)
    for kind in (Type.F16, Type.BF16, *SCALES):
        raw = halves(kind) if kind in (Type.F16, Type.BF16) else blocks(kind, generator)
        values = gguf.dequantize(raw, kind)
        assert np.isfinite(values).all() or kind in (Type.F16, Type.BF16)
        # One key: the order of several is random.
        made = {"oracle": f"gguf.quants.dequantize of gguf {version('gguf')}"}
        path = folder / f"{kind.name.lower()}.safetensors"
        save_file({"blocks": raw, "values": values}, path, made)
        print(kind.name, raw.shape, values.shape, path.stat().st_size)


if __name__ == "__main__":
    main()
