"""What is known of the latents of a model's own answers: vectors, targets, and the patches that they resemble."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ...modeling.tokens import note_latent_blocks

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class Batch:
    """Rows that are decoded together.

    Attributes:
        indices (`list[int]`): Their places among all rows.
        rows (`list[Mapping]`): The rows.
        inputs (`dict`): Encoded prompts on the model's device, with the features of their videos.
        features (`tuple[torch.Tensor]`): For each video `(visual tokens, hidden)`.
    """

    indices: list[int]
    rows: list[Mapping]
    inputs: dict[str, Any]
    features: tuple["torch.Tensor", ...]


@dataclass(frozen=True)
class OwnLatents:
    """The latents of one answer, on the CPU.

    Attributes:
        blocks (`int`): Latent blocks in the answer.
        vectors (`torch.Tensor` of shape `(latents, hidden)`): What was fed, in order.
        targets (`torch.Tensor` of shape `(imagery latents, hidden)`, *optional*): The embeddings of the row's imagery.
        patch_cosine (`torch.Tensor` of shape `(latents,)`): Cosine to the most similar visual token of the video.
        other_cosine (`torch.Tensor` of shape `(latents,)`, *optional*): The same with the video of another row.
        patch_norm (`float`): Mean norm of the visual tokens of the video.
        patches (`list[tuple[float, float, float, float, float]]`): For each latent, where that token lies: its time
            from 0 to 1, then left, top, right and bottom as shares of the frame.
    """

    blocks: int
    vectors: "torch.Tensor"
    targets: "torch.Tensor | None"
    patch_cosine: "torch.Tensor"
    other_cosine: "torch.Tensor | None"
    patch_norm: float
    patches: list[tuple[float, float, float, float, float]]


def measure_latents(
    model, processor, batch: Batch, latents: Sequence["torch.Tensor"], responses: Sequence[str]
) -> list[OwnLatents]:
    """Measure the latents of a batch of answers.

    Args:
        model: The model.
        processor: Its processor.
        batch ([`Batch`]): The rows.
        latents (`Sequence[torch.Tensor]`): As `generate` returns them, `(latents, hidden)` for each row.
        responses (`Sequence[str]`): The answers, with their latent tokens.
    """
    grids = batch.inputs["video_grid_thw"].tolist()
    merge = model.config.vision_config.spatial_merge_size
    measured = []
    for place, (row, own, response) in enumerate(zip(batch.rows, latents, responses, strict=True)):
        similarity = _cosines(own, batch.features[place])
        time, height, width = grids[place]
        shape = (time, height // merge, width // merge)
        other = None
        if len(batch.rows) > 1:
            other = _cosines(own, batch.features[place - 1]).amax(1).cpu()
        measured.append(
            OwnLatents(
                blocks=len(note_latent_blocks(response)[1]),
                vectors=own.cpu(),
                targets=_encode_targets(model, processor, row),
                patch_cosine=similarity.amax(1).cpu(),
                other_cosine=other,
                patch_norm=batch.features[place].float().norm(dim=-1).mean().item(),
                patches=[_locate(token, shape) for token in similarity.argmax(1).tolist()],
            )
        )
    return measured


def _cosines(latents: "torch.Tensor", features: "torch.Tensor") -> "torch.Tensor":
    from torch.nn.functional import normalize

    return normalize(latents.float(), dim=-1) @ normalize(features.float(), dim=-1).T


def _locate(token: int, shape: tuple[int, int, int]) -> tuple[float, float, float, float, float]:
    """Time and box of a visual token of a video with so many grids, rows and columns."""
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
