"""Write the drawing of the method, `docs/pictures/method.svg`.

python docs/draw_method.py

It is as wide as a phone, so that it needs no zoom there, and brings its own background, light or dark as the reader's
system is, so that it can be read on any page.
"""

import sys
from html import escape
from pathlib import Path

TARGET = Path(__file__).resolve().parent / "pictures" / "method.svg"
WIDTH = 380
STYLE = """
.page{fill:#fff}.text{fill:#1f2328}.quiet{fill:#59636e}.box{fill:#f0f3f6;stroke:#8c959f}
.latent{fill:#ffe1b8;stroke:#b35900}.frozen{fill:#dbe9ff;stroke:#1f5fbf}.good{fill:#d7f3dd;stroke:#1a7f37}
.line{fill:none;stroke:#59636e;stroke-width:1.4}.feed{fill:none;stroke:#b35900;stroke-width:1.8}
.tip{fill:#59636e}.feedtip{fill:#b35900}
@media (prefers-color-scheme:dark){
.page{fill:#161b22}.text{fill:#f0f3f6}.quiet{fill:#aab4be}.box{fill:#2a313a;stroke:#7d8590}
.latent{fill:#5c3a10;stroke:#f0a040}.frozen{fill:#173356;stroke:#79b0ff}.good{fill:#12381f;stroke:#57c772}
.line{stroke:#aab4be}.feed{stroke:#f0a040}.tip{fill:#aab4be}.feedtip{fill:#f0a040}}
text{font-family:system-ui,-apple-system,"Segoe UI",Roboto,"DejaVu Sans",sans-serif;font-size:13px}
.title{font-weight:700;font-size:16px}.small{font-size:12px}
"""


class Drawing:
    """Shapes in pixels from the top left; every method adds one."""

    def __init__(self):
        self.shapes: list[str] = []

    def text(self, x: float, y: float, words: str, kind: str = "text", anchor: str = "start") -> None:
        """Words at a baseline."""
        self.shapes.append(f'<text x="{x}" y="{y}" class="{kind}" text-anchor="{anchor}">{escape(words)}</text>')

    def box(self, x: float, y: float, width: float, words: str, kind: str = "box", height: float = 28) -> None:
        """A rounded box with centred words."""
        self.shapes.append(f'<rect x="{x}" y="{y}" width="{width}" height="{height}" rx="5" class="{kind}"/>')
        self.text(x + width / 2, y + height / 2 + 4.5, words, "text small", "middle")

    def line(self, path: str, kind: str = "line") -> None:
        """A path with an arrow's tip at its end."""
        self.shapes.append(f'<path d="{path}" class="{kind}" marker-end="url(#{kind}-tip)"/>')

    def svg(self, height: int, title: str) -> str:
        """The whole file."""
        tips = "".join(
            f'<marker id="{kind}-tip" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" '
            f'orient="auto"><path d="M0 0L8 4L0 8z" class="{tip}"/></marker>'
            for kind, tip in (("line", "tip"), ("feed", "feedtip"))
        )
        return (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" '
            f'width="{WIDTH}" height="{height}" '
            f'role="img" aria-label="{escape(title)}">\n<style>{STYLE}</style>\n<defs>{tips}</defs>\n'
            f'<rect class="page" width="{WIDTH}" height="{height}" rx="8"/>\n' + "\n".join(self.shapes) + "\n</svg>\n"
        )


def draw_decoding(drawing: Drawing, top: int) -> None:
    """The token row, and each pad's input taken from the state before it."""
    drawing.text(14, top + 24, "Decoding", "text title")
    drawing.text(14, top + 44, "At a pad the input is the last hidden state.", "quiet small")
    drawing.box(14, top + 60, 352, "question and frames, each with its time")
    drawing.line(f"M190 {top + 88}V{top + 104}")
    drawing.box(14, top + 106, 352, "the model (layers)", height=40)
    cells = [
        ("The cat", 62, "box"),
        ("start", 44, "box"),
        *[("pad", 40, "latent")] * 4,
        ("end", 36, "box"),
        ("looks", 50, "box"),
    ]
    x, row = 14.0, top + 196
    centers = []
    for words, width, kind in cells:
        drawing.box(x, row, width - 2, words, kind)
        centers.append(x + width / 2 - 1)
        x += width
    for center in centers:
        drawing.line(f"M{center} {row}V{top + 150}")
    for before, pad in zip(centers[1:5], centers[2:6], strict=True):
        drawing.line(
            f"M{before + 7} {top + 148}C{before + 12} {top + 178} {pad - 8} {top + 168} {pad - 7} {row - 2}", "feed"
        )
    drawing.text(190, row + 48, "orange: state fed back; the rest is text", "quiet small", "middle")


def draw_dift(drawing: Drawing, top: int) -> None:
    """Imagery frame, tower, pooled targets, and the two losses."""
    drawing.text(14, top + 24, "DIFT: supervised", "text title")
    drawing.text(14, top + 44, "States are pulled towards what should be imagined.", "quiet small")
    drawing.box(14, top + 60, 100, "imagery frame", height=44)
    drawing.line(f"M114 {top + 82}H138")
    drawing.box(140, top + 60, 100, "frozen tower", "frozen", height=44)
    drawing.line(f"M240 {top + 82}H264")
    drawing.box(266, top + 60, 100, "pooled to 4", "frozen", height=44)
    for index in range(4):
        x = 210 + 40 * index
        drawing.box(x, top + 146, 34, f"h{index + 1}", "latent")
        drawing.line(f"M{316} {top + 104}C{316} {top + 124} {x + 17} {top + 122} {x + 17} {top + 144}")
    drawing.text(14, top + 164, "states before the pads", "text small")
    drawing.text(14, top + 182, "1 − cos(state, target)", "quiet small")
    drawing.box(14, top + 198, 352, "text: cross entropy", "good")


def draw_4drl(drawing: Drawing, top: int) -> None:
    """Several responses of one question, their rewards, and what the gradient touches."""
    drawing.text(14, top + 24, "4DRL: reinforcement", "text title")
    drawing.text(14, top + 44, "GRPO; latents are replayed as sampled.", "quiet small")
    for index, (reward, kind) in enumerate((("reward 1.2", "good"), ("reward 0.2", "box"), ("reward 1.2", "good"))):
        y = top + 60 + 38 * index
        drawing.box(14, y, 84, "text", "good")
        drawing.box(100, y, 64, "latents", "latent")
        drawing.box(166, y, 84, "text", "good")
        drawing.line(f"M252 {y + 14}H272")
        drawing.box(274, y, 92, reward, kind)
    drawing.text(14, top + 192, "Better than the group's mean: more likely.", "text small")
    drawing.text(14, top + 210, "Gradient: green text only; latents are constants.", "quiet small")


def draw() -> str:
    """The whole drawing."""
    drawing = Drawing()
    draw_decoding(drawing, 0)
    draw_dift(drawing, 262)
    draw_4drl(drawing, 502)
    return drawing.svg(726, "Decoding, supervised training and reinforcement learning of 4DThinker")


if __name__ == "__main__":
    TARGET.write_text(draw(), encoding="utf-8")
    sys.stdout.write(f"{TARGET.name}: {TARGET.stat().st_size / 1000:.0f} kB\n")
