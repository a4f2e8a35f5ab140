"""Makes the records of a study whose times follow a known law, lets the program report them, and reads what it wrote with
Extra-P, TALP-Pages and scipy.   scaling_tools.py PROGRAM FOLDER"""

import csv
import json
import logging
import pathlib
import subprocess
import sys
import warnings

import scipy.stats
from extrap.fileio.file_reader.jsonlines_file_reader import read_jsonlines_file
from extrap.modelers.model_generator import ModelGenerator
from talp_pages.analysis.scaling_analysis import ScalingAnalysis, ScalingAnalysisArguments
from talp_pages.io.run_folders import get_run_folders

NODES = [1, 2, 4, 8, 16, 32]
REPEATS = 3
# Of a step: the share in which ranks compute, on the mean and the busiest one.
MEAN_USEFUL, MAX_USEFUL = 0.6, 0.75


def seconds(ranks, repeat):
    """0.5 + 0.25 sqrt(p), and repeats that differ by a thousandth."""
    return (0.5 + 0.25 * ranks**0.5) * (1 + 0.001 * (repeat - 2))


def step(number, ranks, repeat):
    time = seconds(ranks, repeat)
    level = {"rows": 1, "bytes": 8}
    part = {"total": 0.02 * time, "exposed": 0.01 * time}
    return {
        "type": "step", "step": number, "loss": 1.0, "tokens": 1000 * ranks, "flops_per_s": 1e9, "seconds": time,
        "phases": {"data": 0.0, "compute": MEAN_USEFUL * time, "communication": 0.4 * time, "optimizer": 0.0},
        "useful_seconds": {"mean": MEAN_USEFUL * time, "max": MAX_USEFUL * time},
        "dropped": 0, "imbalance": 1.0, "layers": [{"layer": 0, "load": [5, 5], "dropped": 0}],
        "traffic": {"rank": level, "node": level, "network": level, "network_bound": 8, "metadata": 0},
        "exchange_seconds": {"plan": part, "dispatch": part, "return": part},
        "gradient_bytes_sent": 8 * number, "memory_bytes": 100,
    }


def write_study(folder):
    folder.mkdir()
    (folder / "study").write_text("kind weak\nsteps 4\nwarmup 1\n")
    rows = ["task\tpoint\trepeat\tnodes\tranks\texpert_parallel\texchange\tglobal_batch"]
    for repeat in range(1, REPEATS + 1):
        for nodes in NODES:
            rows.append(f"{len(rows)}\tn{nodes}\t{repeat}\t{nodes}\t{nodes}\t0\tflat\t{nodes}")
            run = folder / "runs" / f"n{nodes}.{repeat}"
            run.mkdir(parents=True)
            # Odd hosts compute for a third of the time that even ones do, or all are one.
            ranks = [{"host": f"h{rank}", "useful_seconds": 3.0 - 2 * (rank % 2), "memory_bytes": 100} for rank in range(nodes)]
            records = [{"type": "run", "version": "0", "isa": "generic", "layout": "", "threads": 1, "config": {}}]
            records += [step(number, nodes, repeat) for number in range(1, 5)]
            records += [{"type": "end", "step": 4, "stopped_early": False, "ranks": ranks}]
            (run / "metrics.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))
    (folder / "points.tsv").write_text("\n".join(rows) + "\n")
    (folder / "results").mkdir()


def run(*arguments):
    return subprocess.run(arguments, check=True, capture_output=True, text=True, timeout=60).stdout


def near(what, found, expected, error):
    assert abs(found / expected - 1) <= error, f"{what} is {found}, not {expected}"


def check_intervals(folder):
    for row in csv.DictReader(open(folder / "points.csv")):
        times = [seconds(int(row["ranks"]), repeat) for repeat in range(1, REPEATS + 1)]
        low, high = scipy.stats.t.interval(0.95, REPEATS - 1, loc=0, scale=scipy.stats.sem(times))
        near("interval", float(row["step_seconds_ci95"]), (high - low) / 2, 1e-6)


def check_extrap(folder):
    experiment = read_jsonlines_file(folder / "extrap" / "flat-ep0.jsonl")
    assert len(experiment.callpaths) == 9, experiment.callpaths
    generator = ModelGenerator(experiment)
    generator.model_all()
    models = {str(key[0]): model.hypothesis.function for key, model in generator.models.items()}
    for row in csv.DictReader(open(folder / "predictions.csv")):
        ranks, found = int(row["ranks"]), float(row["step_seconds"])
        near(f"our prediction on {ranks} ranks", found, seconds(ranks, 2), 1e-3)
        near(f"our prediction beside Extra-P's on {ranks} ranks", found, models["step"].evaluate([ranks]), 1e-3)
        near("Extra-P's compute", models["step->compute"].evaluate([ranks]), MEAN_USEFUL * seconds(ranks, 2), 1e-3)


def check_talp(folder):
    (runs,) = get_run_folders(folder / "talp")
    (result,) = ScalingAnalysis(ScalingAnalysisArguments(run_folder=runs)).get_results(["Global"])
    assert len(result.dataframe_list) == len(NODES), result.ressource_combinations
    for nodes, point in zip(NODES, result.dataframe_list):
        near("elapsed time", point["elapsedTime"].iloc[0], 3 * seconds(nodes, 2), 2e-3)
        for name, expected in (("parallelEfficiency", MEAN_USEFUL), ("mpiCommunicationEfficiency", MAX_USEFUL),
                               ("mpiLoadBalance", MEAN_USEFUL / MAX_USEFUL),
                               ("mpiLoadBalanceOut", 1.0 if nodes == 1 else 2.0 / 3.0)):
            near(name, point[name].iloc[0], expected, 1e-6)
        near("load balance", point["mpiLoadBalanceIn"].iloc[0] * point["mpiLoadBalanceOut"].iloc[0],
             point["mpiLoadBalance"].iloc[0], 1e-6)
        near("efficiency of all", point["usefulTime"].iloc[0] * 1e-9 / point["elapsedTime"].iloc[0] / nodes, MEAN_USEFUL, 1e-6)


def main():
    program, folder = sys.argv[1], pathlib.Path(sys.argv[2])
    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)
    write_study(folder)
    for task in range(1, REPEATS * len(NODES) + 1):
        line = run(program, "scaling", "measure", str(folder), str(task))
        (folder / "results" / f"{json.loads(line)['task']['point']}.{json.loads(line)['task']['repeat']}.json").write_text(line)
    run(program, "scaling", "report", str(folder))
    check_intervals(folder)
    check_extrap(folder)
    check_talp(folder)
    print("Extra-P and TALP-Pages read the study, and scipy's intervals are ours")


if __name__ == "__main__":
    main()
