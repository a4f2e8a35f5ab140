#!/usr/bin/env python3
"""Reads the turns that tests/bench/torch_peer took and prints the fastest PyTorch, and ratios to it, as a table.

peer_report.py FOLDER    with ours-ROUND-*.jsonl (none is fine) and peer-ROUND-*.jsonl
"""
import json
import pathlib
import statistics
import sys

KEYS = ("what", "shape", "dtype", "pass", "threads")


def read(folder, side):
    """-> {measurement: {round: [records]}}"""
    result = {}
    for path in sorted(folder.glob(f"{side}-*.jsonl")):
        turn = int(path.name.split("-")[1])
        for line in path.read_text().splitlines():
            if not line.startswith("{"):
                continue
            record = json.loads(line)
            # Other rows of ours, such as where a step's time goes, have no counterpart.
            if record.get("what") not in ("layer", "step") or record.get("mode", "fast") != "fast":
                continue
            missing = [key for key in (*KEYS, "best_ms", "median_ms") if key not in record]
            if missing:
                raise SystemExit(f"peer_report: {path.name} lacks {', '.join(missing)}: {line}")
            key = tuple(record[k] for k in KEYS)
            result.setdefault(key, {}).setdefault(turn, []).append(record)
    return result


def fastest(records):
    return min(records, key=lambda record: record["best_ms"])


def all_turns(turns):
    return [record for records in turns.values() for record in records]


def row(key, ours, peer):
    """One line of the table; what was measured on one side only is shown as that."""
    cells = [str(part) for part in key]
    best = fastest(all_turns(peer)) if peer else None
    cells += [f"{best['best_ms']:.2f}", f"{best['torch']} {best['style']}"] if best else ["-", "-"]
    cells.append(f"{fastest(all_turns(ours))['best_ms']:.2f}" if ours else "-")
    if not (ours and peer):
        return cells + ["-", "-"]
    cells.append(f"{best['best_ms'] / fastest(all_turns(ours))['best_ms']:.2f}")
    # Medians within a round: both sides met the same disturbance.
    ratios = [
        min(r["median_ms"] for r in peer[turn]) / min(r["median_ms"] for r in ours[turn])
        for turn in sorted(set(ours) & set(peer))
    ]
    shown = f"{statistics.median(ratios):.2f} ({min(ratios):.2f}-{max(ratios):.2f})" if ratios else "-"
    return cells + [shown]


def main():
    helps = sys.argv[1:] in (["-h"], ["--help"])
    if helps or len(sys.argv) != 2:
        print(__doc__.strip())
        return 0 if helps else 2
    folder = pathlib.Path(sys.argv[1])
    ours, peer = read(folder, "ours"), read(folder, "peer")
    if not peer:
        raise SystemExit(f"peer_report: no measurement of PyTorch in {folder}")
    header = (*KEYS, "torch_best_ms", "torch", "ours_best_ms", "ratio_of_bests", "ratio_of_medians_by_round")
    rows = [list(header)] + [row(key, ours.get(key), peer.get(key)) for key in {**peer, **ours}]
    if not ours:  # only who is the peer
        rows = [cells[:7] for cells in rows]
    widths = [max(len(cells[i]) for cells in rows) for i in range(len(rows[0]))]
    print("# The fastest PyTorch of each measurement" + ("; a ratio above 1: ours is faster" if ours else ""))
    for cells in rows:
        print("# " + "  ".join(cell.ljust(width) for cell, width in zip(cells, widths)).rstrip())
    if ours and not set(ours) & set(peer):
        raise SystemExit("peer_report: ours and PyTorch's have no measurement in common")
    return 0


if __name__ == "__main__":
    sys.exit(main())
