#!/usr/bin/env python3
"""The mixture layer and the training step in PyTorch on the CPU, as the peer of `switchyard bench layer|step`.

torch_peer.py [layer|step|all] [--threads 2] [--dtype f32|bf16|both] [--shape coarse|fine|both] [--seconds 4]
              [--style loop|sorted|permuted|grouped|best]

Start it by tests/bench/torch_peer, which sets the environment that makes PyTorch fastest. Each measurement begins in every
style; those that are far behind after two times leave the rest of the time to the others, and the fastest is reported:
  loop      an index_select and an index_add for each expert, as transformers does it
  sorted    one sort by expert, contiguous slices, one index_add
  permuted  as sorted, but rows are moved by permutations in both directions, gate and up are one product, and the
            experts of a layer are one parameter
  grouped   as permuted, with grouped_mm for the products of all experts, where this PyTorch has it on a CPU
Prints one JSON line a measurement, then a table. Every style is compared with a plain float64 computation before it is
timed, and the training step must lower the loss. A bf16 layer has bf16 weights; a bf16 training step has float32
weights under autocast, since AdamW on bf16 weights would be another, less exact, algorithm.
"""
import argparse
import json
import os
import re
import statistics
import sys
import time

if sys.argv[1:2] in (["-h"], ["--help"]):  # help needs no PyTorch
    print(__doc__.strip())
    sys.exit()

import torch
import torch.nn.functional as F
from torch import nn

LAYER_WIDTH, LAYER_TOKENS = 512, 4096
STEP = {"layers": 4, "width": 256, "heads": 4, "length": 256, "batch": 8, "vocabulary": 256}
SHAPES = {
    "coarse": {"experts": 8, "top_k": 2, "shared": 0, "layer_width": 1408, "step_width": 704},
    "fine": {"experts": 64, "top_k": 6, "shared": 2, "layer_width": 352, "step_width": 176},
}
STYLES = ("loop", "sorted", "permuted", "grouped")
ONE_PARAMETER_STYLES = ("permuted", "grouped")
FAR_BEHIND = 1.2
DTYPES = {"f32": torch.float32, "bf16": torch.bfloat16}
BALANCE_LOSS, Z_LOSS = 0.01, 0.001


def grouped_mm(x, weights, ends):
    """Rows ends[e - 1] .. ends[e] of x [R, in] times weights[e] [out, in], for each e. It knows no autocast."""
    if torch.is_autocast_enabled("cpu"):
        dtype = torch.get_autocast_dtype("cpu")
        x, weights = x.to(dtype), weights.to(dtype)
    product = getattr(F, "grouped_mm", None) or torch._grouped_mm
    return product(x, weights.transpose(-2, -1), offs=ends)


def why_not_grouped():
    """What keeps the style `grouped` from running here, forward or backward; None if nothing does."""
    ends = torch.tensor([8, 8, 24, 32], dtype=torch.int32)
    try:
        for dtype in DTYPES.values():
            x = torch.randn(32, 16, dtype=dtype, requires_grad=True)
            weights = torch.randn(4, 8, 16, dtype=dtype, requires_grad=True)
            grouped_mm(x, weights, ends).backward(torch.ones(32, 8, dtype=dtype))
    except (AttributeError, NotImplementedError, RuntimeError, TypeError) as error:
        return str(error).splitlines()[0]
    return None


class Dispatch(torch.autograd.Function):
    """rows[i] = x[order[i] // top_k]; backward is a gather too, by the inverse permutation."""

    @staticmethod
    def forward(ctx, x, order, inverse, top_k):
        ctx.save_for_backward(inverse)
        ctx.top_k = top_k
        return x.index_select(0, torch.div(order, top_k, rounding_mode="floor"))

    @staticmethod
    def backward(ctx, drows):
        (inverse,) = ctx.saved_tensors
        picked = drows.index_select(0, inverse)
        return picked.view(-1, ctx.top_k, drows.shape[1]).sum(1), None, None, None


class Combine(torch.autograd.Function):
    """out[t] = sum_j gates[t, j] * rows[inverse[t * top_k + j]]"""

    @staticmethod
    def forward(ctx, rows, gates, order, inverse):
        picked = rows.index_select(0, inverse).view(*gates.shape, -1)
        ctx.save_for_backward(picked, gates, order)
        return torch.bmm(gates.to(rows.dtype).unsqueeze(1), picked).squeeze(1)

    @staticmethod
    def backward(ctx, dout):
        picked, gates, order = ctx.saved_tensors
        dgates = torch.bmm(picked, dout.to(picked.dtype).unsqueeze(2)).squeeze(2)
        token = torch.div(order, gates.shape[1], rounding_mode="floor")
        drows = dout.index_select(0, token) * gates.reshape(-1)[order].to(dout.dtype).unsqueeze(1)
        return drows.to(picked.dtype), dgates.to(gates.dtype), None, None


