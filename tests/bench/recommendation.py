"""See recommendation --help."""
import argparse
import json
import os
import pathlib
import shutil
import statistics
import subprocess
import sys
import tempfile

MPI = {"OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1"}


KEY = ("ranks", "threads", "expert_parallel", "accumulation", "recompute", "exchange")  # what makes a layout


def key_of(layout):
    return tuple(layout[name] for name in KEY)


def run(command):
    """Output of a command; ends the program with its message when it fails."""
    done = subprocess.run(command, env=os.environ | MPI, capture_output=True, text=True, timeout=1800)
    if done.returncode != 0:
        sys.exit(f"recommendation: {' '.join(map(str, command))} failed:\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
    return done.stdout


def launch(ranks, command):
    return run(["mpirun", "--bind-to", "none", "--oversubscribe", "-n", str(ranks), *command])


def spread(layouts, count):
    """So many layouts, from the first to the last."""
    if len(layouts) <= count:
        return layouts
    return [layouts[round(i * (len(layouts) - 1) / (count - 1))] for i in range(count)]


def measure(program, sources, layout, folder, steps):
    """Seconds of each step that follows the first third."""
    exchange = layout["exchange"] if layout["exchange"] != "none" else "flat"
    settings = {"run.directory": folder, "train.steps": steps, "train.eval_every": 0, "run.checkpoint_every": 0,
                "run.log_every": 1000, "parallel.threads": layout["threads"], "parallel.exchange": exchange,
                "parallel.expert_parallel": layout["expert_parallel"], "train.accumulation": layout["accumulation"],
                "model.recompute": layout["recompute"]}
    assignments = [word for key, value in settings.items() for word in ("--set", f"{key}={value}")]
    launch(layout["ranks"], [program, "train", *sources, *assignments])
    with open(folder / "metrics.jsonl") as file:
        seconds = [line["seconds"] for line in map(json.loads, file) if line["type"] == "step"]
    return seconds[steps // 3:]


def main():
    options = argparse.ArgumentParser(add_help=False)
    for name in ("switchyard", "config"):
        options.add_argument(f"--{name}", required=True)
    for name in ("text", "folder", "calibration"):
        options.add_argument(f"--{name}")
    options.add_argument("--steps", type=int, default=15)
    options.add_argument("--rounds", type=int, default=5)
    options.add_argument("--layouts", type=int, default=6)
    given = options.parse_args()
    folder = pathlib.Path(given.folder or tempfile.mkdtemp())
    folder.mkdir(parents=True, exist_ok=True)
    cores = len(os.sched_getaffinity(0))
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30
    program = given.switchyard
    sources = ["--config", given.config] + (["--set", f"data.path={given.text}"] if given.text else [])
    try:
        layouts = []
        ratios = {}  # of predicted to measured seconds, one a round, by layout
        predicted = {}
        measured = {}
        for turn in range(given.rounds):
            calibration = given.calibration or folder / f"calibration-{turn}.json"
            if not given.calibration:
                launch(cores, [program, "bench", "--calibrate", calibration, "--threads", "1", *sources])
            lines = run([program, "plan", "--recommend", "--json", "--nodes", "1", "--cores-per-node", str(cores),
                         "--mem-per-node", str(memory), "--calibration", calibration, *sources])
            candidates = [json.loads(line) for line in lines.splitlines()]
            layouts = layouts or [key_of(layout) for layout in spread(candidates, given.layouts)]
            predictions = {key_of(candidate): candidate for candidate in candidates}
            for number, key in enumerate(layouts):
                layout = predictions[key]
                steps = measure(program, sources, layout, folder / f"run-{turn}-{number}", given.steps)
                predicted.setdefault(key, []).append(layout["seconds"])
                measured.setdefault(key, []).append(statistics.median(steps))
                ratios.setdefault(key, []).append(layout["seconds"] / measured[key][-1])
        print(f"{'ranks x threads':>16}{'EP':>4}{'passes':>8}{'recompute':>11}{'exchange':>14}"
              f"{'predicted s':>13}{'measured s':>12}{'error %':>9}{'in rounds %':>16}")
        errors = []
        for key in layouts:
            layout = dict(zip(KEY, key))
            in_rounds = [(ratio - 1.0) * 100.0 for ratio in ratios[key]]
            errors.append(abs(statistics.median(in_rounds)))
            shape = f"{layout['ranks']} x {layout['threads']}"
            spread_of = f"{min(in_rounds):+.1f} to {max(in_rounds):+.1f}"
            print(f"{shape:>16}{layout['expert_parallel']:>4}{layout['accumulation']:>8}{layout['recompute']:>11}"
                  f"{layout['exchange']:>14}{statistics.median(predicted[key]):>13.4f}"
                  f"{statistics.median(measured[key]):>12.4f}{errors[-1]:>9.1f}{spread_of:>16}")
        errors.sort()
        ninetieth = errors[min(len(errors) - 1, -(-len(errors) * 9 // 10) - 1)]
        print(f"p90 of the errors of {len(errors)} layouts: {ninetieth:.1f} %; "
              f"load of the machine {os.getloadavg()[0]:.1f} on {cores} cores")
    finally:
        if not given.folder:
            shutil.rmtree(folder)


main()
