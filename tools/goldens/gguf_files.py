"""GGUF files through the package gguf: compare with a checkpoint, load into a transformers model, quantize."""

import json
from pathlib import Path

import gguf
import numpy as np
import torch
from gguf import GGMLQuantizationType as Type
from gguf import GGUFReader, GGUFWriter
from safetensors.torch import load_file
from transformers import PreTrainedModel

import kquants


def check_against_checkpoint(folder: Path) -> None:
    """Every weight of hf/ must stand in the GGUF with the same value (q and k rows of Llama in the other order)."""
    paths = sorted(folder.glob("*.gguf"))
    found = {name: array for path in paths for name, array in _arrays(GGUFReader(path)).items()}
    expected = {}
    for path in sorted((folder / "hf").glob("*.safetensors")):
        expected.update(load_file(path))
    config = json.loads((folder / "hf/config.json").read_text())
    names = _names(GGUFReader(paths[0]), config["num_hidden_layers"])
    for name, weight in expected.items():
        other = found.pop(names.get_name(name, try_suffixes=(".weight", ".bias")))
        other = _as_transformers_orders(name, torch.tensor(other), config)
        assert torch.equal(weight.float(), other), f"{folder.name}: {name} differs"
    for path in paths:
        describe(path)
    print("  added by the converter:", sorted(found))


def load_into(model: PreTrainedModel, path: Path) -> None:
    """Gives `model` the dequantized weights of a GGUF file."""
    reader = GGUFReader(path)
    found, names = _arrays(reader), _names(reader, model.config.num_hidden_layers)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            array = torch.tensor(found[names.get_name(name, try_suffixes=(".weight", ".bias"))])
            weight.copy_(_as_transformers_orders(name, array, model.config.to_dict()))


def requantize(source: Path, out: Path, formats: dict[str, str], file_type: gguf.LlamaFileType) -> None:
    """Copies a GGUF file; a matrix gets the format of the first key of `formats` that its name contains."""
    reader = GGUFReader(source)
    writer = GGUFWriter(out, reader.fields["general.architecture"].contents())
    for key, field in reader.fields.items():
        if key.startswith("GGUF.") or key in ("general.architecture", "general.file_type"):
            continue
        kind = field.types[0]
        writer.add_key_value(key, field.contents(), kind, field.types[-1] if kind == gguf.GGUFValueType.ARRAY else None)
    writer.add_file_type(file_type)
    for tensor in reader.tensors:
        if len(tensor.shape) == 1:
            writer.add_tensor(tensor.name, tensor.data)
            continue
        kind = Type[next(name for part, name in formats.items() if part in tensor.name)]
        writer.add_tensor(tensor.name, _quantize(_array(tensor), kind), raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def describe(path: Path) -> None:
    reader = GGUFReader(path)
    print(f"{path.parent.name}/{path.name}: {path.stat().st_size} bytes, {len(reader.tensors)} tensors")
    for key, field in reader.fields.items():
        value = field.contents()
        if isinstance(value, list) and len(value) > 8:
            value = f"[{len(value)} x {type(value[0]).__name__}]"
        print(f"  {key} = {str(value)[:100]!r}")
    kinds = sorted({tensor.tensor_type.name for tensor in reader.tensors})
    print(f"  tensor types: {', '.join(kinds)}")


def _quantize(weights: np.ndarray, kind: Type) -> np.ndarray:
    own = {Type.Q4_K: kquants.quantize_q4_k, Type.Q5_K: kquants.quantize_q5_k, Type.Q6_K: kquants.quantize_q6_k}
    return own[kind](weights) if kind in own else gguf.quantize(weights, kind)


def _arrays(reader: GGUFReader) -> dict[str, np.ndarray]:
    return {tensor.name: _array(tensor) for tensor in reader.tensors}


def _array(tensor: gguf.ReaderTensor) -> np.ndarray:
    """f32 in the shape [rows, columns] of the Hugging Face tensor."""
    return gguf.dequantize(tensor.data, tensor.tensor_type).reshape([int(n) for n in reversed(tensor.shape)])


def _names(reader: GGUFReader, n_layers: int) -> gguf.TensorNameMap:
    name = reader.fields["general.architecture"].contents()
    arch = next(arch for arch, known in gguf.MODEL_ARCH_NAMES.items() if known == name)
    return gguf.get_tensor_name_map(arch, n_layers)


def _as_transformers_orders(name: str, weight: torch.Tensor, config: dict) -> torch.Tensor:
    """Rows of a head go from (x0, y0, x1, y1, ...) to (x0, x1, ..., y0, y1, ...).

    transformers rotates dimension i with i + head_dim / 2, llama.cpp 2 i with 2 i + 1 for the architecture "llama".
    """
    heads = {"q_proj": config["num_attention_heads"], "k_proj": config["num_key_value_heads"]}
    n_heads = next((n for part, n in heads.items() if part in name), None)
    if n_heads is None or config["model_type"] not in ("llama", "mistral"):
        return weight
    return weight.reshape(n_heads, -1, 2, *weight.shape[1:]).swapaxes(1, 2).reshape(weight.shape)