class Mixture(nn.Module):
    """Softmax router with renormalised top-k, SwiGLU experts, shared experts; balance and z-loss beside the output."""

    def __init__(self, width, expert_width, shape, style, dtype=torch.float32, deviation=0.02):
        super().__init__()
        self.experts, self.top_k, self.style = shape["experts"], shape["top_k"], style
        self.width, self.expert_width = width, expert_width
        self.deviation, self.dtype = deviation, dtype
        self.router = self.weight(self.experts, width, dtype=torch.float32)
        count = self.experts
        if style in ONE_PARAMETER_STYLES:
            self.gate_up = self.weight(count, 2 * expert_width, width)
            self.down = self.weight(count, width, expert_width)
        else:
            self.gate = nn.ParameterList(self.weight(expert_width, width) for _ in range(count))
            self.up = nn.ParameterList(self.weight(expert_width, width) for _ in range(count))
            self.down = nn.ParameterList(self.weight(width, expert_width) for _ in range(count))
        self.has_shared = shape["shared"] > 0
        if self.has_shared:
            self.shared_gate = self.weight(shape["shared"] * expert_width, width)
            self.shared_up = self.weight(shape["shared"] * expert_width, width)
            self.shared_down = self.weight(width, shape["shared"] * expert_width)

    def weight(self, *shape, dtype=None):
        return nn.Parameter((torch.randn(*shape) * self.deviation).to(dtype or self.dtype))

    def expert_weights(self):
        """[(gate, up, down)] of the routed experts, [out, in]"""
        if self.style not in ONE_PARAMETER_STYLES:
            return list(zip(self.gate, self.up, self.down))
        return [(*both.chunk(2), down) for both, down in zip(self.gate_up, self.down)]

    def route(self, x):
        """-> chosen [T, K], gates [T, K] float32, the two losses. In float32 whatever the model is."""
        with torch.autocast("cpu", enabled=False):
            logits = F.linear(x.float(), self.router)
            scores = logits.softmax(-1)
            gates, chosen = scores.topk(self.top_k, dim=-1)
            gates = gates / gates.sum(-1, keepdim=True)
            counts = torch.bincount(chosen.reshape(-1), minlength=self.experts)
            share = counts.float() / chosen.numel()
            balance = self.experts * (share * scores.mean(0)).sum()
            z = logits.logsumexp(-1).square().mean()
        return chosen, gates, counts, BALANCE_LOSS * balance + Z_LOSS * z

    def forward(self, x):
        chosen, gates, counts, loss = self.route(x)
        y = getattr(self, "run_" + self.style)(x, chosen, gates, counts)
        if self.has_shared:
            inner = F.silu(F.linear(x, self.shared_gate)) * F.linear(x, self.shared_up)
            y = y + F.linear(inner, self.shared_down)
        return y, loss

    def expert(self, x, idx):
        inner = F.silu(F.linear(x, self.gate[idx])) * F.linear(x, self.up[idx])
        return F.linear(inner, self.down[idx])

    def run_loop(self, x, chosen, gates, counts):
        out = torch.zeros_like(x)
        hits = F.one_hot(chosen, self.experts).permute(2, 1, 0)
        for idx in range(self.experts):
            choice, token = torch.where(hits[idx])
            if token.numel() == 0:
                continue
            y = self.expert(x.index_select(0, token), idx)
            out.index_add_(0, token, (y * gates[token, choice, None].to(y.dtype)).to(out.dtype))
        return out

    def run_sorted(self, x, chosen, gates, counts):
        order = torch.argsort(chosen.reshape(-1), stable=True)
        token = torch.div(order, self.top_k, rounding_mode="floor")
        parts = x.index_select(0, token).split(counts.tolist())
        y = torch.cat([self.expert(part, idx) for idx, part in enumerate(parts)])
        weighted = y * gates.reshape(-1)[order].to(y.dtype).unsqueeze(1)
        return torch.zeros_like(x).index_add_(0, token, weighted.to(x.dtype))

    def permutations(self, chosen):
        """-> the slots [T * K] in the order of their experts, and where each slot went"""
        order = torch.argsort(chosen.reshape(-1), stable=True)
        inverse = torch.empty_like(order)
        inverse[order] = torch.arange(order.numel())
        return order, inverse

    def run_permuted(self, x, chosen, gates, counts):
        order, inverse = self.permutations(chosen)
        parts = Dispatch.apply(x, order, inverse, self.top_k).split(counts.tolist())
        rows = []
        for part, gate_up, down in zip(parts, self.gate_up.unbind(0), self.down.unbind(0)):
            gate, up = F.linear(part, gate_up).chunk(2, -1)
            rows.append(F.linear(F.silu(gate) * up, down))
        return Combine.apply(torch.cat(rows), gates, order, inverse).to(x.dtype)

    def run_grouped(self, x, chosen, gates, counts):
        order, inverse = self.permutations(chosen)
        ends = counts.cumsum(0).int()
        rows = Dispatch.apply(x, order, inverse, self.top_k)
        gate, up = grouped_mm(rows, self.gate_up, ends).chunk(2, -1)
        rows = grouped_mm(F.silu(gate) * up, self.down, ends)
        return Combine.apply(rows, gates, order, inverse).to(x.dtype)


