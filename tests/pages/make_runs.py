#!/usr/bin/env python3
"""Writes the folders of runs that no quick training gives: thousands of steps with spikes and gaps, many experts, awkward
names.   make_runs.py FOLDER"""
import json
import math
import os
import random
import sys

SCRIPT = "<script>alert('x')</script> & \"co\""


def step_record(generator, step, steps, base):
    """One step of a run whose experts get more even, with a spike in the middle and two steps that were skipped."""
    heat = 1.0 - step / steps
    layers = []
    for number, popularity in enumerate(base):
        shares = [p**heat for p in popularity]
        load = [int(2048 * s / sum(shares) * generator.uniform(0.9, 1.1)) for s in shares]
        if number == 0 and step > steps // 2:
            load[0] = 0
        layers.append({"layer": 2 * number + 1, "load": load, "dropped": 3, "routing_hash": "0" * 16})
    loss = 2.0 + 3.0 * math.exp(-step / 300) + generator.gauss(0, 0.03) + (4.0 if step == steps // 2 else 0.0)
    skipped = step in (steps // 3, steps // 3 + 1)
    seconds = generator.uniform(0.1, 0.12)
    return {
        "type": "step", "step": step, "loss": loss, "token_loss": None if skipped else loss, "targets": 4096,
        "learning_rate": 3e-4 * min(1.0, step / 100), "gradient_norm": None if skipped else generator.uniform(1, 2),
        "applied": not skipped, "tokens": 4096, "tokens_per_s": 4096 / seconds, "seconds": seconds,
        "phases": {"data": 0.001, "compute": 0.7 * seconds, "communication": 0.2 * seconds, "optimizer": 0.005},
        "dropped": 3 * len(layers), "layers": layers,
        "imbalance": max(max(l["load"]) * len(l["load"]) / sum(l["load"]) for l in layers),
        "traffic": {"network": {"rows": 10, "bytes": generator.randrange(2000000, 2200000)}, "network_bound": 1500000},
        "exchange_seconds": {p: {"total": 0.02, "exposed": 0.01} for p in ("plan", "dispatch", "return")},
        "memory_bytes": 123456789,
    }


def write_run(folder, steps, num_layers, num_experts, seed):
    os.makedirs(folder)
    generator = random.Random(seed)
    base = [[math.exp(generator.gauss(0, 0.8)) for _ in range(num_experts)] for _ in range(num_layers)]
    with open(os.path.join(folder, "metrics.jsonl"), "w") as file:
        def write(record):
            file.write(json.dumps(record) + "\n")

        for step in range(1, steps + 1):
            if step in (1, steps // 2):
                write({"type": "run", "version": "0.1.0", "layout": SCRIPT, "host": SCRIPT, "ranks": 4, "threads": 1,
                       "isa": "avx2", "first_step": step, "notes": [SCRIPT],
                       "config": {"run": {"directory": SCRIPT}, "moe": {"experts": num_experts}}})
            write(step_record(generator, step, steps, base))
            if step % 100 == 0:
                write({"type": "eval", "step": step, "loss": 2.1 + 3.0 * math.exp(-step / 300), "bits_per_byte": 1.2})
            if step % 250 == 0:
                write({"type": "checkpoint", "step": step, "folder": "x", "seconds": 1, "total_seconds": 2})
        write({"type": "end", "step": steps, "stopped_early": False, "skipped": 2})
    with open(os.path.join(folder, "jobs.jsonl"), "w") as file:
        file.write(json.dumps({"type": "start", "job": SCRIPT, "time": 1796029472, "from_step": 0}) + "\n")


if sys.argv[1:] in (["-h"], ["--help"]):
    print(__doc__)
    sys.exit()
if len(sys.argv) != 2:
    sys.exit(__doc__)
write_run(os.path.join(sys.argv[1], "long"), 3000, 4, 64, 1)
write_run(os.path.join(sys.argv[1], "<b>&'a rather long name of a run without any blank in it".replace(" ", "-")), 600, 2, 8, 2)
for number in range(1, 9):
    write_run(os.path.join(sys.argv[1], "seeds", f"seed-{number}"), 40, 2, 8, number)
