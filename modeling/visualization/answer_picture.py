"""Draw a model's answer about a clip: frames, heat maps of its latent blocks, the reasoning and the answer."""

import textwrap
from pathlib import Path
from typing import TYPE_CHECKING

from ..atomic import atomic_path

if TYPE_CHECKING:
    import torch

    from ..clip import Clip

# Inches and points: at 400 pixels, the width of a phone, the smallest text is still 10 pixels high.
_WIDTH, _PANEL, _GAP, _TITLE, _LINE = 6.0, 1.4, 0.08, 0.23, 0.23
_BLOCK = _PANEL + 2 * _TITLE + 0.14
_SMALL, _LARGE, _LETTERS, _LARGE_LETTERS = 11, 13, 60, 56


def draw_answer(path: Path, question: str, clip: "Clip", response: dict, maps: "torch.Tensor") -> None:
    """Draw a row of frames, a row of heat maps for each latent block, and the text above and below, as a JPEG.

    Each latent is drawn over the time where its strongest cell is. A temporal grid spans several frames, of which
    the first is shown. At most four panels stand in a row, times evenly spread.

    Args:
        path (`Path`): The file to write.
        question (`str`): What was asked.
        clip ([`Clip`]): The frames that were shown, with their times.
        response (`dict`): As `read_response` gives it.
        maps (`torch.Tensor` of shape `(latents, temporal grids, rows, columns)`): As `imagery_maps` gives them.
    """
    from matplotlib.figure import Figure

    counts = [block["latents"] for block in response["blocks"]]
    step = -(-len(clip.frames) // maps.shape[1])
    columns = max(1, int((_WIDTH - _GAP) // (_PANEL + _GAP)))
    rows = sum(-(-count // columns) for count in counts)
    words = [line for part in response["reasoning"].splitlines() for line in textwrap.wrap(part, _LETTERS)]
    asked = textwrap.wrap(question, _LARGE_LETTERS)
    height = (len(words) + 1 + len(asked)) * _LINE + (1 + rows) * _BLOCK + 0.35
    figure = Figure(figsize=(_WIDTH, height), dpi=150, facecolor="white")

    def write(top: float, text: str, left: float = _GAP, size: int = _SMALL, **style) -> None:
        figure.text(left / _WIDTH, 1 - top / height, text, size=size, va="top", parse_math=False, **style)

    def panel(top: float, column: int, title: str, frame, heat=None) -> None:
        left = _GAP + column * (_PANEL + _GAP)
        write(top, title, left)
        bottom = height - top - _TITLE - _PANEL
        axes = figure.add_axes((left / _WIDTH, bottom / height, _PANEL / _WIDTH, _PANEL / height))
        axes.set_axis_off()
        edges = (0, frame.width, frame.height, 0)
        axes.imshow(frame if heat is None else frame.convert("L"), cmap="gray", vmin=0, vmax=300, extent=edges)
        if heat is not None:
            axes.imshow(heat, cmap="inferno", vmin=0, vmax=1, alpha=0.25 + 0.5 * heat, extent=edges)

    write(0.08, "\n".join(asked), size=_LARGE)
    top = 0.12 + len(asked) * _LINE
    write(top, "The clip")
    times = min(columns, maps.shape[1])
    for column in range(times):
        first = step * (column * (maps.shape[1] - 1) // max(times - 1, 1))
        panel(top + _TITLE, column, f"{clip.timestamps[first]:.1f} s", clip.frames[first])
    top += _BLOCK
    for number, block in enumerate(maps.split(counts), start=1):
        for start in range(0, len(block), columns):
            if not start:
                write(top, f"Imagery {number}: where its latents point")
            for column, latent in enumerate(block[start : start + columns]):
                heat = (latent - latent.min()) / (latent.max() - latent.min()).clamp(min=1e-6)
                grid = int(heat.flatten(1).amax(1).argmax())
                title = f"{start + column + 1}: {clip.timestamps[grid * step]:.1f} s"
                panel(top + _TITLE, column, title, clip.frames[grid * step], heat[grid])
            top += _BLOCK
    write(top + 0.05, "\n".join(words))
    answer = response["answer"] or "none"
    write(top + 0.15 + len(words) * _LINE * 0.85, f"Answer: {answer}", size=_LARGE, weight="bold")
    with atomic_path(path) as temporary:
        figure.savefig(temporary, format="jpeg", pil_kwargs={"quality": 88, "optimize": True})