class Norm(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.gain = nn.Parameter(torch.ones(width))

    def forward(self, x):
        if hasattr(F, "rms_norm"):
            return F.rms_norm(x, self.gain.shape, self.gain, 1e-5)
        return x * torch.rsqrt(x.square().mean(-1, keepdim=True) + 1e-5) * self.gain


class Attention(nn.Module):
    """Causal, with rotary positions in the half-split form."""

    def __init__(self, width, heads, length):
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width, bias=False)
        self.output = nn.Linear(width, width, bias=False)
        head = width // heads
        angle = torch.arange(length)[:, None] * 10000.0 ** (-torch.arange(0, head, 2) / head)
        self.register_buffer("cos", torch.cat([angle.cos(), angle.cos()], -1))
        self.register_buffer("sin", torch.cat([-angle.sin(), angle.sin()], -1))
        self.register_buffer("future", torch.full((length, length), float("-inf")).triu(1))

    def rotate(self, x):
        return x * self.cos + x.roll(x.shape[-1] // 2, -1) * self.sin

    def forward(self, x):
        batch, length, width = x.shape
        parts = self.qkv(x).view(batch, length, 3, self.heads, width // self.heads).permute(2, 0, 3, 1, 4)
        query, key, value = self.rotate(parts[0]), self.rotate(parts[1]), parts[2]
        if hasattr(F, "scaled_dot_product_attention"):
            query, key = query.to(value.dtype), key.to(value.dtype)
            mixed = F.scaled_dot_product_attention(query, key, value, is_causal=True)
        else:
            scores = query @ key.transpose(-1, -2) * query.shape[-1] ** -0.5 + self.future
            mixed = scores.softmax(-1) @ value
        return self.output(mixed.transpose(1, 2).reshape(batch, length, width))


class Decoder(nn.Module):
    def __init__(self, shape, style):
        super().__init__()
        width = STEP["width"]
        self.embedding = nn.Embedding(STEP["vocabulary"], width)
        self.blocks = nn.ModuleList()
        for _ in range(STEP["layers"]):
            mixture = Mixture(width, shape["step_width"], shape, style)
            attention = Attention(width, STEP["heads"], STEP["length"])
            self.blocks.append(nn.ModuleList([Norm(width), attention, Norm(width), mixture]))
        self.norm = Norm(width)
        self.head = nn.Linear(width, STEP["vocabulary"], bias=False)
        for module in self.modules():
            if isinstance(module, (nn.Linear, nn.Embedding)):
                nn.init.normal_(module.weight, std=0.02)

    def forward(self, ids):
        x, extra = self.embedding(ids), 0.0
        for norm, attention, inner_norm, mixture in self.blocks:
            x = x + attention(norm(x))
            y, loss = mixture(inner_norm(x).reshape(-1, x.shape[-1]))
            x, extra = x + y.view(x.shape), extra + loss
        return self.head(self.norm(x)), extra


# ---- checks


def plain_layer(mixture, x):
    """The layer over all experts, one token's weights zero where it did not choose: slow and obvious. float64"""
    def swiglu(weights):
        gate, up, down = (w.double() for w in weights)
        return (F.silu(x @ gate.t()) * (x @ up.t())) @ down.t()

    scores = (x @ mixture.router.double().t()).softmax(-1)
    best = scores.topk(mixture.top_k, -1)
    gates = torch.zeros_like(scores).scatter(1, best.indices, best.values / best.values.sum(-1, keepdim=True))
    y = sum(gates[:, e, None] * swiglu(w) for e, w in enumerate(mixture.expert_weights()))
    if mixture.has_shared:
        y = y + swiglu((mixture.shared_gate, mixture.shared_up, mixture.shared_down))
    return y


def check_layer(mixture, dtype):
    """Outputs, and gradients of the input and of the router, against the plain computation."""
    # Few tokens keep the plain computation short.
    x = torch.randn(128, LAYER_WIDTH).to(dtype)
    upstream = torch.randn(128, LAYER_WIDTH).to(dtype)
    results = []
    for run in (lambda v: mixture(v)[0], lambda v: plain_layer(mixture, v)):
        is_plain = len(results) == 1
        leaf = (x.double() if is_plain else x.clone()).requires_grad_()
        mixture.zero_grad(set_to_none=True)
        y = run(leaf)
        y.backward(upstream.to(y.dtype))
        last_down = mixture.down if isinstance(mixture.down, nn.Parameter) else mixture.down[0]
        results.append([t.double() for t in (y.detach(), leaf.grad, mixture.router.grad, last_down.grad)])
    mixture.zero_grad(set_to_none=True)
    limit = 1e-4 if dtype == torch.float32 else 0.05
    for name, ours, plain in zip(("output", "dx", "drouter", "ddown"), *results):
        error = ((ours - plain).abs().max() / plain.abs().max()).item()
        if not error <= limit or plain.abs().max() == 0:
            raise SystemExit(f"torch_peer: style {mixture.style} is wrong: {name} differs by {error:.1e}")


def check_step(step, style):
    losses = [step(0) for _ in range(3)]
    if not losses[-1] < losses[0] - 0.02:
        raise SystemExit(f"torch_peer: style {style} does not learn: {losses[0]} -> {losses[-1]}")


# ---- measuring


def make_layer(shape, dtype, style, kind):
    torch.manual_seed(1)
    mixture = Mixture(LAYER_WIDTH, SHAPES[shape]["layer_width"], SHAPES[shape], style, DTYPES[dtype])
    if kind == "forward":  # measured first, and the check covers backward
        check_layer(mixture, DTYPES[dtype])
    x = torch.randn(LAYER_TOKENS, LAYER_WIDTH).to(DTYPES[dtype])
    if kind == "forward":

        def forward():
            with torch.no_grad():
                mixture(x)

        return forward
    leaf = x.requires_grad_()
    upstream = torch.randn_like(x)

    def forward_backward():
        mixture.zero_grad(set_to_none=True)
        leaf.grad = None
        y, loss = mixture(leaf)
        torch.autograd.backward([y, loss], [upstream, torch.ones_like(loss)])

    return forward_backward


def make_optimizer(parameters):
    options = {"lr": 1e-3, "betas": (0.9, 0.95), "weight_decay": 0.1}
    try:
        return torch.optim.AdamW(parameters, fused=True, **options)
    except (RuntimeError, TypeError):  # before 2.4 only on GPUs
        return torch.optim.AdamW(parameters, **options)


def make_step(shape, dtype, style, kind):
    del kind
    torch.manual_seed(1)
    model = Decoder(SHAPES[shape], style)
    parameters = list(model.parameters())
    optimizer = make_optimizer(parameters)
    batches = [torch.randint(0, STEP["vocabulary"], (STEP["batch"], STEP["length"] + 1)) for _ in range(8)]

    def step(number):
        ids = batches[number % len(batches)]
        optimizer.zero_grad(set_to_none=True)
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=dtype == "bf16"):
            logits, extra = model(ids[:, :-1])
        token_loss = F.cross_entropy(logits.float().flatten(0, 1), ids[:, 1:].flatten())
        (token_loss + extra).backward()
        nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        return token_loss.item()

    check_step(step, style)
    numbers = iter(range(10**9))
    return lambda: step(next(numbers))


def others_seconds():
    """Processor time that everyone else on this machine has used; None where it is not known."""
    try:
        with open("/proc/stat") as file:
            ticks = [int(field) for field in file.readline().split()[1:]]
    except OSError:
        return None
    return (sum(ticks[:3]) + sum(ticks[5:8])) / os.sysconf("SC_CLK_TCK") - time.process_time()


class Samples:
    """Times of one style; those during which neighbours took more than 5 % of a core count only if there are no others."""

    def __init__(self):
        self.all, self.clean = [], []

    def take(self, body):
        others, start = others_seconds(), time.perf_counter()
        body()
        seconds = time.perf_counter() - start
        self.all.append(seconds)
        # /proc/stat counts in hundredths of a second.
        if others is not None and others_seconds() - others <= 0.05 * seconds + 0.01:
            self.clean.append(seconds)

    def used(self):
        return self.clean if len(self.clean) >= 3 else self.all


def measure(what, shape, dtype, kind, args):
    """All styles in turn, so that a disturbance meets them alike. -> the record of the fastest"""
    make = make_layer if what == "layer" else make_step
    bodies = {style: make(shape, dtype, style, kind) for style in args.styles}
    samples = {style: Samples() for style in bodies}
    for body in bodies.values():
        body()
    end = time.perf_counter() + args.seconds
    turns = 0
    while time.perf_counter() < end or turns < 3:
        for style, body in bodies.items():
            samples[style].take(body)
        turns += 1
        if turns >= 2:
            fastest = min(min(samples[style].all) for style in bodies)
            bodies = {s: body for s, body in bodies.items() if min(samples[s].all) <= FAR_BEHIND * fastest}
    best = {style: 1e3 * min(taken.used()) for style, taken in samples.items()}
    style = min(best, key=best.get)
    return {
        "what": what, "shape": shape, "dtype": dtype, "pass": kind, "threads": args.threads,
        "best_ms": round(best[style], 3), "median_ms": round(1e3 * statistics.median(samples[style].used()), 3),
        "torch": torch.__version__, "style": style, "style_best_ms": {s: round(ms, 3) for s, ms in best.items()},
        "samples": len(samples[style].all), "clean_samples": len(samples[style].clean), "blas": blas_name(),
    }  # fmt: skip


def blas_name():
    """What multiplies matrices, from the build's description and from what is loaded."""
    text = torch.__config__.show()
    names = []
    for pattern, name in ((r"Math Kernel Library Version ([\w.]+)", "MKL"), (r"MKL-DNN v([\w.]+)", "oneDNN")):
        found = re.search(pattern, text)
        if found:
            names.append(f"{name} {found.group(1)}")
    if not any(name.startswith("MKL") for name in names):
        try:
            with open("/proc/self/maps") as maps:
                loaded = sorted(set(re.findall(r"/([^/\s]+/lib(?:open)?blas[^/\s]*)\n", maps.read())))
        except OSError:
            loaded = []
        names += loaded or ["unknown BLAS"]
    return ", ".join(names)


def print_table(records):
    columns = ("what", "shape", "dtype", "pass", "threads", "best_ms", "median_ms", "tokens_s", "style")
    rows = [columns]
    for record in records:
        tokens = LAYER_TOKENS if record["what"] == "layer" else STEP["batch"] * STEP["length"]
        shown = {**record, "tokens_s": round(1e3 * tokens / record["best_ms"])}
        rows.append(tuple(str(shown[column]) for column in columns))
    widths = [max(len(row[i]) for row in rows) for i in range(len(columns))]
    for row in rows:
        print("# " + "  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip())


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("what", nargs="?", choices=["layer", "step", "all"], default="all")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--dtype", choices=["f32", "bf16", "both"], default="both")
    parser.add_argument("--shape", choices=["coarse", "fine", "both"], default="both")
    parser.add_argument("--style", choices=[*STYLES, "best"], default="best")
    parser.add_argument("--seconds", type=float, default=4.0)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    torch.set_num_interop_threads(1)
    args.styles = STYLES if args.style == "best" else (args.style,)
    obstacle = why_not_grouped()
    if obstacle and args.style == "grouped":
        raise SystemExit(f"torch_peer: no style grouped in PyTorch {torch.__version__}: {obstacle}")
    if obstacle:
        print(f"# No style grouped in PyTorch {torch.__version__}: {obstacle}")
        args.styles = tuple(style for style in args.styles if style != "grouped")
    print(f"# PyTorch {torch.__version__}, {blas_name()}, {torch.get_num_threads()} threads")
    if "blas" in blas_name().lower() and "openblas" not in blas_name():
        print("# This is no known fast BLAS (OpenBLAS is in libopenblas0-openmp): the peer is not tuned.")
    records = []
    for what in ("layer", "step") if args.what == "all" else (args.what,):
        for dtype in ("f32", "bf16") if args.dtype == "both" else (args.dtype,):
            for shape in ("coarse", "fine") if args.shape == "both" else (args.shape,):
                for kind in ("forward", "forward_backward") if what == "layer" else ("train",):
                    records.append(measure(what, shape, dtype, kind, args))
                    print(json.dumps(records[-1]), flush=True)
    print_table(records)


if __name__ == "__main__":
    sys.exit(main())
