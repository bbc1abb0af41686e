#!/usr/bin/env python3
"""Train the pocket model from scratch, on a CPU or on one GPU.

    python train.py --data data --run run       # goes on from run/last.pt if it is there

DATA is what prepare.py wrote. A run is set by its arguments and its seed: the order of the rows is
a function of (seed, step) alone, so a run that was stopped goes on as if it had not been. The
defaults are those of the committed weights.
"""

import argparse
import json
import math
import sys
import time
from pathlib import Path

import numpy as np
import torch

from model import SIZES, Llama, config_of
from prepare import Stream, fill, load_source

MIX = "tinystories=2,tinystories_chat=2,ccby_books=0.5,pd_books=0.25,synth=0.6"


class Muon:
    """Momentum, made orthogonal by five Newton-Schulz steps; matrices of one shape go together."""

    def __init__(self, params, bf16, momentum=0.95, weight_decay=0.1):
        self.params, self.bf16 = params, bf16
        self.momentum, self.weight_decay = momentum, weight_decay
        self.buffers = [torch.zeros_like(p) for p in params]
        self.groups = {}
        for i, p in enumerate(params):
            self.groups.setdefault(tuple(p.shape), []).append(i)

    def orthogonalize(self, x):
        x = x / (x.norm(dim=(1, 2), keepdim=True) + 1e-7)
        if self.bf16:
            x = x.bfloat16()
        tall = x.shape[1] > x.shape[2]
        if tall:
            x = x.transpose(1, 2)
        for _ in range(5):
            a = x @ x.transpose(1, 2)
            x = 3.4445 * x + (-4.7750 * a + 2.0315 * a @ a) @ x
        return x.transpose(1, 2) if tall else x

    @torch.no_grad()
    def step(self, lr):
        for shape, members in self.groups.items():
            updates = []
            for i in members:
                grad = self.params[i].grad
                self.buffers[i].lerp_(grad, 1 - self.momentum)
                updates.append(grad.lerp(self.buffers[i], self.momentum))
            updates = self.orthogonalize(torch.stack(updates))
            scale = 0.2 * math.sqrt(max(shape))  # the size of an AdamW step
            for i, update in zip(members, updates):
                p = self.params[i]
                p.mul_(1 - lr * self.weight_decay).add_(update.to(p.dtype), alpha=-lr * scale)

    def state_dict(self):
        return self.buffers

    def load_state_dict(self, buffers):
        for mine, saved in zip(self.buffers, buffers):
            mine.copy_(saved)


