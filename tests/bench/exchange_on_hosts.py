"""exchange_on_hosts.py REFERENCE RUN...: a table of how runs exchanged rows, from their metrics.jsonl.

The losses of every run have to be those of the reference, to 1e-4 of them.
"""
import json
import pathlib
import sys

WARM_UP = 2  # steps


def steps(run):
    lines = (pathlib.Path(run) / "metrics.jsonl").read_text().splitlines()
    return [record for record in map(json.loads, lines) if record["type"] == "step"]


def mean(values):
    values = list(values)
    return sum(values) / len(values)


reference = [step["loss"] for step in steps(sys.argv[1])]
print(f"{'exchange':14}{'ms a step':>10}{'plan ms':>9}{'rows ms':>9}{'exposed':>9}{'hidden':>8}{'network MB':>12}{'of bound':>10}")
for run in sys.argv[2:]:
    records = steps(run)
    assert len(records) == len(reference), f"{run}: {len(records)} steps of {len(reference)}"
    for record, loss in zip(records, reference):
        assert abs(record["loss"] - loss) <= 1e-4 * loss, f"{run}: loss {record['loss']}, one rank has {loss}"
    records = records[WARM_UP:]
    times = [record["exchange_seconds"] for record in records]
    total = mean(time["dispatch"]["total"] + time["return"]["total"] for time in times)
    exposed = mean(time["dispatch"]["exposed"] + time["return"]["exposed"] for time in times)
    network = mean(record["traffic"]["network"]["bytes"] for record in records)
    bound = mean(record["traffic"]["network_bound"] for record in records)
    print(
        f"{pathlib.Path(run).name:14}{mean(record['seconds'] for record in records) * 1e3:10.1f}"
        f"{mean(time['plan']['total'] for time in times) * 1e3:9.1f}{total * 1e3:9.1f}{exposed * 1e3:9.1f}"
        f"{1.0 - exposed / total:8.2f}{network / 1e6:12.2f}{network / bound:10.2f}"
    )
