#!/usr/bin/env python3
"""Checks a page of `switchyard report --html` without a browser: it is well-formed, takes nothing from outside, and its
figures, read off by their own axes, have the numbers of metrics.jsonl.   check_page.py PAGE RUN..."""
import json
import math
import re
import sys
import xml.etree.ElementTree as ET

XHTML = "{http://www.w3.org/1999/xhtml}"
UNITS = {"k": 1e3, "M": 1e6, "G": 1e9, "T": 1e12}


def number(label):
    return float(label[:-1]) * UNITS[label[-1]] if label[-1] in UNITS else float(label)


def classes(element):
    return element.get("class", "").split()


def fit(pairs):
    """The line value = a + b * place through ticks, which have to lie on it."""
    (x1, y1), (x2, y2) = pairs[0], pairs[-1]
    b = (y2 - y1) / (x2 - x1)
    for x, y in pairs:
        assert abs(y1 + b * (x - x1) - y) <= 0.006 * abs(y2 - y1), f"tick {y} is not where its label says"
    return lambda place: y1 + b * (place - x1)


class Figure:
    """A figure of lines, with places as values."""

    def __init__(self, element):
        svg = element.find(XHTML + "svg")
        ticks = [(c, t) for t in svg.iter(XHTML + "text") for c in [classes(t)] if "name" in c]
        # Labels at the ends are moved inside: their marks are where the tick is.
        marks = [float(re.match(r"M([\d.]+) ", p.get("d")).group(1)) for p in svg.iter(XHTML + "path")
                 if classes(p) == ["tick"]]
        x_labels = [number(t.text) for c, t in ticks if "x" in c]
        assert len(marks) == len(x_labels), "a label of the horizontal axis is missing"
        self.x = fit(list(zip(marks, x_labels)))
        self.y = fit([(float(t.get("y")) - 4.2, number(t.text)) for c, t in ticks if "y" in c])
        self.lines = {}
        for path in svg.iter(XHTML + "path"):
            if classes(path)[0] != "line":
                continue
            faint = "faint" in classes(path)
            points = [tuple(map(float, p.split())) for p in re.split("[ML]", path.get("d")) if p]
            self.lines.setdefault((classes(path)[1], faint), []).extend(
                (self.x(x), self.y(y)) for x, y in points)
        self.height = abs(self.y(216) - self.y(22))
        self.width = abs(self.x(388) - self.x(40))


def read_steps(run):
    steps = {}
    with open(run + "/metrics.jsonl") as file:
        for line in file:
            try:
                record = json.loads(line)
            except ValueError:
                continue
            if record["type"] == "step":
                steps[record["step"]] = record
    return steps


def entropy(load):
    total = sum(load)
    return -sum(l / total * math.log(l / total) for l in load if l) / math.log(len(load))


SERIES = {
    "Training loss over steps": lambda r: r["token_loss"],
    "Gradient norm": lambda r: r["gradient_norm"],
    "Imbalance": lambda r: r["imbalance"],
    "Routing entropy": lambda r: min(entropy(l["load"]) for l in r["layers"]),
    "Dropped choices": lambda r: 100 * r["dropped"] / sum(sum(l["load"]) for l in r["layers"]),
    "Throughput": lambda r: r["tokens_per_s"],
    "Exposed communication": lambda r: 100 * r["phases"]["communication"] / r["seconds"],
}


def compare(title, figure, colour, value_of, steps):
    """Each point is one of the run's, and the run's highest and lowest are drawn."""
    truth = {s: value_of(r) for s, r in steps.items()}
    truth = {s: v for s, v in truth.items() if v is not None}
    points = figure.lines.get((colour, True)) or figure.lines.get((colour, False))
    assert points, f"{title}: no line of {colour}"
    close = 0.004 * figure.height
    slack = 0.004 * figure.width
    places = sorted(truth)
    for x, y in points:
        near = [s for s in range(math.floor(x - slack), math.ceil(x + slack) + 1) if s in truth]
        assert any(abs(truth[s] - y) <= close for s in near), f"{title}: the run has no point near {x}, {y}"
    for extreme in (max, min):
        drawn = extreme(y for _, y in points)
        assert abs(drawn - extreme(truth.values())) <= close, f"{title}: {extreme.__name__} is drawn as {drawn}"
    assert abs(min(x for x, _ in points) - places[0]) <= slack and abs(max(x for x, _ in points) - places[-1]) <= slack
    return len(points)


def check_whole(page, text):
    root = ET.fromstring(text)
    for element in root.iter():
        assert element.tag != XHTML + "script", "a script"
        for name, value in element.attrib.items():
            assert not re.search(r"^(src|href|xlink|on)", name.split("}")[-1]), f"{name}={value}"
            assert "url(" not in value
    assert not re.search(r"@import|url\(|https?://(?!www\.w3\.org/1999/xhtml)", text), "something from outside"
    for svg in root.iter(XHTML + "svg"):
        if svg.get("role") == "img":
            assert svg.find(XHTML + "title").text and svg.find(XHTML + "desc").text, "a figure without words"
    return root


def check_map(element, loads):
    """Cells of the map of layers over experts have the colour of their load: as many levels apart as their logarithms."""
    svg = element.find(XHTML + "svg")
    levels = [p.get("fill") for p in svg.iter(XHTML + "path") if classes(p) == ["scale"]]
    shares = [l * len(row) / sum(row) for row in loads for l in row]
    cells = {}
    for path in svg.iter(XHTML + "path"):
        if classes(path) != ["cells"]:
            continue
        for x, y in re.findall(r"M([\d.]+) ([\d.]+)h", path.get("d")):
            cells[(float(y), float(x))] = levels.index(path.get("fill"))
    drawn = [cells[place] for place in sorted(cells)]
    assert len(drawn) == len(shares), f"{len(drawn)} cells for {len(shares)} experts"
    for level, share in zip(drawn, shares):
        place = min(1.0, max(0.0, (math.log2(share) + 2) / 4)) if share > 0 else 0.0
        assert abs(level - place * (len(levels) - 1)) <= 0.51, f"load {share} has colour {level}"
    return len(drawn)


def main(page, runs):
    with open(page, encoding="utf-8") as file:
        text = file.read()
    root = check_whole(page, text)
    figures = {}
    for element in root.iter(XHTML + "figure"):
        figures.setdefault(element.find(XHTML + "figcaption").text, element)
    points = cells = 0
    for colour, run in enumerate(runs):
        steps = read_steps(run)
        for title, value_of in SERIES.items():
            points += compare(title, Figure(figures[title]), f"c{colour}", value_of, steps)
        last = [steps[s]["layers"] for s in sorted(steps)[-100:]]
        loads = [[sum(l) for l in zip(*(layers[i]["load"] for layers in last))] for i in range(len(last[0]))]
        name = run.rstrip("/").split("/")[-1]
        title = next(t for t in figures if t.startswith(f"{name}: load of experts, steps"))
        cells += check_map(figures[title], loads)
    print(f"{page}: {len(figures)} figures; {points} points and {cells} cells are as metrics.jsonl has them")


if sys.argv[1:] in (["-h"], ["--help"]):
    print(__doc__)
    sys.exit()
if len(sys.argv) < 2:
    sys.exit(__doc__)
main(sys.argv[1], sys.argv[2:])
