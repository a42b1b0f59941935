"""Heat maps of latents: cosine similarity of each latent with each visual token."""

from collections.abc import Mapping

import torch
from torch.nn.functional import normalize


@torch.no_grad()
def imagery_maps(model, inputs: Mapping[str, torch.Tensor], latents: torch.Tensor) -> torch.Tensor:
    """The cosine of each latent with each merged visual token of one video.

    Latents are trained towards the same tower's features of an imagery frame, so a high value says that the latent
    looks like what is seen there.

    Args:
        model ([`FourDThinkerForConditionalGeneration`] or another family's): The model that made the latents.
        inputs (`Mapping[str, torch.Tensor]`): An encoded prompt with one video.
        latents (`torch.Tensor` of shape `(latents, hidden)`): As `generate` returns them for a row.

    Returns:
        `torch.Tensor` of shape `(latents, temporal grids, rows, columns)`, fp32 on the CPU, from -1 to 1.
    """
    grid = inputs["video_grid_thw"]
    encoded = model.get_video_features(inputs["pixel_values_videos"], grid, return_dict=True)
    (features,) = encoded.pooler_output
    time, height, width = grid[0].tolist()
    merge = model.config.vision_config.spatial_merge_size
    cosine = normalize(latents.float(), dim=-1) @ normalize(features.float(), dim=-1).T
    return cosine.cpu().view(len(latents), time, height // merge, width // merge)
