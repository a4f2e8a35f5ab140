"""A transformer with mixtures of experts in plain PyTorch, float64, written from the papers and the project's routing
rules: a decoder, an encoder that finds masked tokens, or a decoder that reads an encoder.

Sources: Transformer (Vaswani et al. 2017), RMSNorm (Zhang and Sennrich 2019), SwiGLU (Shazeer 2020), softmax top-k with capacity in GShard's order
(Lepikhin et al. 2020), Switch balance loss (Fedus et al. 2021) over k choices, z-loss (Zoph et al. 2022), AdamW
(torch.optim). Gradients come from autograd alone.
"""
import dataclasses
import math
from fractions import Fraction

import torch
import torch.nn.functional as F

from attention import Attention, attention_shapes


@dataclasses.dataclass
class Rules:
    """The conventions that a mistake would break. Each can be changed, to see that the comparison notices."""

    rope_pairs: str = "config"  # or "other"
    rope_sign: float = 1.0
    kv_sharing: str = "blocks"  # query heads of one key head are neighbours; or "strided"
    slot_order: str = "choice_first"  # all first choices before all second ones; or "token_first"
    renormalise: str = "before_drops"  # or "after_drops"
    balance_counts: str = "before_drops"  # or "after_drops"
    balance_scale: float = 1.0
    z_power: int = 2
    detach_scores: bool = False  # True: no gradient through the combine weights
    decay_gains: bool = False
    clip: bool = True
    shared_experts: bool = True
    causal: bool = True
    tie_gradient: bool = True  # False: the tied head's share of the embedding's gradient is lost
    decay_schedule: str = "cosine"  # or "linear"
    layer_mean: bool = True  # False: LayerNorm keeps the mean
    gelu: str = "normal"  # or "logistic": x sigmoid(1.702 x)
    first_position: int = 0
    post_norm: str = "of_sum"  # or "of_output"
    second_norm: bool = True  # False: outputs are added as they are where norms stand before and behind
    parallel_reads: str = "shared_norm"  # or "stream": the feed-forward reads the stream
    softcap: str = "tanh"  # or "clamp"
    output_z_power: int = 2
    mtp_target: int = 1  # tokens beyond the one that a depth gets to know
    groups_by: str = "config"  # or "best", "sum": a group's score is that of its best expert, or the sum of its best
    bias_weighs: bool = False  # True: the selection bias is part of the weights
    bias_learns: bool = True
    sequence_counts: str = "unbiased"  # or "biased": the sequence-wise loss counts the choices that were made
    routed_scale: bool = True
    device_counts: str = "choices"  # or "once_a_token": as the communication loss counts
    alibi_slopes: str = "geometric"  # or "arithmetic"
    t5_growth: str = "logarithmic"  # or "linear"
    qk_norm: bool = True
    attention_cap: bool = True
    window_more: int = 0  # keys that a window holds beyond the configured number
    latent_norm: bool = True
    latent_key: str = "turned"  # or "still": the shared part of the keys is not rotated
    latent_scale: str = "whole"  # or "plain": the root of the part of a head that does not turn
    importance_mean: bool = True  # False: the variance is not taken relative to the mean
    balance_shares: bool = True  # False: balance losses take the mean of scores that do not sum to 1
    sees_all: bool = True  # False: an encoder sees what came before only
    t5_sides: bool = True  # False: an encoder's buckets do not tell left from right
    asked: str = "targets"  # or "rows": the mean is over all rows, also those that are asked nothing
    step_mean: str = "targets"  # of all micro-steps; or "micro_steps": the mean of their means
    memory_norm: bool = True  # False: cross-attention reads the stream without its last norm
    embedding_shared: bool = True  # False: the encoder's share of the embedding's gradient is lost


