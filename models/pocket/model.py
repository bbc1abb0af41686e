"""The pocket model's architecture and the facts that training, export and sampling share.

A plain Llama: RMSNorm, rotary positions (half-split), SwiGLU, grouped-query attention, tied
embeddings. Module names are those of Hugging Face's LlamaForCausalLM without the `model.` prefix.
"""

import math
from dataclasses import asdict, dataclass

import torch
import torch.nn as nn
import torch.nn.functional as F

from prepare import PAD


@dataclass(frozen=True)
class Config:
    hidden: int
    layers: int
    heads: int
    kv: int  # key and value heads
    ffn: int
    head: int  # width of a head
    vocab: int
    ctx: int  # longest sequence
    theta: float  # RoPE base
    eps: float  # RMSNorm

    as_dict = asdict


# hidden, layers, heads, key and value heads, ffn; a head is 64 wide
SIZES = {
    "xs": (128, 4, 2, 1, 384),
    "s": (192, 6, 3, 1, 512),
    "m6": (256, 6, 4, 2, 768),
    "m": (256, 8, 4, 2, 768),
    "m10": (256, 10, 4, 2, 768),
    "l": (320, 10, 5, 1, 896),
}


def config_of(size, vocab, ctx):
    hidden, layers, heads, kv, ffn = SIZES[size]
    return Config(hidden, layers, heads, kv, ffn, 64, vocab, ctx, 10000.0, 1e-5)


class Norm(nn.Module):
    def __init__(self, width, eps):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))
        self.eps = eps

    def forward(self, x):
        y = x.float()
        y = y * torch.rsqrt(y.pow(2).mean(-1, keepdim=True) + self.eps)
        return (y * self.weight.float()).to(x.dtype)


def rope(x, cos, sin):
    half = x.shape[-1] // 2
    return x * cos + torch.cat((-x[..., half:], x[..., :half]), -1) * sin


class Attention(nn.Module):
    def __init__(self, cfg):
        super().__init__()
        self.head, self.groups = cfg.head, cfg.heads // cfg.kv
        self.q_proj = nn.Linear(cfg.hidden, cfg.heads * cfg.head, bias=False)
        self.k_proj = nn.Linear(cfg.hidden, cfg.kv * cfg.head, bias=False)
        self.v_proj = nn.Linear(cfg.hidden, cfg.kv * cfg.head, bias=False)
        self.o_proj = nn.Linear(cfg.heads * cfg.head, cfg.hidden, bias=False)

    def forward(self, x, cos, sin):
        batch, length, _ = x.shape

        def heads(y):  # [batch, length, n * head] -> [batch, n, length, head]
            return y.view(batch, length, -1, self.head).transpose(1, 2)

        q = rope(heads(self.q_proj(x)), cos, sin)
        k = rope(heads(self.k_proj(x)), cos, sin)
        v = heads(self.v_proj(x))
        if self.groups > 1:
            k, v = k.repeat_interleave(self.groups, 1), v.repeat_interleave(self.groups, 1)
        y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        return self.o_proj(y.transpose(1, 2).reshape(batch, length, -1))


class Mlp(nn.Module):
    def __init__(self, cfg):
        super().__init__()
        self.gate_proj = nn.Linear(cfg.hidden, cfg.ffn, bias=False)
        self.up_proj = nn.Linear(cfg.hidden, cfg.ffn, bias=False)
        self.down_proj = nn.Linear(cfg.ffn, cfg.hidden, bias=False)

    def forward(self, x):
        return self.down_proj(F.silu(self.gate_proj(x)) * self.up_proj(x))


class Layer(nn.Module):
    def __init__(self, cfg):
        super().__init__()
        self.self_attn = Attention(cfg)
        self.mlp = Mlp(cfg)
        self.input_layernorm = Norm(cfg.hidden, cfg.eps)
        self.post_attention_layernorm = Norm(cfg.hidden, cfg.eps)

    def forward(self, x, cos, sin):
        x = x + self.self_attn(self.input_layernorm(x), cos, sin)
        return x + self.mlp(self.post_attention_layernorm(x))


class Llama(nn.Module):
    def __init__(self, cfg):
        super().__init__()
        self.embed_tokens = nn.Embedding(cfg.vocab, cfg.hidden)
        self.layers = nn.ModuleList(Layer(cfg) for _ in range(cfg.layers))
        self.norm = Norm(cfg.hidden, cfg.eps)
        inv_freq = 1.0 / (cfg.theta ** (torch.arange(0, cfg.head, 2).float() / cfg.head))
        angles = torch.outer(torch.arange(cfg.ctx).float(), inv_freq)
        angles = torch.cat((angles, angles), -1)
        self.register_buffer("cos", angles.cos(), persistent=False)
        self.register_buffer("sin", angles.sin(), persistent=False)
        self.init_weights(cfg.layers)

    def init_weights(self, layers):
        for name, p in self.named_parameters():
            if p.dim() != 2:
                continue
            std = 0.02 if "embed" in name else 1 / math.sqrt(p.shape[1])
            if "o_proj" in name or "down_proj" in name:
                std /= math.sqrt(2 * layers)
            nn.init.normal_(p, std=std)

    def forward(self, ids, targets=None):
        """ids [batch, length] -> logits [batch, length, vocab], or the mean loss on `targets`."""
        length = ids.shape[1]
        h = self.embed_tokens(ids)
        dtype = h.dtype
        if torch.is_autocast_enabled(ids.device.type):
            dtype = torch.get_autocast_dtype(ids.device.type)
            h = h.to(dtype)
        cos, sin = self.cos[:length].to(dtype), self.sin[:length].to(dtype)
        for layer in self.layers:
            h = layer(h, cos, sin)
        logits = F.linear(self.norm(h), self.embed_tokens.weight)
        if targets is None:
            return logits
        flat = logits.float().view(-1, logits.shape[-1])
        return F.cross_entropy(flat, targets.reshape(-1), ignore_index=PAD)
