"""Checks a trace against the Trace Event Format and the run's metrics.

trace_checks.py RUN FIRST_STEP LAST_STEP RANKS
"""
import collections
import json
import sys

ROUNDING_US = 0.0015  # times are whole nanoseconds, written as microseconds


def fail(text):
    sys.exit(f"trace: {text}")


def check_format(events, ranks):
    """Every event has what the format asks of its kind."""
    needed = {"X": ("ts", "dur", "tid", "cat", "args"), "b": ("ts", "id", "cat"), "e": ("ts", "id", "cat"),
              "C": ("ts", "args"), "M": ("args",)}
    for event in events:
        missing = [key for key in ("ph", "name", "pid", *needed.get(event.get("ph"), ())) if key not in event]
        if event.get("ph") not in needed or missing:
            fail(f"{event} lacks {missing}")
        if event.get("ts", 0) < 0 or event.get("dur", 0) < 0:
            fail(f"negative time in {event}")
    if {event["pid"] for event in events} != set(range(ranks)):
        fail("it does not have every rank")
    names = {event["args"]["name"] for event in events if event["name"] == "process_name"}
    if len(names) != ranks:
        fail(f"ranks are called {names}")


def check_nesting(events):
    """Spans of a thread either nest or do not touch."""
    threads = collections.defaultdict(list)
    for event in events:
        if event["ph"] == "X":
            threads[event["pid"], event["tid"]].append(event)
    for spans in threads.values():
        spans.sort(key=lambda span: (span["ts"], -span["dur"]))
        around = []
        for span in spans:
            while around and around[-1]["ts"] + around[-1]["dur"] <= span["ts"] + ROUNDING_US:
                around.pop()
            if around and span["ts"] + span["dur"] > around[-1]["ts"] + around[-1]["dur"] + ROUNDING_US:
                fail(f"{span} reaches beyond {around[-1]}")
            around.append(span)


def near(traced_us, told_seconds):
    """Clocks are read a few times more than once: a tenth of a millisecond, or two percent, for a busy machine."""
    return abs(traced_us * 1e-6 - told_seconds) <= 1e-3 + 0.02 * told_seconds


def check_steps(events, steps, ranks):
    """Steps last as long as the metrics say: on rank 0, and elsewhere where ranks wait for each other."""
    for number, record in steps.items():
        for rank in range(ranks):
            spans = [e for e in events if e["ph"] == "X" and e["cat"] == "step" and e["pid"] == rank
                     and e["args"]["step"] == number]
            if len(spans) != 1:
                fail(f"step {number} of rank {rank} is there {len(spans)} times")
            if rank == 0 and not near(spans[0]["dur"], record["seconds"]):
                fail(f"step {number} lasts {spans[0]['dur']} us and {record['seconds']} s in the metrics")


def check_phases(events, steps):
    """The phases of rank 0 are those of the metrics, with what each has waited taken out as communication."""
    for number, record in steps.items():
        seconds = collections.Counter()
        for event in events:
            if event["ph"] == "X" and event["cat"] == "phase" and event["pid"] == 0 and event["args"]["step"] == number:
                waited = event["args"].get("waited_us", 0.0)
                seconds[event["name"]] += event["dur"] - waited
                seconds["communication"] += waited if event["name"] != "validation" else 0.0
        for name, told in record["phases"].items():
            if not near(seconds[name], told):
                fail(f"{name} of step {number}: {seconds[name]} us, and {told} s in the metrics")


def check_content(events, first, ranks, micro_steps=2, layers=2):
    """What a step is made of is there, on each rank, in each layer and micro-step."""
    for rank in range(ranks):
        counts = collections.Counter(e["name"] for e in events if e["pid"] == rank and e["ph"] in "Xb"
                                     and e["args"].get("step") == first)
        for name in ("attention", "attention backward", "mixture", "mixture backward", "router", "router backward",
                     "dispatch", "return", "dispatch of gradients", "return of gradients", "wait for dispatch"):
            if counts[name] != micro_steps * layers:
                fail(f"{name} is there {counts[name]} times in a step of rank {rank}")
        for name in ("experts", "experts backward"):
            if counts[name] < micro_steps * layers:
                fail(f"{name} is there {counts[name]} times in a step of rank {rank}")
        for name in ("head and its backward", "backward", "AdamW", "wait for gradients"):
            if counts[name] < 1:
                fail(f"{name} is not there on rank {rank}")


def check_flights(events, ranks, error_us):
    """Every flight that begins ends, later; ranks that exchange rows are at it at the same time."""
    open_flights, flights = {}, collections.defaultdict(dict)
    for event in events:
        key = event.get("id"), event["name"]
        if event["ph"] == "b":
            open_flights[key] = event
        elif event["ph"] == "e":
            begin = open_flights.pop(key)
            if event["ts"] < begin["ts"]:
                fail(f"{begin} ends before it begins")
            args = begin["args"]
            which = event["name"], args["step"], args["micro_step"], args["layer"]
            flights[which][event["pid"]] = begin["ts"], event["ts"]
    if open_flights:
        fail(f"{len(open_flights)} flights never end")
    for which, of_ranks in flights.items():
        if len(of_ranks) != ranks:
            fail(f"{which} is there on ranks {sorted(of_ranks)}")
        latest_begin = max(begin for begin, _ in of_ranks.values())
        earliest_end = min(end for _, end in of_ranks.values())
        if latest_begin > earliest_end + 2 * error_us:
            fail(f"{which}: a rank begins {latest_begin - earliest_end} us after another has ended")
    return flights


def main():
    run, first, last, ranks = sys.argv[1], *map(int, sys.argv[2:])
    with open(f"{run}/trace-{first}-{last}.json") as file:
        trace = json.load(file)
    with open(f"{run}/metrics.jsonl") as file:
        lines = [json.loads(line) for line in file]
    steps = {line["step"]: line for line in lines if line["type"] == "step" and first <= line["step"] <= last}
    events, about = trace["traceEvents"], trace["otherData"]
    check_format(events, ranks)
    check_nesting(events)
    check_steps(events, steps, ranks)
    check_phases(events, steps)
    micro_steps = 1 + max(event["args"].get("micro_step", 0) for event in events if event["ph"] == "X")
    check_content(events, first, ranks, micro_steps)
    errors = []
    for rank, told in enumerate(about["ranks"]):
        if told["rank"] != rank or told["dropped_events"] != 0:
            fail(f"it says {told} of rank {rank}")
        # One machine, one clock: what was measured is the error.
        if abs(told["clock_offset_us"]) > told["clock_error_us"]:
            fail(f"the clock of rank {rank} is {told['clock_offset_us']} us off, beyond {told['clock_error_us']} us")
        errors.append(told["clock_error_us"])
    flights = check_flights(events, ranks, max(errors))
    print(f"{ranks} ranks: {len(events)} events, {len(flights)} exchanges, clocks within {max(errors):.1f} us")


main()
