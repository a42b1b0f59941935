"""Imagery targets from a frozen copy of the vision tower, for runs that train the tower itself.

Targets that move with the trained weights can be reached by making all features alike.
"""

import copy
from typing import Any

import torch
from transformers import PreTrainedModel

_IMAGERY = ("pixel_values_latent", "image_grid_thw_latent", "latent_masks")


class FrozenTower:
    """A copy of a model's vision tower as it is now, which no optimizer sees and no checkpoint holds.

    A resumed run makes it again, from the model that the run began with.

    Args:
        model: The outer model.
    """

    def __init__(self, model: PreTrainedModel):
        tower = copy.deepcopy(model.model.visual).requires_grad_(False).eval()
        # The same modules beside the tower, seen by two objects whose methods run the copy.
        inner = copy.copy(model.model)
        inner._modules = {**model.model._modules, "visual": tower}
        self._model = copy.copy(model)
        self._model._modules = {**model._modules, "model": inner}
        self._tower = tower

    def encode_imagery(self, inputs: dict[str, Any]) -> dict[str, Any]:
        """A batch whose imagery is targets in the place of pixels.

        Args:
            inputs (`dict`): The model's arguments, imagery pixels among them or not.
        """
        if "pixel_values_latent" not in inputs:
            return inputs
        self._tower.to(inputs["pixel_values_latent"].device)
        with torch.no_grad():
            targets = self._model.imagery_targets(*(inputs.get(name) for name in _IMAGERY))
        return {**{name: value for name, value in inputs.items() if name not in _IMAGERY}, "latent_targets": targets}
