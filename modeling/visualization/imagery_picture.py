"""Draw what a model imagined: heat maps of its latent blocks over the frames it was shown."""

import re
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ..atomic import atomic_path, check_writable
from ..errors import InputError

if TYPE_CHECKING:
    import torch
    from PIL import Image

FORMATS = (".png", ".pdf", ".svg")
_MOST_FRAMES = 6
# Inches.
_PANEL, _GAP, _MARGIN, _HEADER, _TITLE, _BAR_ROOM, _LEAST_WIDTH = 1.45, 0.08, 0.95, 1.0, 0.3, 0.95, 7.0
_COLOURS = "inferno"
_TAG = re.compile(r"</?(?:think|answer)>")
_LETTERS_AN_INCH = 15  # of 9 point
_WORDS_BEFORE, _WORDS_AFTER = 90, 60  # characters of the text around a block
_LEGEND = (
    "Cosine of each latent with what is seen there, coloured over the latent's own range; {}, the strongest first"
)


def check_picture_path(path: Path) -> None:
    """Check that an image can be written to `path`, before a model is loaded for it."""
    if path.suffix.lower() not in FORMATS:
        raise InputError(f"{path} is no image file: name one that ends in {', '.join(FORMATS)}")
    if path.is_dir():
        raise InputError(f"{path} is a folder: name an image file in it")
    check_writable(path)


def draw_imagery(
    path: Path,
    maps: "torch.Tensor",
    latent_counts: Sequence[int],
    frames: "Sequence[Image.Image]",
    timestamps: Sequence[float],
    places: Sequence[str],
) -> None:
    """Draw one panel for each latent and frame, a block under the other, its strongest frame first.

    Args:
        path (`Path`): The file to write; its suffix is the format.
        maps (`torch.Tensor` of shape `(latents, temporal grids, rows, columns)`): As `imagery_maps` gives them.
        latent_counts (`Sequence[int]`): Latents of each block; one that was cut off before its first is left out.
        frames (`Sequence[PIL.Image.Image]`): The frames that were shown, of which a temporal grid spans several.
        timestamps (`Sequence[float]`): Their seconds.
        places (`Sequence[str]`): For each block the words around it.
    """
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import Normalize
    from matplotlib.figure import Figure

    columns = min(_MOST_FRAMES, maps.shape[1])
    panel = (_PANEL, _PANEL * frames[0].height / frames[0].width)
    heights = [_HEADER + count * (panel[1] + _GAP) if count else 0.0 for count in latent_counts]
    width = max(_LEAST_WIDTH, _MARGIN + columns * (panel[0] + _GAP) + _BAR_ROOM)
    sheet = _Sheet(Figure(dpi=150), width, _TITLE + sum(heights))
    times = f"{columns} of {maps.shape[1]} times" if columns < maps.shape[1] else "all times"
    sheet.text(_GAP, 0.08, _LEGEND.format(times), fontsize=8, color="0.35")
    top = _TITLE
    blocks = zip(maps.split(list(latent_counts)), heights, places, strict=True)
    for number, (block, height, place) in enumerate(blocks, start=1):
        if not len(block):
            continue
        # By its hottest cells, latent by latent: a mean over whole frames would speak of the background.
        strongest = block.flatten(2).amax(2).mean(0).argsort(descending=True, stable=True)[:columns].tolist()
        sheet.text(_GAP, top + 0.16, f"Imagery {number}", fontsize=11, weight="bold")
        words = textwrap.wrap(place, int(sheet.width * _LETTERS_AN_INCH))
        sheet.text(_GAP, top + 0.38, "\n".join(words[:2]), fontsize=9)
        _draw_block(sheet, top + _HEADER, panel, block, strongest, frames, timestamps)
        top += height
    bar = sheet.axes(width - _BAR_ROOM + 0.15, _TITLE + _HEADER, 0.12, panel[1])
    ticks = sheet.figure.colorbar(ScalarMappable(Normalize(), _COLOURS), cax=bar, ticks=(0, 1)).ax
    ticks.set_yticklabels(("least", "most"), fontsize=8)
    with atomic_path(path) as temporary:
        sheet.figure.savefig(temporary, format=path.suffix.lower().removeprefix("."))


def find_words_around(text: str, start: int, end: int) -> str:
    """Find the words on both sides of a place in a text, on one line."""
    before, after = (_TAG.sub(" ", part) for part in (text[:start], text[end:]))
    # Shortened from its far end, so reversed for the time being.
    gaps = [" " if side.isspace() else "" for side in (before[-1:], after[:1])]  # none before a full stop
    before = textwrap.shorten(before[::-1], _WORDS_BEFORE, placeholder=" …")[::-1]
    after = textwrap.shorten(after, _WORDS_AFTER, placeholder=" …")
    return f"{before}{gaps[0]}{text[start:end]}{gaps[1]}{after}".strip()


class _Sheet:
    """A figure whose parts are placed in inches from its upper left corner, so that nothing can overlap."""

    def __init__(self, figure, width: float, height: float):
        self.figure, self.width, self.height = figure, width, height
        figure.set_size_inches(width, height)

    def axes(self, left: float, top: float, width: float, height: float):
        down = self.height - top - height
        return self.figure.add_axes((left / self.width, down / self.height, width / self.width, height / self.height))

    def text(self, left: float, top: float, words: str, **style) -> None:
        self.figure.text(left / self.width, 1 - top / self.height, words, va="top", parse_math=False, **style)


def _draw_block(sheet, top, panel, block, strongest, frames, timestamps) -> None:
    """The panels of a block: a row for each latent, a column for each of its strongest temporal grids."""
    frames_a_grid = -(-len(frames) // block.shape[1])
    lowest, highest = block.flatten(1).min(1).values.tolist(), block.flatten(1).max(1).values.tolist()
    for latent, (low, high) in enumerate(zip(lowest, highest, strict=True)):
        down = top + latent * (panel[1] + _GAP) + panel[1] / 2 - 0.14
        sheet.text(_GAP, down, f"latent {latent + 1}\n{low:.2f} to {high:.2f}", fontsize=8)
    for column, grid in enumerate(strongest):
        first = grid * frames_a_grid
        last = min(first + frames_a_grid, len(frames)) - 1
        frame = frames[first].convert("L")
        left = _MARGIN + column * (panel[0] + _GAP)
        edges = (0, frame.width, frame.height, 0)
        sheet.text(left, top - 0.18, _seconds(timestamps[first], timestamps[last]), fontsize=8)
        for latent, heat in enumerate(block[:, grid]):
            axes = sheet.axes(left, top + latent * (panel[1] + _GAP), *panel)
            axes.set_axis_off()
            axes.imshow(frame, cmap="gray", vmin=0, vmax=300, extent=edges)
            share = (heat - lowest[latent]) / max(highest[latent] - lowest[latent], 1e-6)
            # Faint where there is little to see, so that the frame shows what the heat is on.
            opacity = 0.25 + 0.5 * share
            axes.imshow(share, cmap=_COLOURS, vmin=0, vmax=1, alpha=opacity, extent=edges, interpolation="nearest")


def _seconds(first: float, last: float) -> str:
    return f"{first:.1f} s" if first == last else f"{first:.1f}–{last:.1f} s"
