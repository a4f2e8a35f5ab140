#pragma once

#include <string_view>

namespace sy::runtime {

/// The style of every page: colours for light and dark, figures that stand side by side where there is room, tables that
/// scroll in a box of their own. Free of characters that XML would have escaped.
inline constexpr std::string_view kPageStyle = R"(
:root { color-scheme: light dark; --page: #fff; --text: #1b1f24; --dim: #59636e; --rule: #d0d7de; --box: #f6f8fa;
  --c0: #0072b2; --c1: #d04f00; --c2: #00805a; --c3: #a0459a; --c4: #8a6d00; --c5: #4b7fd1; --c6: #5c6470; --c7: #b3123b; }
@media (prefers-color-scheme: dark) { :root { --page: #0d1117; --text: #e6edf3; --dim: #9aa4af; --rule: #30363d;
  --box: #161b22; --c0: #58a6ff; --c1: #ff9248; --c2: #3fc28a; --c3: #d693d0; --c4: #d8b93a; --c5: #8fc7ff;
  --c6: #aab3bd; --c7: #ff7b8f; } }
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 16px; max-width: 1280px; background: var(--page); color: var(--text);
  font: 15px/1.5 system-ui, "Segoe UI", "Liberation Sans", sans-serif; overflow-wrap: anywhere; }
h1 { font-size: 24px; margin: 0 0 8px; } h2 { font-size: 19px; margin: 12px 0 0; }
p { margin: 0; max-width: 80ch; }
section, .fold { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 440px), 1fr)); gap: 16px 28px;
  margin-bottom: 24px; }
section h2, section p, section details, section .scroll, .fold p, .fold .scroll { grid-column: 1 / -1; }
section figure p { grid-column: auto; }
details summary { cursor: pointer; padding: 4px 0; }
.scroll { overflow-x: auto; max-width: 100%; }
table { border-collapse: collapse; font-size: 14px; overflow-wrap: normal; font-variant-numeric: tabular-nums; }
caption { text-align: left; padding: 4px 8px; color: var(--dim); }
th, td { padding: 3px 10px; border-bottom: 1px solid var(--rule); text-align: left; vertical-align: top; max-width: 60ch; }
th { white-space: nowrap; } td.number, th.number { text-align: right; white-space: nowrap; }
figure { margin: 0; min-width: 0; max-width: 640px; }
figcaption { font-weight: 600; }
.note { font-size: 13px; color: var(--dim); }
.legend { list-style: none; margin: 2px 0; padding: 0; display: flex; flex-wrap: wrap; gap: 0 16px; font-size: 13px; }
.key { width: 24px; height: 10px; overflow: visible; }
figure > svg { display: block; width: 100%; height: auto; }
svg text { font-size: 12px; fill: var(--text); }
@media (min-width: 700px) { svg text { font-size: 10px; } }
svg text.label { fill: var(--dim); } svg text.x { text-anchor: middle; } svg text.y { text-anchor: end; }
svg text.x.label { text-anchor: end; }
.axis, .tick { stroke: var(--dim); stroke-width: 1; fill: none; } .grid { stroke: var(--rule); stroke-width: 0.6; fill: none; }
.line { fill: none; stroke-width: 1.4; stroke-linejoin: round; } .predicted { stroke-dasharray: 5 3; }
.dotted { stroke-dasharray: 1.5 2; } .interval { fill: none; stroke-width: 1.1; stroke-dasharray: none; }
.cells, .scale { shape-rendering: crispEdges; }
.line.faint, .dot.faint { opacity: 0.35; } .line.faint { stroke-width: 0.9; }
.band { stroke: none; opacity: 0.22; } .dot { stroke: none; }
.area { stroke-width: 9; stroke-dasharray: none; } rect.dotted { opacity: 0.55; }
.event { fill: none; stroke-width: 2; stroke-dasharray: none; } .missing { fill: none; stroke: var(--rule); stroke-width: 0.6; }
.line.c0, .interval.c0, .area.c0, .event.c0 { stroke: var(--c0); } .band.c0, .dot.c0, rect.c0 { fill: var(--c0); }
.line.c1, .interval.c1, .area.c1, .event.c1 { stroke: var(--c1); } .band.c1, .dot.c1, rect.c1 { fill: var(--c1); }
.line.c2, .interval.c2, .area.c2, .event.c2 { stroke: var(--c2); } .band.c2, .dot.c2, rect.c2 { fill: var(--c2); }
.line.c3, .interval.c3, .area.c3, .event.c3 { stroke: var(--c3); } .band.c3, .dot.c3, rect.c3 { fill: var(--c3); }
.line.c4, .interval.c4, .area.c4, .event.c4 { stroke: var(--c4); } .band.c4, .dot.c4, rect.c4 { fill: var(--c4); }
.line.c5, .interval.c5, .area.c5, .event.c5 { stroke: var(--c5); } .band.c5, .dot.c5, rect.c5 { fill: var(--c5); }
.line.c6, .interval.c6, .area.c6, .event.c6 { stroke: var(--c6); } .band.c6, .dot.c6, rect.c6 { fill: var(--c6); }
.line.c7, .interval.c7, .area.c7, .event.c7 { stroke: var(--c7); } .band.c7, .dot.c7, rect.c7 { fill: var(--c7); }
@media print { details { display: block; } figure { break-inside: avoid; } }
)";

}  // namespace sy::runtime
