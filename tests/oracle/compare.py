#!/usr/bin/env python3
"""Compares what oracle_dump wrote with the same training in PyTorch, float64.

compare.py FOLDER [--tolerance 1e-4] [--verbose]
--verbose  all errors, not only those beyond the tolerance

A tensor's error is max |ours - reference| / max |reference|; experts are compared one by one. Then every rule of the
reference is changed in turn, and each change must show: a comparison that notices nothing proves nothing.
"""
import argparse
import dataclasses
import json
import math
import pathlib
import sys

if sys.argv[1:2] in (["-h"], ["--help"]):  # help needs no PyTorch
    print(__doc__.strip())
    sys.exit()

import torch

from reference import Batch, Reference, Rules, Trainer, parameter_shapes

VARIANTS = {
    "capacity-fast", "capacity-reproducible", "capacity-fast-4-ranks",
    "tied-accumulated-fast", "tied-accumulated-reproducible", "tied-accumulated-fast-2-ranks",
    "dropless-fast", "dropless-reproducible", "dropless-reproducible-3-ranks",
    "post-norm", "both-norms", "outside-norms", "parallel", "gpt2", "objectives",
    "deepseek-v3", "deepseek-v3-4-ranks", "deepseek-v2", "sigmoid-losses",
    "latent-attention", "scores", "alibi", "t5-buckets",
    "bert", "bert-accumulated-2-ranks", "t5", "t5-3-ranks", "transformer-2017",
}  # fmt: skip
STEPS = 3

# Each breaks one rule of the reference on one variant, where it must show.
BROKEN_RULES = [
    ("capacity-fast", dict(rope_pairs="other")),
    ("capacity-fast", dict(rope_sign=-1.0)),
    ("capacity-fast", dict(kv_sharing="strided")),
    ("capacity-fast", dict(slot_order="token_first")),
    ("capacity-fast", dict(renormalise="after_drops")),
    ("capacity-fast", dict(balance_counts="after_drops")),
    ("capacity-fast", dict(balance_scale=1.01)),
    ("dropless-fast", dict(z_power=1)),
    ("dropless-fast", dict(detach_scores=True)),
    ("dropless-fast", dict(shared_experts=False)),
    ("dropless-fast", dict(causal=False)),
    ("dropless-fast", dict(decay_gains=True)),
    ("capacity-fast", dict(clip=False)),
    ("dropless-fast", dict(decay_schedule="linear")),
    ("tied-accumulated-fast", dict(tie_gradient=False)),
    ("post-norm", dict(post_norm="of_output")),
    ("post-norm", dict(gelu="logistic")),
    ("both-norms", dict(second_norm=False)),
    ("parallel", dict(parallel_reads="stream")),
    ("gpt2", dict(layer_mean=False)),
    ("gpt2", dict(first_position=1)),
    ("objectives", dict(softcap="clamp")),
    ("objectives", dict(output_z_power=1)),
    ("objectives", dict(mtp_target=0)),
    ("deepseek-v3", dict(groups_by="best")),
    ("deepseek-v3", dict(bias_weighs=True)),
    ("deepseek-v3", dict(bias_learns=False)),
    ("deepseek-v3", dict(sequence_counts="biased")),
    ("deepseek-v3", dict(routed_scale=False)),
    ("deepseek-v3", dict(balance_shares=False)),
    ("sigmoid-losses", dict(balance_shares=False)),
    ("deepseek-v2", dict(groups_by="sum")),
    ("deepseek-v2", dict(device_counts="once_a_token")),
    ("deepseek-v2", dict(importance_mean=False)),
    ("latent-attention", dict(rope_pairs="other")),
    ("latent-attention", dict(latent_norm=False)),
    ("latent-attention", dict(latent_key="still")),
    ("latent-attention", dict(latent_scale="plain")),
    ("scores", dict(qk_norm=False)),
    ("scores", dict(attention_cap=False)),
    ("scores", dict(window_more=1)),
    ("alibi", dict(alibi_slopes="arithmetic")),
    ("t5-buckets", dict(t5_growth="linear")),
    ("bert", dict(sees_all=False)),
    ("bert", dict(asked="rows")),
    ("bert-accumulated-2-ranks", dict(step_mean="micro_steps")),
    ("t5", dict(sees_all=False)),
    ("t5", dict(t5_sides=False)),
    ("t5", dict(memory_norm=False)),
    ("t5", dict(embedding_shared=False)),
    ("transformer-2017", dict(embedding_shared=False)),
]