def parameter_shapes(config):
    """Names and shapes that a model of this config must have; products are [in, out]."""
    model = config["model"]
    hidden = model["hidden"]
    shapes, norms = {"embedding.weight": (model["vocab_size"], hidden)}, []
    for prefix, layers in stacks(model).items():
        if model["position"] == "t5":
            shapes[prefix + "position_bias"] = (model["t5_buckets"], model["heads"])
        if model["position"] == "learned":
            shapes[prefix + "position_embedding.weight"] = (model["seq_len"], hidden)
        if model["norm_placement"] != "post":
            norms.append(prefix + "final_norm")
        if model["embedding_norm"]:
            norms.append(prefix + "embedding_norm")
        for layer in range(layers):
            block_shapes(config, f"{prefix}layers.{layer}.", layer in moe_layers(config), shapes, norms)
    if not model["tied_head"]:
        shapes["head.weight"] = (hidden, model["vocab_size"])
    for depth in range(model["mtp_depth"]):
        name = f"mtp.{depth}."
        norms += [name + "hidden_norm", name + "embedding_norm"]
        shapes[name + "projection"] = (2 * hidden, hidden)
        block_shapes(config, name, model["layers"] - 1 in moe_layers(config), shapes, norms)
    for name in norms:
        shapes[name + ".gain"] = (hidden,)
        if model["norm_bias"]:
            shapes[name + ".bias"] = (hidden,)
    return shapes


def stacks(model):
    """Prefix of the names and number of blocks: what is under the head, then the encoder that it reads."""
    if model["architecture"] == "encoder_decoder":
        return {"": model["layers"], "encoder.": model["encoder_layers"]}
    return {"": model["layers"]}


def block_shapes(config, name, is_moe, shapes, norms):
    model, moe = config["model"], config["moe"]
    hidden = model["hidden"]
    parts = ["attention", "feed_forward"]
    if len(stacks(model)) > 1 and not name.startswith("encoder."):
        parts.insert(1, "cross_attention")
    norms += [name + part + "_norm" for part in (parts[:1] if model["parallel"] else parts)]
    if model["norm_placement"] == "both":
        norms += [name + part + "_output_norm" for part in parts]
    for part in parts[:-1]:
        products, head_norms = attention_shapes(model, name + part + ".")
        shapes.update(products)
        shapes.update({norm + ".gain": (width,) for norm, width in head_norms.items()})
    if not is_moe:
        dense = feed_forward_shapes(model, name + "feed_forward.", model["ffn_width"])
        shapes.update(dense)
        if model["ffn_bias"]:
            shapes.update({part + "_bias": shape[1:] for part, shape in dense.items()})
        return
    shapes[name + "moe.router"] = (hidden, moe["experts"])
    shared = moe["shared_experts"] * moe["expert_width"]
    shapes.update(feed_forward_shapes(model, name + "moe.shared.", shared))
    experts = feed_forward_shapes(model, name + "moe.experts.", moe["expert_width"])
    shapes.update({part: (moe["experts"], *shape) for part, shape in experts.items()})


def feed_forward_shapes(model, prefix, width):
    shapes = swiglu_shapes(prefix, model["hidden"], width)
    if model["activation"] != "swiglu":
        del shapes[prefix + "gate"]
    return shapes


def swiglu_shapes(prefix, hidden, width):
    return {prefix + "gate": (hidden, width), prefix + "up": (hidden, width), prefix + "down": (width, hidden)}


def moe_layers(config):
    return {int(layer) for layer in config["moe"]["layers"].split(",")}


@dataclasses.dataclass
class Batch:
    """What a micro-step reads and is asked for."""

    tokens: torch.Tensor  # [B, S + 1], the text
    ids: torch.Tensor  # [B, rows] of the stack under the head
    targets: torch.Tensor  # [B, rows], -1 where nothing is asked
    source: torch.Tensor | None = None  # [B, M] of the encoder that it reads


@dataclasses.dataclass
class Losses:
    total: torch.Tensor
    token_loss: torch.Tensor
    balance_loss: torch.Tensor
    z_loss: torch.Tensor
    output_z_loss: torch.Tensor = 0.0
    evaluated: torch.Tensor = 0.0  # the total without multi-token prediction
    mtp_loss: torch.Tensor = 0.0
    more_routed: torch.Tensor = 0.0  # losses of sequences, devices, communication and importance, with coefficients
    dropped: int = 0
    imbalance: float = 1.0


