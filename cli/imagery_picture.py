"""A picture of what a model imagined: heat maps of its latent blocks over the frames it was shown."""

import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ..modeling.atomic import atomic_path
from ..modeling.errors import InputError

if TYPE_CHECKING:
    import torch
    from PIL import Image

FORMATS = (".png", ".pdf", ".svg")
_MOST_FRAMES = 6
# Inches.
_PANEL, _GAP, _MARGIN, _HEADER, _TITLE, _BAR_ROOM, _LEAST_WIDTH = 1.45, 0.08, 0.72, 0.66, 0.32, 0.75, 7.0
_LETTERS_AN_INCH = 15  # of 9 point
_WORDS_BEFORE, _WORDS_AFTER = 90, 60  # characters of the text around a block
_LEGEND = "How like each latent is to what is seen there; the {} strongest of {} times, the strongest first"


def check_picture_path(path: Path) -> None:
    """Refuse a place that no picture can be written to, before a model is loaded for it."""
    if path.suffix.lower() not in FORMATS:
        raise InputError(f"{path} is no picture file: name one that ends in {', '.join(FORMATS)}")
    if path.is_dir():
        raise InputError(f"{path} is a folder: name a picture file in it")


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
        latent_counts (`Sequence[int]`): Latents of each block.
        frames (`Sequence[PIL.Image.Image]`): The frames that were shown, of which a temporal grid spans several.
        timestamps (`Sequence[float]`): Their seconds.
        places (`Sequence[str]`): For each block the words around it.
    """
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import Normalize
    from matplotlib.figure import Figure

    columns = min(_MOST_FRAMES, maps.shape[1])
    panel = (_PANEL, _PANEL * frames[0].height / frames[0].width)
    heights = [_HEADER + count * (panel[1] + _GAP) for count in latent_counts]
    width = max(_LEAST_WIDTH, _MARGIN + columns * (panel[0] + _GAP) + _BAR_ROOM)
    sheet = _Sheet(Figure(dpi=150), width, _TITLE + sum(heights))
    sheet.text(_GAP, 0.08, _LEGEND.format(columns, maps.shape[1]), fontsize=8, color="0.35")
    colours = ScalarMappable(Normalize(float(maps.min()), float(maps.max())), "inferno")
    top = _TITLE
    for block, height, place in zip(maps.split(list(latent_counts)), heights, places, strict=True):
        strongest = block.flatten(2).mean((0, 2)).argsort(descending=True, stable=True)[:columns].tolist()
        _draw_block(sheet, top, panel, block, strongest, place, frames, timestamps, colours)
        top += height
    bar = sheet.axes(width - _BAR_ROOM + 0.15, _TITLE + _HEADER, 0.12, min(2.0, sum(heights) - _HEADER - _GAP))
    sheet.figure.colorbar(colours, cax=bar).ax.tick_params(labelsize=7)
    bar.set_title("cosine", fontsize=7, loc="left")
    with atomic_path(path) as temporary:
        sheet.figure.savefig(temporary, format=path.suffix.lower().removeprefix("."))


def words_around(text: str, start: int, end: int) -> str:
    """The words on both sides of a place in a text, on one line."""
    # Shortened from its far end, so reversed for the time being.
    before = textwrap.shorten(text[:start][::-1], _WORDS_BEFORE, placeholder=" …")[::-1]
    return f"{before} {text[start:end]} {textwrap.shorten(text[end:], _WORDS_AFTER, placeholder=' …')}".strip()


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


def _draw_block(sheet, top, panel, block, strongest, place, frames, timestamps, colours) -> None:
    """One latent block: its words, then a row for each latent and a column for each of its strongest grids."""
    sheet.text(_GAP, top + 0.04, "\n".join(textwrap.wrap(place, int(sheet.width * _LETTERS_AN_INCH))[:2]), fontsize=9)
    frames_a_grid = -(-len(frames) // block.shape[1])
    for column, grid in enumerate(strongest):
        first = grid * frames_a_grid
        last = min(first + frames_a_grid, len(frames)) - 1
        picture = frames[first].convert("L")
        left = _MARGIN + column * (panel[0] + _GAP)
        sheet.text(left, top + _HEADER - 0.18, _seconds(timestamps[first], timestamps[last]), fontsize=8)
        for latent, heat in enumerate(block[:, grid]):
            down = top + _HEADER + latent * (panel[1] + _GAP)
            axes = sheet.axes(left, down, *panel)
            axes.set_axis_off()
            edges = (0, picture.width, picture.height, 0)
            axes.imshow(picture, cmap="gray", vmin=-64, vmax=320, extent=edges)
            axes.imshow(heat, cmap=colours.cmap, norm=colours.norm, alpha=0.6, extent=edges, interpolation="nearest")
            if column == 0:
                sheet.text(_GAP, down + panel[1] / 2 - 0.06, f"latent {latent + 1}", fontsize=8)


def _seconds(first: float, last: float) -> str:
    return f"{first:.1f} s" if first == last else f"{first:.1f}–{last:.1f} s"