class Dump:
    """What the program wrote for one variant."""

    def __init__(self, folder):
        self.index = json.loads((folder / "index.json").read_text())
        data = bytearray((folder / "values.f32").read_bytes())
        values = torch.frombuffer(data, dtype=torch.float32)
        self.tensors = {}
        used = 0
        for entry in self.index["tensors"]:
            count = math.prod(entry["shape"])
            part = values[entry["offset"] : entry["offset"] + count]
            self.tensors[entry["name"]] = part.view(entry["shape"]).double()
            used += count
        if used != len(values):
            raise ValueError(f"{folder}: the index names {used} values, the file holds {len(values)}")

    def weights(self, step):
        prefix = f"weights/{step}/"
        return {name[len(prefix) :]: t for name, t in self.tensors.items() if name.startswith(prefix)}

    def micro_batches(self, step):
        shape = (self.index["sequences"], self.index["model"]["seq_len"] + 1)
        texts = [torch.tensor(ids, dtype=torch.int64).view(shape) for ids in self.index["tokens"][step - 1]]
        if self.index["model"]["architecture"] == "decoder":
            return [Batch(text, text[:, :-1], text[:, 1:]) for text in texts]
        return [Batch(text, **self.corrupted(rows)) for text, rows in zip(texts, self.index["corrupted"][step - 1])]

    def corrupted(self, rows):
        """The ids, targets and source that the program made of a text."""
        found = {}
        for part in ("ids", "targets", "source"):
            ids = torch.tensor(rows[part], dtype=torch.int64)
            found[part] = ids.view(self.index["sequences"], -1) if len(ids) > 0 else None
        return found


class Comparison:
    """Errors by name, and what is wrong beyond errors."""

    def __init__(self):
        self.errors = {}
        self.problems = []
        self.num_tensors = 0
        self.num_clipped = 0
        self.num_dropped = 0

    def tensor(self, name, ours, reference):
        self.num_tensors += 1
        if ours.shape != reference.shape:
            self.problems.append(f"{name}: shape {tuple(ours.shape)}, reference {tuple(reference.shape)}")
            return
        if reference.abs().max() == 0:
            self.problems.append(f"{name}: the reference is all zero, which compares nothing")
        parts = [(name, ours, reference)]
        if ".experts." in name:
            parts = [(f"{name}[{e}]", ours[e], reference[e]) for e in range(ours.shape[0])]
        for part, a, b in parts:
            self.value(part, (a - b).abs().max().item(), b.abs().max().item())

    def scalar(self, name, ours, reference):
        self.value(name, abs(ours - reference), abs(reference))

    def value(self, name, difference, size):
        error = difference / max(size, 1e-30)
        self.errors[name] = error if math.isfinite(error) else math.inf

    def exact(self, name, ours, reference):
        if ours != reference:
            self.problems.append(f"{name}: {ours}, reference {reference}")

    def worst(self):
        return sorted(self.errors.items(), key=lambda item: -item[1])


