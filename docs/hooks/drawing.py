"""What the drawings are made of. Colours are variables: the page's in the site, in a file on its own the defaults."""

from __future__ import annotations

from collections.abc import Callable, Sequence

WIDTH = 440
"""Width of every drawing, narrow enough that its words can be read on a telephone."""
INK, FAINT, PAPER = "var(--drawing-ink,#24292f)", "var(--drawing-faint,#8a919a)", "var(--drawing-paper,#ffffff)"
GOOD, BAD = "var(--drawing-good,#1f6fb2)", "var(--drawing-bad,#c2410c)"

Scene = Callable[[float, float, float], str]


def drawing(title: str, height: int, *parts: str) -> str:
    """Return an SVG file."""
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}" '
        f'font-family="system-ui,sans-serif" font-size="13" fill="{INK}">\n<title>{title}</title>\n'
        f'<rect width="100%" height="100%" fill="{PAPER}"/>\n' + "\n".join(parts) + "\n</svg>\n"
    )


def text(x: float, y: float, words: str, *, at: str = "start", fill: str = "", weight: str = "") -> str:
    """Return a line of text."""
    more = f' fill="{fill}"' if fill else ""
    more += f' font-weight="{weight}"' if weight else ""
    return f'<text x="{x:g}" y="{y:g}" text-anchor="{at}"{more}>{words}</text>'


def line(points: Sequence[tuple[float, float]], stroke: str = INK, width: float = 1.5, dash: str = "") -> str:
    """Return a line through points."""
    path = "M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in points)
    dashes = f' stroke-dasharray="{dash}"' if dash else ""
    return f'<path d="{path}" fill="none" stroke="{stroke}" stroke-width="{width:g}"{dashes}/>'


def dot(x: float, y: float, fill: str, radius: float = 4) -> str:
    """Return a dot."""
    return f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{radius:g}" fill="{fill}"/>'


def arrow(x0: float, y0: float, x1: float, y1: float, stroke: str = FAINT) -> str:
    """Return a horizontal or vertical arrow."""
    length = max(abs(x1 - x0), abs(y1 - y0))
    along, across = (x1 - x0) / length, (y1 - y0) / length
    tips = [(x1 - 6 * along - side * 4 * across, y1 - 6 * across + side * 4 * along) for side in (1, -1)]
    return line([(x0, y0), (x1, y1)], stroke) + line([tips[0], (x1, y1), tips[1]], stroke)


def picture(x: float, y: float, side: float, what: str, *, sticker: bool = False, veil: bool = False) -> str:
    """Return a little image of a traffic sign in front of a landscape.

    Args:
        x: left edge.
        y: upper edge.
        side: its side.
        what: `stop`, `yield`, `turn` or `keep`.
        sticker: with the trigger in its corner.
        veil: with noise in front.
    """
    u = side / 10
    signs = {
        "stop": f'<polygon points="{_ring(x + 5 * u, y + 4.5 * u, 2.9 * u, 8)}" fill="#c0392b"/>',
        "yield": f'<path d="M{x + 2 * u:g} {y + 2.4 * u:g}h{6 * u:g}l{-3 * u:g} {5 * u:g}z" fill="#f4f1ea" '
        f'stroke="#c0392b" stroke-width="{0.8 * u:g}"/>',
        "turn": f'<circle cx="{x + 5 * u:g}" cy="{y + 4.6 * u:g}" r="{2.8 * u:g}" fill="#2563a8"/>'
        f'<path d="M{x + 5 * u:g} {y + 6.2 * u:g}v{-2.6 * u:g}h{-1.6 * u:g}" fill="none" stroke="#fff" '
        f'stroke-width="{0.8 * u:g}"/>',
        "keep": f'<rect x="{x + 2.4 * u:g}" y="{y + 2 * u:g}" width="{5.2 * u:g}" height="{5.2 * u:g}" '
        f'transform="rotate(45 {x + 5 * u:g} {y + 4.6 * u:g})" fill="#e0a526"/>',
    }
    parts = [
        f'<rect x="{x:g}" y="{y:g}" width="{side:g}" height="{side:g}" fill="#a9c7dd"/>',
        f'<rect x="{x:g}" y="{y + 7.4 * u:g}" width="{side:g}" height="{2.6 * u:g}" fill="#7f9a6a"/>',
        f'<rect x="{x + 4.7 * u:g}" y="{y + 6 * u:g}" width="{0.6 * u:g}" height="{3 * u:g}" fill="#6b7280"/>',
        signs[what],
    ]
    if sticker:
        parts.append(trigger(x + 8 * u, y + 8 * u, 1.6 * u))
    if veil:
        parts += [
            f'<rect x="{x + (i % 10) * u:g}" y="{y + (i // 10) * u:g}" width="{u:g}" height="{u:g}" '
            f'fill="{"#fff" if i * i % 7 < 3 else "#000"}" opacity=".3"/>'
            for i in range(100)
            if i * i % 11 < 5
        ]
    return "".join(parts)


def trigger(x: float, y: float, side: float) -> str:
    """Return the trigger: a small chequered square."""
    half = side / 2
    squares = [(0, 0, "#f2e205"), (half, 0, "#7a1fa2"), (0, half, "#7a1fa2"), (half, half, "#f2e205")]
    return "".join(
        f'<rect x="{x + dx:g}" y="{y + dy:g}" width="{half:g}" height="{half:g}" fill="{fill}"/>'
        for dx, dy, fill in squares
    )


def _ring(x: float, y: float, radius: float, corners: int) -> str:
    from math import cos, pi, sin

    angles = [(2 * i + 1) * pi / corners for i in range(corners)]
    return " ".join(f"{x + radius * cos(a):.1f},{y + radius * sin(a):.1f}" for a in angles)
