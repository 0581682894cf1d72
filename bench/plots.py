# SPDX-License-Identifier: Apache-2.0
"""Bar charts as SVG, with nothing but text: measured beside target, and the kernel's cost."""

from xml.sax.saxutils import escape

BAR, GAP, LEFT, WIDTH, RIGHT = 18, 8, 380, 420, 130
MEASURED, MISSED, MARK = "#4878a8", "#b8562e", "#222222"


def bars(title, unit, items):
    """`items`: (label, value, target or None). A value over its target has another colour where
    less is better; the target is a line across its bar."""
    top = max([value for _, value, _ in items] + [target or 0 for *_, target in items]) or 1
    height = 44 + len(items) * (BAR + GAP) + 10
    parts = [f'<svg xmlns="http://www.w3.org/2000/svg" width="{LEFT + WIDTH + RIGHT}" '
             f'height="{height}" font-family="sans-serif" font-size="12">',
             "<!-- SPDX-License-Identifier: Apache-2.0 -->",
             '<rect width="100%" height="100%" fill="white"/>',
             f'<text x="10" y="20" font-size="14">{escape(title)} ({escape(unit)})</text>']
    for place, (label, value, target) in enumerate(items):
        y = 36 + place * (BAR + GAP)
        length = WIDTH * value / top
        colour = MISSED if target is not None and value > target else MEASURED
        parts.append(f'<text x="{LEFT - 8}" y="{y + 13}" text-anchor="end">{escape(label)}</text>')
        parts.append(f'<rect x="{LEFT}" y="{y}" width="{length:.1f}" height="{BAR}" '
                     f'fill="{colour}"/>')
        text = f"{value:,.2f}".rstrip("0").rstrip(".")
        if target is not None:
            x = LEFT + WIDTH * target / top
            parts.append(f'<line x1="{x:.1f}" x2="{x:.1f}" y1="{y - 2}" y2="{y + BAR + 2}" '
                         f'stroke="{MARK}" stroke-width="2"/>')
            text += f" (target {target:g})"
        parts.append(f'<text x="{LEFT + WIDTH + 8}" y="{y + 13}">{text}</text>')
    return "\n".join([*parts, "</svg>", ""])


def label_of(row):
    return row["name"] if row["flows"] is None else f"{row['name']}, {row['flows']:,} flows"


def draw(rows, kernel):
    """Drawings by name; none where there is nothing to draw."""
    in_cycles = [row for row in rows if "unit" not in row and row["measured_ratio"] is not None]
    in_cycles.sort(key=lambda row: (row["name"], row["flows"]))
    made = {}
    if in_cycles:
        made["ratios"] = bars("cycles a packet, as a multiple of the floor", "less is better", [
            (label_of(row), row["measured_ratio"], row["target_ratio"]) for row in in_cycles])
    if kernel:
        made["kernel"] = bars("Linux, the router's part of a packet", "ns of CPU", [
            (f"{row['name']}, {row['services']:,} services", row["ns_median"], None)
            for row in kernel["rows"]])
    return made
