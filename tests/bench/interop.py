"""Times exports, imports and generation beside copies and other programs. Called by tests/bench/interop."""

import argparse
import hashlib
import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import time

parser = argparse.ArgumentParser()
parser.add_argument("--llama", default="")
parser.add_argument("--ik-llama", default="")
parser.add_argument("--node-llama", default="")
parser.add_argument("--programs", type=pathlib.Path, required=True)
parser.add_argument("--threads", type=int, default=1)
parser.add_argument("--rounds", type=int, default=5)
parser.add_argument("--dtype", choices=["f32", "bf16"], default="f32")
parser.add_argument("--folder", type=pathlib.Path)
parser.add_argument("--only", choices=["transfers", "programs"])
parser.add_argument("--json", action="store_true")
arguments = parser.parse_args()

PROMPT, TOKENS = 512, 64
PHASES = {"first_prefill": "first prefill", "prefill": "prefill", "generation": "generation"}
BLOCK = 4 << 20
HERE = pathlib.Path(__file__).parent
MODEL = dict(
    vocab_size=256, hidden=512, layers=8, heads=8, kv_heads=8, seq_len=1024, norm_eps=1e-6, init_std=0.05,
)  # fmt: skip
MIXTURE = dict(experts=32, top_k=4, expert_width=256)


