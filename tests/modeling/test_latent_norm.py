"""`latent_norm="match"`: states are fed back with the norm of the imagery targets."""

import pytest
import torch

from fourdthinker.modeling.errors import InputError
from fourdthinker.modeling.latent_norm import match_norm
from fourdthinker.modeling.self_feeding import SelfFeeding

STEPS = ([2], [5], [3, 9])


@pytest.fixture
def matching(tiny_model):
    tiny_model.config.latent_norm, tiny_model.config.latent_target_norm = "match", 3.0
    return tiny_model


def test_length_is_matched_and_direction_kept():
    states = torch.randn(2, 5, 16, generator=torch.Generator().manual_seed(0))
    matched = match_norm(states, 3.0)
    torch.testing.assert_close(matched.norm(dim=-1), torch.full((2, 5), 3.0))
    torch.testing.assert_close(torch.cosine_similarity(matched, states, dim=-1), torch.ones(2, 5))
    assert match_norm(torch.zeros(1, 16), 3.0).eq(0).all(), "a state of nothing has no direction to keep"
    assert match_norm(states.bfloat16(), 3.0).dtype == torch.bfloat16


def test_states_are_fed_back_at_the_length_of_the_targets(prompts, generate_at, matching):
    output = generate_at(prompts(), STEPS)
    for latents in output.latent_embeds:
        torch.testing.assert_close(latents.norm(dim=-1), torch.full((len(latents),), 3.0))
    matching.config.latent_norm = "none"
    plain = generate_at(prompts(), STEPS)
    # The first latent is the same state before it is scaled; all later ones follow from another input.
    one, other = output.latent_embeds[0], plain.latent_embeds[0]
    torch.testing.assert_close(torch.cosine_similarity(one[0], other[0], dim=0), torch.tensor(1.0))
    assert (other.norm(dim=-1) - 3.0).abs().min() > 0.1
    assert not torch.allclose(one[1] / 3, other[1] / other[1].norm(), atol=1e-3)


def test_a_batch_still_equals_its_rows(prompts, generate_at, matching):
    together = generate_at(prompts(), STEPS)
    for row in range(3):
        single = generate_at(prompts([row]), [STEPS[row]])
        torch.testing.assert_close(together.latent_embeds[row], single.latent_embeds[0], atol=1e-5, rtol=0)


def test_a_transform_comes_after_the_length(prompts, generate_at, matching):
    output = generate_at(prompts([0]), [[2]], latent_transform=lambda states: states * 2)
    torch.testing.assert_close(output.latent_embeds[0].norm(dim=-1), torch.full((4,), 6.0))


@pytest.mark.medium
@pytest.mark.parametrize("feeding", [None, SelfFeeding(2), SelfFeeding()])
def test_training_writes_nothing_into_the_configuration(training_batch, matching, feeding, tmp_path):
    before = matching.config.to_dict()
    matching.train()(**training_batch, self_feeding=feeding).loss.backward()
    assert matching.config.to_dict() == before
    matching.save_pretrained(tmp_path)
    config = type(matching.config).from_pretrained(tmp_path)
    assert (config.latent_norm, config.latent_target_norm) == ("match", 3.0)


def test_decoding_without_a_known_length_is_rejected(prompts, generate_at, tiny_model):
    tiny_model.config.latent_norm = "match"
    with pytest.raises(InputError, match="no length of targets is known"):
        generate_at(prompts([0]), [[2]])


@pytest.mark.parametrize(
    ("field", "value"), [("latent_norm", "layer"), ("latent_target_norm", 0.0), ("latent_target_norm", -2.0)]
)
def test_a_setting_that_means_nothing_is_rejected(tiny_model, field, value):
    with pytest.raises(InputError, match=field):
        type(tiny_model.config)(**{field: value})
