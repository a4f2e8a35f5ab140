#!/usr/bin/env python3
"""Holds lines of `switchyard bench device --json` to the targets, as a table.
  tests/gpu/targets.py FILE
Fails when a line is not there, or a result was wrong; a missed target is a line of the table.
"""
import json
import sys

# Pass of the bench: what it is, and the least share of its limit.
TARGETS = {
    "dispatch": ("permutation of rows, of copying", 0.90),
    "combine": ("sums of a token's rows, of copying", 0.90),
    "grouped products": ("products of all experts, of as many rows with one matrix", 0.90),
    "layer forward, backward": ("mixture layer forward and backward, of its products alone", 0.80),
}


def main():
    if len(sys.argv) != 2 or sys.argv[1] in ("-h", "--help"):
        print(__doc__.rstrip())
        return 0 if sys.argv[1:2] in (["-h"], ["--help"]) else 2
    found = set()
    wrong = []
    print("| what | dtype | share | target | |\n|---|---|---|---|---|")
    with open(sys.argv[1], encoding="utf-8") as lines:
        for line in lines:
            if not line.startswith("{"):
                continue
            row = json.loads(line)
            if not row["right"]:
                wrong.append(f"{row['pass']} in {row['dtype']}")
            if row["pass"] not in TARGETS:
                continue
            what, target = TARGETS[row["pass"]]
            found.add(row["pass"])
            share = row["of limit"]
            print(f"| {what} | {row['dtype']} | {share:.2f} | {target:.2f} | {'met' if share >= target else 'MISSED'} |")
    missing = sorted(set(TARGETS) - found)
    if missing or wrong:
        print(f"\nNot measured: {', '.join(missing) or 'nothing'}; wrong: {', '.join(wrong) or 'nothing'}")
    return 1 if missing or wrong else 0


if __name__ == "__main__":
    sys.exit(main())