def run(*words):
    done = subprocess.run([str(word) for word in words], capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(f"{' '.join(map(str, words))}: {done.stderr}")
    return done.stdout


def make_model(folder):
    """One step of training is enough for weights. @return the checkpoint and its GGUF file"""
    switchyard = arguments.programs / "bin" / "switchyard"
    text = folder / "text"
    text.write_text("wagons are sorted onto tracks\n" * 2000)
    settings = [("model", key, value) for key, value in MODEL.items()]
    settings += [("moe", key, value) for key, value in MIXTURE.items()]
    settings += [("attention", "qk_norm", "yes"), ("data", "path", text), ("run", "directory", folder / "run"),
                 ("train", "steps", 1), ("train", "global_batch", 1), ("train", "eval_every", 0)]
    sets = [word for section, key, value in settings for word in ("--set", f"{section}.{key}={value}")]
    run(switchyard, "train", *sets)
    checkpoint = folder / "run" / "checkpoints" / "latest"
    file = folder / "model.gguf"
    run(switchyard, "checkpoint", "export", checkpoint, file, "--to", "gguf", "--dtype", arguments.dtype)
    return checkpoint.resolve(), file


def timed(*words):
    """@return seconds of a program that must succeed, and its peak memory in MiB"""
    begin = time.perf_counter()
    child = subprocess.Popen([str(word) for word in words], stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(child.pid, 0)
    child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode != 0:
        sys.exit(f"{' '.join(map(str, words))}: exit code {child.returncode}")
    return time.perf_counter() - begin, usage.ru_maxrss / 1024


def flush(path):
    """Waits until the disk has a file or folder."""
    descriptor = os.open(path, os.O_RDONLY)
    os.fsync(descriptor)
    os.close(descriptor)


def blocks(path):
    """The bytes of a file in order, from the disk or wherever the system has them."""
    with open(path, "rb", buffering=0) as file:
        while block := file.read(BLOCK):
            yield block


def forget_cached(path):
    descriptor = os.open(path, os.O_RDONLY)
    os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
    os.close(descriptor)


def files_of(path):
    return sorted(path.iterdir()) if path.is_dir() else [path]


def copy_seconds(path, target):
    """Of copying files, waiting until the disk has them, and comparing what it has, as exports and imports do.
    @return seconds until the disk has them, and in all"""
    begin = time.perf_counter()
    target.mkdir()
    for file in files_of(path):
        shutil.copyfile(file, target / file.name)
        flush(target / file.name)
    for folder in (target, target.parent):
        flush(folder)
    copied = time.perf_counter() - begin
    for file in files_of(path):
        forget_cached(target / file.name)
        if any(block != other for block, other in zip(blocks(file), blocks(target / file.name), strict=True)):
            sys.exit(f"{target / file.name} reads back otherwise than {file}")
    checked = time.perf_counter() - begin
    shutil.rmtree(target)
    return copied, checked


def stage_seconds(path, target):
    """Of what must be done with each byte, by one processor, a stage after the other."""
    files = files_of(path)
    begin = time.perf_counter()
    seconds = {}

    def end(stage):
        nonlocal begin
        now = time.perf_counter()
        seconds[stage] = now - begin
        begin = time.perf_counter()

    for file in files:
        for _ in blocks(file):
            pass
    end("read")
    block = os.urandom(BLOCK)
    num_blocks = sum(file.stat().st_size for file in files) // BLOCK
    begin = time.perf_counter()
    digest = hashlib.sha256()
    for _ in range(num_blocks):
        digest.update(block)
    end("sha256")
    with open(target, "wb", buffering=0) as file:
        for _ in range(num_blocks):
            file.write(block)
        end("write")
        os.fsync(file.fileno())
        end("flush")
    forget_cached(target)
    begin = time.perf_counter()
    for _ in blocks(target):
        pass
    end("read_back")
    target.unlink()
    return seconds


def fewer_seconds(one, other):
    return {key: min(value, other.get(key, value)) for key, value in one.items()}


def transfers(checkpoint, folder):
    """Exports and imports beside copies of the files that exports write and imports read. What an import writes has
    as many bytes: the moments of the optimizer are zero and take no room."""
    switchyard = arguments.programs / "bin" / "switchyard"
    results = {}
    stages = {}
    for way, made in (("hf", "model-hf"), ("gguf", "model-out.gguf")):
        for what, words, source in (
            ("export", ["export", checkpoint, folder / made, "--to", way], folder / made),
            ("import", ["import", folder / made, folder / "imported"], folder / made),
        ):
            best = results[f"{what} {way}"] = dict(memory_mib=0.0)
            seconds = {}
            for round in range(arguments.rounds):
                own, memory = timed(switchyard, "checkpoint", *words)
                copied, checked = copy_seconds(source, folder / "copy")
                seconds = fewer_seconds(dict(seconds=own, copy=copied, checked_copy=checked), seconds)
                stages = fewer_seconds(stage_seconds(source, folder / "stages"), stages)
                best["memory_mib"] = max(best["memory_mib"], memory)
                best["mib"] = sum(file.stat().st_size for file in files_of(source)) / 2**20
                leftover = words[2]
                if what == "import" or round + 1 < arguments.rounds:
                    for path in folder.glob(leftover.name + "*"):
                        shutil.rmtree(path) if path.is_dir() else path.unlink()
            best |= seconds
            best["of_copy"] = best["copy"] / best["seconds"]
            best["of_checked_copy"] = best["checked_copy"] / best["seconds"]
    return results, stages


def print_transfers(results, stages):
    for name, result in results.items():
        print(f"{name:13} {result['seconds']:6.2f} s for {result['mib']:.0f} MiB, "
              f"{result['of_copy']:.2f} of the speed of a copy ({result['copy']:.2f} s), "
              f"{result['of_checked_copy']:.2f} of one that is read back and compared ({result['checked_copy']:.2f} s), "
              f"{result['memory_mib']:.0f} MiB of memory")
    print("stages        " + ", ".join(f"{stage} {seconds:.2f} s" for stage, seconds in stages.items()) +
          f", each alone on one of {os.cpu_count()} processors")


def main():
    with tempfile.TemporaryDirectory(dir=arguments.folder) as scratch:
        checkpoint, file = make_model(pathlib.Path(scratch))
        moved, stages = transfers(checkpoint, pathlib.Path(scratch)) if arguments.only != "programs" else ({}, {})
        if arguments.only == "transfers":
            if arguments.json:
                print(json.dumps(dict(transfers=moved, stages=stages)))
            else:
                print_transfers(moved, stages)
            return
        # The first round of a process does not find its memory there.
        numbers = [arguments.threads, 2, PROMPT, TOKENS]
        sides = {"switchyard": [arguments.programs / "tests" / "bench" / "generation_speed", checkpoint,
                                arguments.dtype, *numbers]}
        if arguments.llama:
            sides["llama.cpp"] = [arguments.llama, "-B", HERE / "generation_llama.py", file, *numbers]
        if arguments.ik_llama:
            words = [arguments.ik_llama, "-B", HERE / "generation_ik_llama.py", file, *numbers]
            sides["ik_llama.cpp"] = words
            # Its flash attention needs AVX-512.
            if " avx512f " in pathlib.Path("/proc/cpuinfo").read_text():
                sides["ik, flash"] = [*words, "flash"]
        if arguments.node_llama:
            sides["node-llama"] = ["node", HERE / "generation_node_llama.mjs", arguments.node_llama, file, *numbers]
        best = {name: dict.fromkeys(PHASES, 0.0) for name in sides}
        for _ in range(arguments.rounds):
            for name, words in sides.items():
                result = json.loads(run(*words).splitlines()[-1])
                for phase in PHASES:
                    best[name][phase] = max(best[name][phase], result[phase])
                best[name]["tokens"] = result["tokens"]
    for result in best.values():
        tokens = result.pop("tokens")
        ours = best["switchyard"].setdefault("reference", tokens)
        result["same_tokens"] = next((i for i, pair in enumerate(zip(ours, tokens)) if pair[0] != pair[1]), len(ours))
    best["switchyard"].pop("reference")
    left_out = [name for name in ("llama.cpp", "ik_llama.cpp", "node-llama") if name not in best]
    if arguments.json:
        figures = dict(dtype=arguments.dtype, threads=arguments.threads, transfers=moved, stages=stages, programs=best)
        print(json.dumps(figures | dict(left_out=left_out)))
        return
    if moved:
        print_transfers(moved, stages)
    for name, result in best.items():
        print(f"{name:13} prefill {result['prefill']:7.0f} tokens/s, {result['first_prefill']:7.0f} the first time, generation {result['generation']:6.1f} tokens/s, "
              f"the first {result['same_tokens']} of {TOKENS + 1} tokens as ours")
    for phase in PHASES:
        others = [result[phase] for name, result in best.items() if name != "switchyard"]
        if others:
            print(f"{PHASES[phase]}: {best['switchyard'][phase] / max(others):.2f} times the faster other program")
    for name in left_out:
        print(f"left out: {name}, which is not here; see tests/bench/interop --help")


main()
