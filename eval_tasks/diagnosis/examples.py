"""Examples for the page of a diagnosis: the frames of a video with the patches that latents resemble most."""

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ...modeling.tokens import note_latent_blocks

if TYPE_CHECKING:
    from ...modeling.clip import Clip
    from .encoding import Batch
    from .own_latents import OwnLatents

MOST_EXAMPLES, _MOST_LATENTS, _SIDE = 4, 8, 240
_OUTLINE = "#ff7a00"


@dataclass(frozen=True)
class Example:
    """One answer with pictures.

    Attributes:
        id (`str`): Of the row.
        question (`str`): What was asked.
        response (`str`): What the model said, with notes in the place of latent blocks.
        pictures (`list[tuple[str, str]]`): For each latent its caption and its frame, a JPEG as `data:` address.
    """

    id: str
    question: str
    response: str
    pictures: list[tuple[str, str]]


def collect_examples(
    batch: "Batch", known: "Sequence[OwnLatents]", responses: Sequence[str], most: int
) -> list[Example]:
    """At most that many examples from a batch: answers with latents about a video."""
    found = []
    for row, clip, latents, response in zip(batch.rows, batch.clips, known, responses, strict=True):
        if len(found) >= most:
            break
        if clip is None or latents.patches is None or not latents.patches.places:
            continue
        pictures = [_picture(clip, number, latents) for number in range(min(_MOST_LATENTS, len(latents.vectors)))]
        found.append(Example(str(row["id"]), row["question"], note_latent_blocks(response)[0], pictures))
    return found


def _picture(clip: "Clip", number: int, latents: "OwnLatents") -> tuple[str, str]:
    """Caption and frame of a latent: where the token lies that it resembles most."""
    from PIL import ImageDraw

    time, *box = latents.patches.places[number]
    place = min(int(time * len(clip.frames)), len(clip.frames) - 1)
    frame = clip.frames[place].convert("RGB")
    scale = _SIDE / max(frame.size)
    frame = frame.resize((max(1, round(frame.width * scale)), max(1, round(frame.height * scale))))
    width, height = frame.size
    edges = (box[0] * width, box[1] * height, box[2] * width - 1, box[3] * height - 1)
    ImageDraw.Draw(frame).rectangle(edges, outline=_OUTLINE, width=3)
    caption = f"latent {number + 1}: {clip.timestamps[place]:.1f} s, cosine {latents.patches.cosine[number]:.2f}"
    return caption, _to_address(frame)


def _to_address(image: Any) -> str:
    buffer = io.BytesIO()
    image.save(buffer, format="JPEG", quality=85)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode()
