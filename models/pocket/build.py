#!/usr/bin/env python3
"""Rebuild the pocket model: one command, the same bytes every time.

    python models/pocket/build.py            weights/ -> pocket.gguf
    python models/pocket/build.py --train    corpus/ -> tokenizer, training, weights/ -> pocket.gguf

Without --train only gguf, numpy and safetensors are needed. Training is resumable: after a stop the
same command goes on from the last checkpoint in --scratch.
"""

import argparse
import hashlib
import json
from pathlib import Path

import gguf
import numpy as np
import safetensors

HERE = Path(__file__).resolve().parent
ARCH = "llama"
# Hugging Face name within a layer -> GGUF name within a block.
BLOCK_TENSORS = {
    "input_layernorm": "attn_norm",
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "post_attention_layernorm": "ffn_norm",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
}


def read_json(path):
    return json.loads(path.read_text(encoding="utf-8"))


def read_safetensors(path):
    """{name: f32 array} of a file of bf16 tensors; bf16 is the upper half of an f32."""
    tensors = {}
    for name, tensor in safetensors.deserialize(path.read_bytes()):
        if tensor["dtype"] != "BF16":
            raise SystemExit("%s: %s is %s, expected BF16" % (path, name, tensor["dtype"]))
        bits = np.frombuffer(tensor["data"], dtype="<u2").astype(np.uint32) << 16
        tensors[name] = bits.view(np.float32).reshape(tensor["shape"])
    return tensors


