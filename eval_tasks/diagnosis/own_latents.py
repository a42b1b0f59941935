"""What is known of the latents of a model's own answers: vectors, targets, and the patches that they resemble."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ...modeling.tokens import note_latent_blocks
from ..choice import ANSWER_START

if TYPE_CHECKING:
    import torch

    from .encoding import Batch


@dataclass(frozen=True)
class Patches:
    """The visual tokens that the latents of an answer resemble most.

    Attributes:
        cosine (`torch.Tensor` of shape `(latents,)`): To the most similar token of the row's own video.
        other_cosine (`torch.Tensor` of shape `(latents,)`, *optional*): The same with the video of another row.
        norm (`float`): Mean norm of the visual tokens of the video.
        places (`list[tuple[float, float, float, float, float]]`): For each latent, where that token lies: its time
            from 0 to 1, then left, top, right and bottom as shares of the frame.
    """

    cosine: "torch.Tensor"
    other_cosine: "torch.Tensor | None"
    norm: float
    places: list[tuple[float, float, float, float, float]]


@dataclass(frozen=True)
class OwnLatents:
    """The latents of one answer, on the CPU.

    Attributes:
        blocks (`int`): Latent blocks in the answer.
        vectors (`torch.Tensor` of shape `(latents, hidden)`): What was fed, in order.
        targets (`torch.Tensor` of shape `(imagery latents, hidden)`, *optional*): The embeddings of the row's imagery.
        patches ([`Patches`], *optional*): What they resemble in the row's video, if it has one.
        tokens (`list[int]`): Token ids of the response up to the end of its last whole block before the answer.
    """

    blocks: int
    vectors: "torch.Tensor"
    targets: "torch.Tensor | None"
    patches: Patches | None
    tokens: list[int]


def measure_latents(
    model,
    processor,
    batch: "Batch",
    latents: Sequence["torch.Tensor"],
    responses: Sequence[str],
    generated: "torch.LongTensor",
) -> list[OwnLatents]:
    """Measure the latents of a batch of answers.

    Args:
        model: The model.
        processor: Its processor.
        batch ([`Batch`]): The rows.
        latents (`Sequence[torch.Tensor]`): As `generate` returns them, `(latents, hidden)` for each row.
        responses (`Sequence[str]`): The answers, with their latent tokens.
        generated (`torch.LongTensor` of shape `(batch, length)`): Token ids of what the model decoded.
    """
    merge = model.config.vision_config.spatial_merge_size
    measured = []
    for place, (row, own, response) in enumerate(zip(batch.rows, latents, responses, strict=True)):
        patches = _measure_patches(own, batch.videos[place], batch.videos[place - 1], merge)
        blocks = len(note_latent_blocks(response)[1])
        tokens = _tokens_up_to_blocks(model, processor, generated[place].tolist())
        measured.append(OwnLatents(blocks, own.cpu(), _encode_targets(model, processor, row), patches, tokens))
    return measured


def _tokens_up_to_blocks(model, processor, ids: list[int]) -> list[int]:
    closings = [place for place, token in enumerate(ids) if token == model.config.latent_end_token_id]
    for last in reversed(closings):
        if ANSWER_START not in processor.tokenizer.decode(ids[: last + 1]):
            return ids[: last + 1]
    return []


def _measure_patches(own: "torch.Tensor", video, before, merge: int) -> Patches | None:
    """Compare latents with the tokens of their video, and with those of another row's if that shows another video."""
    if video is None:
        return None
    features, (time, height, width) = video
    similarity = _cosines(own, features)
    other = None
    if before is not None and before[0] is not features:
        other = _cosines(own, before[0]).amax(1).cpu()
    shape = (time, height // merge, width // merge)
    return Patches(
        cosine=similarity.amax(1).cpu(),
        other_cosine=other,
        norm=features.float().norm(dim=-1).mean().item(),
        places=[_locate(token, shape) for token in similarity.argmax(1).tolist()],
    )


def _cosines(latents: "torch.Tensor", features: "torch.Tensor") -> "torch.Tensor":
    from torch.nn.functional import normalize

    return normalize(latents.float(), dim=-1) @ normalize(features.float(), dim=-1).T


def _locate(token: int, shape: tuple[int, int, int]) -> tuple[float, float, float, float, float]:
    """Time and box of a visual token of a video with that many grids, rows and columns."""
    times, rows, columns = shape
    time, place = divmod(token, rows * columns)
    row, column = divmod(place, columns)
    return (time + 0.5) / times, column / columns, row / rows, (column + 1) / columns, (row + 1) / rows


def _encode_targets(model, processor, row: Mapping) -> "torch.Tensor | None":
    """The embeddings `(imagery latents, hidden)` of a row's imagery, as DIFT feeds them; `None` without imagery."""
    from ...modeling.processing import encode_imagery, row_images

    if not row.get("imagery"):
        return None
    masks = None
    if model.config.latent_pooling == "region":
        masks = row_images(row, "imagery_masks")
    encoded = encode_imagery(processor, row_images(row, "imagery"), masks or None, model.config.latent_size)
    return model.imagery_targets(**encoded.to(model.device)).flatten(0, 1).cpu()