class Reference:
    """One model. `weights` are leaves of autograd, by logical name."""

    def __init__(self, config, weights, rules):
        self.config, self.rules = config, rules
        self.weights = {name: value.double().clone().requires_grad_() for name, value in weights.items()}
        self.attention = Attention(config["model"], self.weights, rules)
        # The smallest distance between a score that was chosen and its rival: routing is only defined beyond rounding.
        self.smallest_margin = math.inf
        # DeepSeek-V3's selection bias by mixture, and the loads it will learn from.
        self.biases, self.loads = {}, {}

    # ---- layers

    def norm(self, x, name):
        model = self.config["model"]
        if model["layer_norm"] and self.rules.layer_mean:
            x = x - x.mean(-1, keepdim=True)
        mean_square = x.square().mean(-1, keepdim=True)
        y = x * torch.rsqrt(mean_square + model["norm_eps"]) * self.weights[name + ".gain"]
        return y + self.weights[name + ".bias"] if model["norm_bias"] else y

    def swiglu(self, x, prefix, expert=None):
        """A feed-forward with the model's activation."""

        def weight(part):
            value = self.weights[prefix + part]
            return value if expert is None else value[expert]

        def product(y, part):
            y = y @ weight(part)
            return y + weight(part + "_bias") if prefix + part + "_bias" in self.weights else y

        activation = self.config["model"]["activation"]
        up = product(x, "up")
        if activation == "swiglu":
            return product(F.silu(product(x, "gate")) * up, "down")
        if self.rules.gelu == "logistic":
            return product(up * torch.sigmoid(1.702 * up), "down")
        return product(F.gelu(up, approximate="tanh" if activation == "gelu_tanh" else "none"), "down")

    def slots(self, chosen, tokens):
        """kept [T, K]: whether the choice is among the first C of its expert."""
        moe = self.config["moe"]
        if moe["capacity_factor"] <= 0:
            return torch.ones_like(chosen, dtype=torch.bool)
        exact = Fraction(str(moe["capacity_factor"])) * moe["top_k"] * tokens / moe["experts"]
        capacity = max(moe["min_capacity"], math.ceil(exact))
        in_order = chosen.t() if self.rules.slot_order == "choice_first" else chosen
        queue = F.one_hot(in_order.reshape(-1), moe["experts"])
        place = (queue.cumsum(0) * queue).sum(-1).view(in_order.shape)
        kept = place <= capacity
        return kept.t() if self.rules.slot_order == "choice_first" else kept

    def mixture(self, x, name, losses, dropless):
        """x [T, H], the global batch in token order."""
        moe, rules = self.config["moe"], self.rules
        experts, top_k, tokens = moe["experts"], moe["top_k"], x.shape[0]
        logits = x @ self.weights[name + ".router"]
        scores = logits.sigmoid() if moe["sigmoid"] else logits.softmax(-1)
        bias = self.biases.setdefault(name, torch.zeros(experts, dtype=torch.float64))
        chosen = self.choose(scores.detach() + bias)
        gates = (scores + bias if rules.bias_weighs else scores).gather(1, chosen)
        kept = torch.ones_like(chosen, dtype=torch.bool) if dropless else self.slots(chosen, tokens)
        if rules.detach_scores:
            gates = gates.detach()
        if moe["renormalise"]:
            counted = gates * kept if rules.renormalise == "after_drops" else gates
            gates = gates / counted.sum(-1, keepdim=True).clamp_min(1e-300)
        if rules.routed_scale:
            gates = gates * moe["routed_scale"]
        gates = gates * kept
        y = torch.zeros_like(x)
        for expert in range(experts):
            token, choice = torch.nonzero((chosen == expert) & kept, as_tuple=True)
            out = self.swiglu(x[token], name + ".experts.", expert) * gates[token, choice, None]
            y = y.index_add(0, token, out)
        if rules.shared_experts:
            y = y + self.swiglu(x, name + ".shared.")

        counted = chosen if rules.balance_counts == "before_drops" else chosen[kept]
        counts = torch.bincount(counted.reshape(-1), minlength=experts).double()
        shares = scores / scores.sum(-1, keepdim=True) if rules.balance_shares else scores
        balance = experts / top_k * (counts / tokens * shares.mean(0)).sum() * rules.balance_scale
        losses.balance_loss = losses.balance_loss + balance
        losses.z_loss = losses.z_loss + logits.logsumexp(-1).pow(rules.z_power).mean()
        losses.more_routed = losses.more_routed + self.more_losses(scores, shares, chosen, gates)
        losses.dropped += int((~kept).sum())
        load = torch.bincount(chosen.reshape(-1), minlength=experts).double()
        losses.imbalance = max(losses.imbalance, (load.max() / load.mean()).item())
        self.loads[name] = load
        return y

    def best(self, values, count):
        """The highest `count` of each row, the first of equal ones; notes how close the next one is."""
        ranked, order = torch.sort(values, dim=-1, descending=True, stable=True)
        margins = ranked[:, :count] - ranked[:, 1 : count + 1] if count < values.shape[1] else ranked[:, :1] * 0 + 1
        self.smallest_margin = min(self.smallest_margin, margins.min().item())
        return order[:, :count]

    def choose(self, scores):
        """scores [T, E] with their bias -> experts [T, K]: DeepSeek-V2 and V3 choose groups first."""
        moe, rules = self.config["moe"], self.rules
        if moe["group_limited"]:
            groups = scores.view(scores.shape[0], moe["groups"], -1)
            by_sum = moe["group_sum"] if rules.groups_by == "config" else rules.groups_by == "sum"
            count = moe["top_k"] // moe["group_limit"] if by_sum else 1
            open_groups = self.best(groups.topk(count, -1).values.sum(-1), moe["group_limit"])
            closed = torch.ones(groups.shape[:2], dtype=torch.bool).scatter(1, open_groups, False)
            scores = groups.masked_fill(closed[..., None], -math.inf).view(scores.shape)
        return self.best(scores, moe["top_k"])

    def more_losses(self, scores, shares, chosen, gates):
        """Sequence-wise (V3), device, communication (V2) and importance (Shazeer) losses, with their coefficients."""
        moe, rules = self.config["moe"], self.rules
        tokens, experts = scores.shape
        total = torch.zeros((), dtype=torch.float64)
        if moe["sequence_loss"] > 0:
            counted = chosen if rules.sequence_counts == "biased" else scores.topk(moe["top_k"], -1).indices
            hits = F.one_hot(counted, experts).sum(1).double()
            length = self.config["model"]["seq_len"]
            f = hits.view(-1, length, experts).mean(1) * experts / moe["top_k"]
            p = shares.view(-1, length, experts).mean(1)
            total = total + moe["sequence_loss"] * (f * p).sum(-1).mean()
        if moe["device_loss"] > 0 or moe["communication_loss"] > 0:
            devices = moe["groups"]
            p = shares.view(tokens, devices, -1).sum(-1).mean(0)
            on_device = F.one_hot(chosen // (experts // devices), devices).sum(1).double()
            f = on_device.mean(0) * devices / moe["top_k"]
            reached = (on_device > 0).double().mean(0) * devices / moe["group_limit"]
            total = total + moe["device_loss"] * ((reached if rules.device_counts == "once_a_token" else f) * p).sum()
            total = total + moe["communication_loss"] * (reached * p).sum()
        if moe["importance_loss"] > 0:
            sums = torch.zeros(experts, dtype=torch.float64).index_add(0, chosen.flatten(), gates.flatten())
            mean = sums.mean() if rules.importance_mean else torch.ones(())
            total = total + moe["importance_loss"] * sums.var(unbiased=False) / (mean**2 + 1e-10)
        return total

    def learn_biases(self):
        """After a step: overloaded experts lose the rate, underloaded gain it."""
        for name, load in self.loads.items():
            if self.rules.bias_learns:
                rate = self.config["moe"]["bias_rate"]
                self.biases[name] = self.biases[name] + rate * torch.sign(load.mean() - load)

    # ---- passes

    def feed_forward(self, x, name, is_moe, losses, dropless):
        if not is_moe:
            return self.swiglu(x, name + "feed_forward.")
        return self.mixture(x.reshape(-1, x.shape[-1]), name + "moe", losses, dropless).view(x.shape)

    def block(self, x, name, layer, losses, dropless, memory=None):
        """layer: whose kind the block is of; memory: what its cross-attention reads, if it has one"""
        model, rules = self.config["model"], self.rules
        placement = model["norm_placement"]
        parts = [
            ("attention", lambda y: self.attention(y, name + "attention.", layer)),
            ("feed_forward", lambda y: self.feed_forward(y, name, layer in moe_layers(self.config), losses, dropless)),
        ]
        if memory is not None:
            cross = name + "cross_attention."
            parts.insert(1, ("cross_attention", lambda y: self.attention(y, cross, layer, memory)))
        if model["parallel"]:
            inner = self.norm(x, name + "attention_norm")
            other = inner if rules.parallel_reads == "shared_norm" else x
            return x + parts[0][1](inner) + parts[1][1](other)
        for part, apply in parts:
            norm = name + part + "_norm"
            if placement == "pre":
                x = x + apply(self.norm(x, norm))
            elif placement == "post":
                y = apply(x)
                x = self.norm(x + y, norm) if rules.post_norm == "of_sum" else x + self.norm(y, norm)
            elif placement == "both":
                y = apply(self.norm(x, norm))
                x = x + (self.norm(y, name + part + "_output_norm") if rules.second_norm else y)
            else:
                x = x + self.norm(apply(x), norm)
        return x

    def embed(self, ids, prefix):
        model = self.config["model"]
        table = self.weights["embedding.weight"]
        if prefix and not self.rules.embedding_shared:
            table = table.detach()
        x = table[ids] * model["embedding_scale"]
        if model["position"] == "learned":
            positions = self.weights[prefix + "position_embedding.weight"]
            x = x + positions.roll(-self.rules.first_position, 0)[: ids.shape[1]]
        return self.norm(x, prefix + "embedding_norm") if model["embedding_norm"] else x

    def stream(self, ids, losses, dropless, prefix="", memory=None):
        x = self.embed(ids, prefix)
        for layer in range(stacks(self.config["model"])[prefix]):
            x = self.block(x, f"{prefix}layers.{layer}.", layer, losses, dropless, memory)
        return x

    def whole(self, batch, losses, dropless):
        """The stream under the head."""
        if batch.source is None:
            return self.stream(batch.ids, losses, dropless)
        memory = self.stream(batch.source, losses, dropless, "encoder.")
        if self.config["model"]["norm_placement"] != "post" and self.rules.memory_norm:
            memory = self.norm(memory, "encoder.final_norm")
        return self.stream(batch.ids, losses, dropless, "", memory)

    def head(self, x):
        model = self.config["model"]
        if model["norm_placement"] != "post":
            x = self.norm(x, "final_norm")
        if model["tied_head"]:
            embedding = self.weights["embedding.weight"]
            logits = x @ (embedding if self.rules.tie_gradient else embedding.detach()).t()
        else:
            logits = x @ self.weights["head.weight"]
        cap = model["logit_softcap"]
        if cap > 0:
            logits = cap * torch.tanh(logits / cap) if self.rules.softcap == "tanh" else logits.clamp(-cap, cap)
        return logits

    def further(self, x, tokens, losses):
        """The mean loss of the depths of multi-token prediction (DeepSeek-V3, section 2.2), from the stream x."""
        model = self.config["model"]
        length, depths = model["seq_len"], []
        for depth in range(1, model["mtp_depth"] + 1):
            name = f"mtp.{depth - 1}."
            # What the last rows get to know decides no loss, but is routed.
            known = tokens[:, [min(i + depth, length) for i in range(length)]]
            embedded = self.weights["embedding.weight"][known] * model["embedding_scale"]
            both = [self.norm(x, name + "hidden_norm"), self.norm(embedded, name + "embedding_norm")]
            x = torch.cat(both, -1) @ self.weights[name + "projection"]
            x = self.block(x, name, model["layers"] - 1, losses, False)
            logits = self.head(x)[:, : length - depth]
            first = depth + self.rules.mtp_target
            depths.append(F.cross_entropy(logits.flatten(0, 1), tokens[:, first : first + length - depth].flatten()))
        return sum(depths) / len(depths)

    def run(self, batch):
        """One micro-step's global batch."""
        model, moe = self.config["model"], self.config["moe"]
        zero = torch.zeros((), dtype=torch.float64)
        losses = Losses(zero, zero, zero, zero)
        stream = self.whole(batch, losses, dropless=False)
        logits = self.head(stream)
        asked = (batch.targets >= 0).sum() if self.rules.asked == "targets" else batch.targets.numel()
        every = F.cross_entropy(logits.flatten(0, 1), batch.targets.flatten(), ignore_index=-1, reduction="sum")
        losses.token_loss = every / asked
        losses.output_z_loss = logits.logsumexp(-1).pow(self.rules.output_z_power).mean()
        routed = moe["balance_loss"] * losses.balance_loss + moe["z_loss"] * losses.z_loss + losses.more_routed
        losses.evaluated = losses.token_loss + routed + model["output_z_loss"] * losses.output_z_loss
        if model["mtp_depth"] > 0:
            losses.mtp_loss = self.further(stream, batch.tokens, losses)
        losses.total = (
            losses.token_loss
            + moe["balance_loss"] * losses.balance_loss
            + moe["z_loss"] * losses.z_loss
            + losses.more_routed
            + model["output_z_loss"] * losses.output_z_loss
            + model["mtp_loss"] * losses.mtp_loss
        )
        return losses

    def dropless_logits(self, batch):
        zero = torch.zeros((), dtype=torch.float64)
        with torch.no_grad():
            return self.head(self.whole(batch, Losses(zero, zero, zero, zero), dropless=True))


class Trainer:
    """AdamW with warm-up, cosine decay and clipping by the global norm."""

    def __init__(self, reference):
        self.reference, self.rules = reference, reference.rules
        self.rule = reference.config["optimizer"]
        # Gains, biases and the biases of scores are no products, and keep what they have.
        products = {name for name, w in reference.weights.items() if w.dim() > 1 and "position_bias" not in name}
        decayed = [w for name, w in reference.weights.items() if name in products or self.rules.decay_gains]
        others = [w for name, w in reference.weights.items() if name not in products and not self.rules.decay_gains]
        groups = [{"params": decayed, "weight_decay": self.rule["weight_decay"]}]
        if others:
            groups.append({"params": others, "weight_decay": 0.0})
        betas = (self.rule["beta1"], self.rule["beta2"])
        self.adamw = torch.optim.AdamW(groups, lr=self.rule["lr"], betas=betas, eps=self.rule["eps"])

    def learning_rate(self, step):
        """step counts from 1"""
        peak, warmup = self.rule["lr"], self.rule["warmup_steps"]
        if step <= warmup:
            return peak * step / warmup
        progress = min(1.0, (step - warmup) / max(1, self.reference.config["planned_steps"] - warmup))
        height = (1 + math.cos(math.pi * progress)) / 2 if self.rules.decay_schedule == "cosine" else 1 - progress
        return peak * (self.rule["min_lr_ratio"] + (1 - self.rule["min_lr_ratio"]) * height)

    def gradients(self, micro_batches):
        """-> (losses of each micro-step, gradients by name)"""
        weights = self.reference.weights
        total, losses = {name: torch.zeros_like(weight) for name, weight in weights.items()}, []
        asked = [(batch.targets >= 0).sum() for batch in micro_batches]
        even = 1 / len(micro_batches)
        for batch, num_targets in zip(micro_batches, asked):
            loss = self.reference.run(batch)
            losses.append(loss)
            minimised = loss.total * even
            if self.rules.step_mean == "targets":  # of the step: a micro-step with more of them weighs more
                minimised = minimised + loss.token_loss * (num_targets / sum(asked) - even)
            parts = torch.autograd.grad(minimised, list(weights.values()), allow_unused=True)
            for name, part in zip(weights, parts):
                if part is not None:  # what a broken rule leaves out stays zero
                    total[name] += part
        return losses, total

    def apply(self, step, gradients):
        """Clips and updates. -> the norm before clipping"""
        norm = math.sqrt(sum(gradient.square().sum().item() for gradient in gradients.values()))
        limit = self.rule["clip_norm"]
        scale = limit / norm if self.rules.clip and 0 < limit < norm else 1.0
        for name, weight in self.reference.weights.items():
            weight.grad = gradients[name] * scale
        for group in self.adamw.param_groups:
            group["lr"] = self.learning_rate(step)
        self.adamw.step()
        return norm