class Run:
    """The model, its optimizers and the step: all that a checkpoint holds."""

    def __init__(self, args, cfg, device):
        self.args, self.cfg, self.device = args, cfg, device
        torch.manual_seed(args.seed)
        self.model = Llama(cfg).to(device)
        named = list(self.model.named_parameters())
        matrices = [p for n, p in named if p.dim() == 2 and "embed" not in n]
        rest = [p for n, p in named if not (p.dim() == 2 and "embed" not in n)]
        self.muon = Muon(matrices, bf16=args.dtype == "bf16")
        self.adamw = torch.optim.AdamW(rest, lr=args.lr, betas=(0.9, 0.95), eps=1e-8, weight_decay=0.0)
        self.step, self.seconds_before = 0, 0.0
        self.checkpoint = args.run / "last.pt"
        if self.checkpoint.exists():
            self.resume()
        self.start = time.time()
        self.net = torch.compile(self.model) if args.compile else self.model
        self.n_steps = int(args.tokens // args.batch)
        self.long_from = int(self.n_steps * (1 - args.long_part))  # from this step on the rows are long
        self.streams = [
            Stream(args.data, args.mix, args.seed, args.seq),
            Stream(args.data, args.mix, args.seed + 1000, args.long_seq),
        ]

    def resume(self):
        saved = torch.load(self.checkpoint, map_location=self.device)
        if saved["cfg"] != self.cfg.as_dict():
            raise SystemExit("the run in %s has another shape" % self.args.run)
        self.model.load_state_dict(saved["model"])
        self.muon.load_state_dict(saved["muon"])
        self.adamw.load_state_dict(saved["adamw"])
        self.step, self.seconds_before = saved["step"], saved["seconds"]

    def save(self):
        state = {
            "cfg": self.cfg.as_dict(),
            "model": self.model.state_dict(),
            "muon": self.muon.state_dict(),
            "adamw": self.adamw.state_dict(),
            "step": self.step,
            "seconds": self.seconds(),
        }
        partial = self.checkpoint.with_suffix(".tmp")
        torch.save(state, partial)
        partial.replace(self.checkpoint)

    def seconds(self):
        return self.seconds_before + time.time() - self.start

    def autocast(self):
        return torch.autocast(self.device, torch.bfloat16, enabled=self.args.dtype == "bf16")

    def learning_rate(self):
        """Warm up, stay, then go down in a line over the last part."""
        args = self.args
        if self.step < args.warmup:
            return args.lr * ((self.step + 1) / args.warmup)
        last_part = max(1, int(self.n_steps * args.decay))
        return args.lr * min(1.0, max(0.0, (self.n_steps - self.step) / last_part))

    def next_rows(self):
        """The rows of this step, [batch / seq, seq + 1]."""
        late = self.step >= self.long_from
        n = self.args.batch // (self.args.long_seq if late else self.args.seq)
        row0 = (self.step - (self.long_from if late else 0)) * n
        return torch.from_numpy(self.streams[late].rows(row0, n))

    def train_step(self):
        """One update; the mean loss of its rows."""
        lr, rows = self.learning_rate(), self.next_rows()
        micro = max(1, self.args.micro // (rows.shape[1] - 1))
        n_parts = len(rows) // micro
        loss_sum = 0.0
        for i in range(n_parts):
            part = rows[i * micro : (i + 1) * micro].to(self.device)
            with self.autocast():
                loss = self.net(part[:, :-1], part[:, 1:])
            (loss / n_parts).backward()
            loss_sum += loss.detach()
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        for group in self.adamw.param_groups:
            group["lr"] = lr
        self.adamw.step()
        self.muon.step(lr)
        self.model.zero_grad(set_to_none=True)
        self.step += 1
        return float(loss_sum) / n_parts, lr

    @torch.no_grad()
    def evaluate(self, held_out):
        """{source: loss} over the held-out rows."""
        self.model.eval()
        losses, n = {}, max(1, self.args.micro // self.args.seq)
        for name, rows in held_out.items():
            total = 0.0
            for i in range(0, len(rows), n):
                part = rows[i : i + n].to(self.device)
                with self.autocast():
                    total += self.model(part[:, :-1], part[:, 1:]).item() * len(part)
            losses[name] = round(total / len(rows), 4)
        self.model.train()
        return losses


def held_out_rows(args, meta):
    held_out = {}
    for name in sorted(meta["sources"]):
        if name.endswith(".val"):
            rows = fill(load_source(args.data, name), args.seq + 1)[: args.val_tokens // args.seq]
            if len(rows):
                held_out[name.removesuffix(".val")] = torch.from_numpy(rows.astype(np.int64))
    return held_out


def train(args):
    """Train to the end, or for args.max_minutes; True if the run is complete."""
    if args.threads:
        torch.set_num_threads(args.threads)
    device = args.device if args.device != "auto" else "cuda" if torch.cuda.is_available() else "cpu"
    if device == "cuda":
        torch.set_float32_matmul_precision("high")
    args.run.mkdir(parents=True, exist_ok=True)
    meta = json.loads((args.data / "meta.json").read_text())
    held_out = held_out_rows(args, meta)
    run = Run(args, config_of(args.size, meta["vocab"], max(args.seq, args.long_seq)), device)
    n_params = sum(p.numel() for p in run.model.parameters())
    print(
        "%.2f M parameters, from step %d to %d on %s" % (n_params / 1e6, run.step, run.n_steps, device),
        flush=True,
    )

    def log(**entry):
        entry = {"step": run.step, "tokens": run.step * args.batch, **entry, "seconds": run.seconds()}
        print(json.dumps(entry), flush=True)
        with open(args.run / "log.jsonl", "a") as f:
            f.write(json.dumps(entry) + "\n")

    losses, since, first_step = [], time.time(), run.step
    while run.step < run.n_steps:
        loss, lr = run.train_step()
        losses.append(loss)
        minutes = (time.time() - since) / 60
        stop = 0 < args.max_minutes < minutes
        last = run.step == run.n_steps or stop
        if run.step % args.log_every == 0 or last:
            rate = (run.step - first_step) * args.batch / (minutes * 60)
            log(loss=sum(losses) / len(losses), lr=lr, rate=rate)
            losses = []
        if run.step % args.eval_every == 0 or last:
            log(val=run.evaluate(held_out))
        if run.step % args.save_every == 0 or last:
            run.save()
        if stop and run.step < run.n_steps:
            print("stopped after %.1f minutes; run the same command to go on" % minutes)
            return False
    return True


def arguments(argv=None):
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("--data", type=Path, default=Path("data"))
    ap.add_argument("--run", type=Path, default=Path("run"))
    ap.add_argument("--size", default="s", choices=SIZES)
    ap.add_argument("--tokens", type=float, default=18e6)
    ap.add_argument("--seq", type=int, default=512, help="row length")
    ap.add_argument("--long-seq", type=int, default=1024, help="row length of the last part; the context")
    ap.add_argument("--long-part", type=float, default=0.15)
    ap.add_argument("--batch", type=int, default=8192, help="tokens a step")
    ap.add_argument("--micro", type=int, default=4096, help="tokens at a time")
    ap.add_argument("--lr", type=float, default=5e-3)
    ap.add_argument("--warmup", type=int, default=80)
    ap.add_argument("--decay", type=float, default=0.4)
    ap.add_argument("--mix", default=MIX)
    ap.add_argument("--seed", type=int, default=1)
    ap.add_argument("--device", default="auto")
    ap.add_argument("--dtype", default="fp32", choices=["bf16", "fp32"])
    ap.add_argument("--compile", action="store_true")
    ap.add_argument("--threads", type=int, default=0)
    ap.add_argument(
        "--max-minutes", type=float, default=0, help="save and stop after this time (exit code 3)"
    )
    ap.add_argument("--log-every", type=int, default=20)
    ap.add_argument("--eval-every", type=int, default=300)
    ap.add_argument("--save-every", type=int, default=100)
    ap.add_argument("--val-tokens", type=int, default=24576, help="held-out tokens of each source")
    return ap.parse_args(argv)


if __name__ == "__main__":
    sys.exit(0 if train(arguments()) else 3)
