"""Where in the prompt's images and videos each latent points."""

import base64
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from PIL import Image
from torch.nn.functional import normalize

from .prompt import Prompt

Kind = Literal["image", "video"]
_GRIDS: tuple[tuple[Kind, str], ...] = (("video", "video_grid_thw"), ("image", "image_grid_thw"))
_SIDE = 320  # pixels of a drawn map at most


@dataclass(frozen=True)
class LatentMap:
    """One latent over the image, or the frames of a video, in which it is most similar to what is seen.

    Attributes:
        latent (`int`): Which of its block, from 1.
        medium (`int`): Which image or video of the request, from 1, each kind counted by itself.
        kind (`str`): `"image"` or `"video"`.
        start, end (`float`, *optional*): Seconds of the first and last frame that a temporal grid spans; of videos.
        cosine (`float`): The highest similarity, from -1 to 1.
        cells (`np.ndarray` of shape `(rows, columns)`): Similarities there.
        frame (`Image`): What is seen there.
    """

    latent: int
    medium: int
    kind: Kind
    start: float | None
    end: float | None
    cosine: float
    cells: np.ndarray
    frame: Image.Image

    def draw(self, side: int = _SIDE) -> Image.Image:
        """The frame in grey under the heat map, no side longer than `side` pixels."""
        from matplotlib import colormaps

        frame = self.frame.convert("L").convert("RGB")
        frame.thumbnail((side, side))
        share = (self.cells - self.cells.min()) / max(float(np.ptp(self.cells)), 1e-6)
        heat = Image.fromarray((colormaps["inferno"](share)[..., :3] * 255).astype(np.uint8))
        opacity = Image.fromarray(((0.25 + 0.5 * share) * 255).astype(np.uint8))
        frame.paste(heat.resize(frame.size, Image.Resampling.NEAREST), (0, 0), opacity.resize(frame.size))
        return frame

    def data_uri(self, side: int = _SIDE) -> str:
        """The drawn map as a PNG in a data URI."""
        file = io.BytesIO()
        self.draw(side).save(file, "PNG")
        return "data:image/png;base64," + base64.b64encode(file.getvalue()).decode("ascii")


class HeatMaps:
    """Maps of the latents of one answer.

    Args:
        prompt ([`Prompt`]): What was shown.
        features (`dict`): `"video"` and `"image"`: for each medium its visual tokens `(tokens, hidden)`.
        merge (`int`): Patches a side that became one token.
    """

    def __init__(self, prompt: Prompt, features: Mapping[str, Sequence[torch.Tensor]], merge: int):
        self._media: list[tuple[Kind, int, tuple[int, int, int], torch.Tensor, Any]] = []
        for kind, name in _GRIDS:
            grids = prompt.inputs.get(name)
            shown = prompt.clips if kind == "video" else prompt.images
            for number, tokens in enumerate(features.get(kind, ()), start=1):
                time, height, width = grids[number - 1].tolist()
                grid = (time, height // merge, width // merge)
                self._media.append((kind, number, grid, normalize(tokens.float(), dim=-1), shown[number - 1]))

    def of_block(self, latents: Sequence[torch.Tensor]) -> list[LatentMap]:
        """A map for each latent of a block, `(hidden,)` each, where it is most similar to what is seen."""
        return [self._strongest(number, latent) for number, latent in enumerate(latents, start=1) if self._media]

    def _strongest(self, number: int, latent: torch.Tensor) -> LatentMap:
        direction = normalize(latent.float(), dim=-1)
        found = [(tokens @ direction).cpu().numpy().reshape(grid) for _, _, grid, tokens, _ in self._media]
        best = max(range(len(found)), key=lambda place: found[place].max())
        kind, medium, grid, _, shown = self._media[best]
        time = int(found[best].reshape(grid[0], -1).max(1).argmax())
        cells = found[best][time]
        start = end = None
        frame = shown
        if kind == "video":
            a_grid = -(-len(shown.frames) // grid[0])
            first = min(time * a_grid, len(shown.frames) - 1)
            last = min(first + a_grid, len(shown.frames)) - 1
            start, end, frame = shown.timestamps[first], shown.timestamps[last], shown.frames[first]
        return LatentMap(number, medium, kind, start, end, float(cells.max()), cells, frame)