def interleave_rope(weight, n_heads):
    """Rows of each head from half-split order (x_i pairs with x_{i + d/2}) to interleaved pairs.

    GGUF's llama architecture rotates neighbours, Hugging Face's rotates halves; llama.cpp's
    converter reorders the rows of Q and K in this way, so the scores stay as they were.
    """
    halves = weight.reshape(n_heads, 2, weight.shape[0] // n_heads // 2, weight.shape[1])
    return halves.swapaxes(1, 2).reshape(weight.shape)


def gguf_tensors(weights, config):
    """Pairs of GGUF name and f32 array, in the order of the forward pass."""
    yield "token_embd.weight", weights.pop("model.embed_tokens.weight")
    n_heads = {"attn_q": config["num_attention_heads"], "attn_k": config["num_key_value_heads"]}
    for i in range(config["num_hidden_layers"]):
        for theirs, ours in BLOCK_TENSORS.items():
            weight = weights.pop("model.layers.%d.%s.weight" % (i, theirs))
            if ours in n_heads:
                weight = interleave_rope(weight, n_heads[ours])
            yield "blk.%d.%s.weight" % (i, ours), weight
    yield "output_norm.weight", weights.pop("model.norm.weight")
    if weights:
        raise SystemExit("tensors that the GGUF has no place for: %s" % sorted(weights))


def add_general(writer, sampling):
    writer.add_type(gguf.GGUFType.MODEL)
    writer.add_name("Limpid pocket")
    writer.add_description(
        "A 3.1 M parameter Llama, trained from scratch on children's stories, that tells a short story "
        "about the things it is asked for. It is a demonstration and knows nothing else."
    )
    writer.add_license("MIT OR Apache-2.0")
    writer.add_size_label("3.1M")
    writer.add_languages(["en"])
    writer.add_file_type(gguf.LlamaFileType.MOSTLY_Q8_0)
    writer.add_quantization_version(gguf.GGML_QUANT_VERSION)
    writer.add_sampling_temp(sampling["temperature"])
    writer.add_sampling_top_k(sampling["top_k"])
    writer.add_sampling_top_p(sampling["top_p"])


def add_hyperparameters(writer, config):
    writer.add_vocab_size(config["vocab_size"])
    writer.add_context_length(config["max_position_embeddings"])
    writer.add_embedding_length(config["hidden_size"])
    writer.add_block_count(config["num_hidden_layers"])
    writer.add_feed_forward_length(config["intermediate_size"])
    writer.add_head_count(config["num_attention_heads"])
    writer.add_head_count_kv(config["num_key_value_heads"])
    writer.add_key_length(config["head_dim"])
    writer.add_value_length(config["head_dim"])
    writer.add_rope_dimension_count(config["head_dim"])
    writer.add_rope_freq_base(config["rope_theta"])
    writer.add_layer_norm_rms_eps(config["rms_norm_eps"])


def add_tokenizer(writer, folder, config):
    tokenizer, settings = read_json(folder / "tokenizer.json"), read_json(folder / "tokenizer_config.json")
    vocab, control = tokenizer["model"]["vocab"], {t["id"] for t in tokenizer["added_tokens"]}
    tokens = sorted(vocab, key=vocab.get)
    if [vocab[t] for t in tokens] != list(range(config["vocab_size"])):
        raise SystemExit("the token ids are not 0 .. %d" % config["vocab_size"])
    merges = [m if isinstance(m, str) else " ".join(m) for m in tokenizer["model"]["merges"]]
    end_of_turn, end_of_text = config["eos_token_id"]
    writer.add_tokenizer_model("gpt2")  # byte-level BPE
    writer.add_tokenizer_pre("qwen2")
    writer.add_token_list(tokens)
    writer.add_token_types(
        [gguf.TokenType.CONTROL if i in control else gguf.TokenType.NORMAL for i in range(len(tokens))]
    )
    writer.add_token_merges(merges)
    writer.add_bos_token_id(config["bos_token_id"])
    writer.add_eos_token_id(end_of_turn)
    # GGUF has one key for each kind of end; readers take the union. The second one ends a plain text.
    writer.add_eot_token_id(end_of_text)
    writer.add_pad_token_id(config["pad_token_id"])
    writer.add_add_bos_token(settings["add_bos_token"])
    writer.add_chat_template(settings["chat_template"])


def write_gguf(folder, out):
    config, sampling = read_json(folder / "config.json"), read_json(folder / "generation_config.json")
    writer = gguf.GGUFWriter(out, ARCH)
    add_general(writer, sampling)
    add_hyperparameters(writer, config)
    add_tokenizer(writer, folder, config)
    q8_0 = gguf.GGMLQuantizationType.Q8_0
    for name, weight in gguf_tensors(read_safetensors(folder / "model.safetensors"), config):
        if weight.ndim == 1:  # norms
            writer.add_tensor(name, weight)
        else:
            writer.add_tensor(name, gguf.quants.quantize(weight, q8_0), raw_dtype=q8_0)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def retrain(corpus, scratch, weights):
    """Everything before the GGUF: about two hours on two cores."""
    from build_corpus import write_synth
    from export import export
    from prepare import prepare
    from train import arguments, train

    data, run = scratch / "data", scratch / "run"
    if not (data / "meta.json").exists():  # the last file that prepare writes
        synth = scratch / "corpus"
        synth.mkdir(parents=True, exist_ok=True)
        write_synth(synth)
        prepare([corpus, synth], data)
    train(arguments(["--data", str(data), "--run", str(run)]))
    export(run, data, weights)


def main():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("--train", action="store_true", help="train from the corpus first")
    ap.add_argument("--corpus", type=Path, default=HERE / "corpus")
    ap.add_argument("--weights", type=Path, default=HERE / "weights", help="Hugging Face folder")
    ap.add_argument(
        "--scratch", type=Path, default=HERE / "scratch", help="token files and checkpoints of --train"
    )
    ap.add_argument("--out", type=Path, default=HERE / "pocket.gguf")
    args = ap.parse_args()
    if args.train:
        retrain(args.corpus, args.scratch, args.weights)
    write_gguf(args.weights, args.out)
    digest = hashlib.sha256(args.out.read_bytes()).hexdigest()
    print("%s: %d bytes, sha256 %s" % (args.out, args.out.stat().st_size, digest))


if __name__ == "__main__":
    main()