def compare(dump, rules):
    """The whole training of one variant, from its initial weights."""
    result = Comparison()
    config = dump.index
    initial = dump.weights(0)
    expected = parameter_shapes(config)
    result.exact("parameters", {n: tuple(w.shape) for n, w in initial.items()}, expected)
    result.exact("steps", len(config["steps"]), STEPS)
    if result.problems:
        return result
    reference = Reference(config, initial, rules)
    trainer = Trainer(reference)
    # The optimizer alone, fed with the program's gradients: AdamW turns the rounding of a nearly vanishing gradient into
    # a visible change, so that changes of weights can only be compared to this precision when the gradients are equal.
    follower = Trainer(Reference(config, initial, rules))
    first_batch = dump.micro_batches(1)[0]
    result.tensor("logits/0", dump.tensors["logits/0"], reference.dropless_logits(first_batch))
    for step in range(1, STEPS + 1):
        losses, gradients = trainer.gradients(dump.micro_batches(step))
        norm = trainer.apply(step, gradients)
        reference.learn_biases()
        follower.apply(step, {name: dump.tensors[f"gradients/{step}/{name}"] for name in gradients})
        ours = config["steps"][step - 1]
        result.exact(f"micro-steps of step {step}", len(ours["micro_steps"]), len(losses))
        for micro, (theirs, mine) in enumerate(zip(losses, ours["micro_steps"])):
            name = f"losses/{step}/{micro}/"
            for part in ("total", "token_loss", "balance_loss", "z_loss"):
                result.scalar(name + part, mine[part], getattr(theirs, part).item())
            result.scalar(name + "evaluated_total", mine["evaluated_total"], theirs.evaluated.item())
            result.scalar(name + "imbalance", mine["imbalance"], theirs.imbalance)
            result.exact(name + "dropped", mine["dropped"], theirs.dropped)
            result.num_dropped += theirs.dropped
        result.scalar(f"gradient_norm/{step}", ours["gradient_norm"], norm)
        result.num_clipped += 0 < config["optimizer"]["clip_norm"] < norm
        for name, gradient in gradients.items():
            result.tensor(f"gradients/{step}/{name}", dump.tensors[f"gradients/{step}/{name}"], gradient)
        for name, weight in reference.weights.items():
            mine = dump.tensors[f"weights/{step}/{name}"]
            result.tensor(f"weights/{step}/{name}", mine, weight.detach())
            followed = follower.reference.weights[name].detach()
            result.tensor(f"changes/{step}/{name}", mine - initial[name], followed - initial[name])
        logits = reference.dropless_logits(first_batch)
        result.tensor(f"logits/{step}", dump.tensors[f"logits/{step}"], logits)
    # Each step compares every parameter's gradient, weight and change, and the logits; the logits also at the start.
    result.exact("tensors compared", result.num_tensors, STEPS * (3 * len(expected) + 1) + 1)
    if reference.smallest_margin < 1e-5:
        result.problems.append(f"two scores differ by {reference.smallest_margin:.1e}: choose another seed")
    return result


def report(name, result, tolerance, verbose):
    """Prints a line, or a table worst first. -> whether all is well"""
    bad = [item for item in result.worst() if not item[1] <= tolerance]
    worst_name, worst = result.worst()[0] if result.errors else ("nothing", math.inf)
    good = not bad and not result.problems and bool(result.errors)
    print(
        f"{'good' if good else 'BAD '} {name:32s} {result.num_tensors} tensors, {len(result.errors)} errors, "
        f"worst {worst:.1e} ({worst_name}); {result.num_dropped} choices dropped, {result.num_clipped} of {STEPS} "
        "steps clipped"
    )
    for problem in result.problems:
        print(f"     {problem}")
    for part, error in (result.worst() if verbose else bad)[:60]:
        print(f"     {error:9.2e}  {part}")
    if len(bad) > 60:
        print(f"     and {len(bad) - 60} more beyond {tolerance:.0e}")
    return good


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument("--tolerance", type=float, default=1e-4)
    parser.add_argument("--verbose", action="store_true")
    args = parser.parse_args()
    torch.set_num_threads(1)
    print(f"PyTorch {torch.__version__}, float64, tolerance {args.tolerance:.0e}")
    found = {path.parent.name for path in args.folder.glob("*/index.json")}
    if found != VARIANTS:
        print(f"expected the variants {sorted(VARIANTS)}, found {sorted(found)}")
        return 1
    dumps = {name: Dump(args.folder / name) for name in sorted(VARIANTS)}
    good = True
    clipped = unclipped = 0
    for name, dump in dumps.items():
        result = compare(dump, Rules())
        good &= report(name, result, args.tolerance, args.verbose)
        clipped += result.num_clipped
        unclipped += STEPS - result.num_clipped
        if ("capacity" in name or "tied" in name) and result.num_dropped == 0:
            print("     nothing was dropped: the capacity rule is not tested")
            good = False
    if clipped == 0 or unclipped == 0:
        print(f"{clipped} steps clipped, {unclipped} not: both must occur")
        good = False
    for name, change in BROKEN_RULES:
        result = compare(dumps[name], dataclasses.replace(Rules(), **change))
        worst_name, worst = result.worst()[0]
        noticed = bool(result.problems) or worst > 10 * args.tolerance
        good &= noticed
        print(f"{'good' if noticed else 'BAD '} broken rule {change} on {name}: worst {worst:.1e} ({worst_name})")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
