"""The grammar of latent blocks: which token is forced after which ids."""

import pytest
import torch

from fourdthinker.modeling import FourDThinkerConfig, LatentLogitsProcessor, LatentRules
from fourdthinker.modeling.errors import InputError
from fourdthinker.modeling.latent_rules import NOT_FORCED, inject_latents

P, S, E, T = 10, 11, 12, 1  # pad, start, end, any text
RULES = LatentRules(pad=P, start=S, end=E, size=4)


@pytest.mark.parametrize(
    ("ids", "forced"),
    [
        ([T, T, T, T, T, T], NOT_FORCED),
        ([T, T, T, T, T, S], P),
        ([T, T, T, T, S, P], P),
        ([T, T, S, P, P, P], P),
        ([T, S, P, P, P, P], E),
        ([S, P, P, P, P, E], NOT_FORCED),
        ([P, P, P, P, E, S], P),
        ([P, P, P, E, S, P], P),
        ([P], P),
        ([S], P),
    ],
)
def test_next_token_follows_from_the_ids_alone(ids, forced):
    assert RULES.forced(torch.tensor([ids])).tolist() == [forced]


def test_rows_at_different_phases_do_not_touch_each_other():
    rows = [[T, T, T, T, S], [T, S, P, P, P], [S, P, P, P, P], [P, P, P, P, E]]
    assert RULES.forced(torch.tensor(rows)).tolist() == [P, P, E, NOT_FORCED]


def test_no_ids_yet_force_nothing():
    assert RULES.forced(torch.empty(2, 0, dtype=torch.long)).tolist() == [NOT_FORCED, NOT_FORCED]


def test_block_is_always_start_pads_end_whatever_the_scores_say():
    """Random scores with the latent tokens made likely: 300 tokens of 16 rows hold whole blocks only."""
    generator = torch.Generator().manual_seed(0)
    processor = LatentLogitsProcessor(RULES)
    ids = torch.full((16, 1), T)
    for _ in range(300):
        scores = torch.randn(16, 20, generator=generator)
        scores[:, [P, S, E]] += 2.0
        probabilities = processor(ids, scores).softmax(-1)
        ids = torch.cat([ids, torch.multinomial(probabilities, 1, generator=generator)], dim=1)
    blocks = 0
    for row in ids.tolist():
        position = 0
        while position < len(row):
            if row[position] == S:
                block = row[position + 1 : position + 6]
                assert block == [P, P, P, P, E][: len(block)]
                blocks += 1
                position += 1 + len(block)
            else:
                assert row[position] not in (P, E)
                position += 1
    assert blocks > 100


def test_scores_outside_blocks_are_kept_but_for_pad_and_end():
    scores = torch.arange(20.0)[None]
    kept = RULES.constrain(torch.tensor([NOT_FORCED]), scores)
    others = [i for i in range(20) if i not in (P, E)]
    assert torch.equal(kept[:, others], scores[:, others])
    assert torch.isneginf(kept[:, [P, E]]).all()
    assert scores[0, P] == P, "the scores that were given are left as they were"


def test_forced_mask_marks_pads_and_the_end_after_them_only():
    ids = torch.tensor([[T, S, P, P, P, P, E, T, E], [T, S, P, T, E, T, T, T, T]])
    assert RULES.forced_mask(ids).int().tolist() == [[0, 0, 1, 1, 1, 1, 1, 0, 0], [0, 0, 1, 0, 0, 0, 0, 0, 0]]


def test_packed_latents_go_to_pads_in_order_and_dense_ones_to_rows_at_a_pad():
    ids = torch.tensor([[T, S, P, P], [P, E, T, T]])
    embeds = torch.zeros(2, 4, 1)
    packed = torch.tensor([[1.0], [2.0], [3.0]])
    assert inject_latents(embeds, ids == P, packed)[..., 0].tolist() == [[0, 0, 1, 2], [3, 0, 0, 0]]
    step = inject_latents(embeds[:, :1], torch.tensor([[True], [False]]), torch.full((2, 1, 1), 7.0))
    assert step[:, 0, 0].tolist() == [7.0, 0.0]
    whole = inject_latents(embeds, ids == P, torch.arange(8.0).view(2, 4, 1))
    assert whole[..., 0].tolist() == [[0, 0, 2, 3], [4, 0, 0, 0]]


@pytest.mark.parametrize("shape", [(2, 1), (4, 1), (2, 1, 1), (3,), (3, 2)])
def test_wrong_number_or_size_of_latents_is_rejected(shape):
    ids = torch.tensor([[T, S, P, P], [P, E, T, T]])
    with pytest.raises(InputError):
        inject_latents(torch.zeros(2, 4, 1), ids == P, torch.zeros(shape))


@pytest.mark.parametrize(
    "fields",
    [
        {"latent_size": 0},
        {"latent_pooling": "median"},
        {"position_rule": "mine"},
        {"ce_loss_weight": -1.0},
        {"latent_token_id": 5, "latent_end_token_id": 5},
    ],
)
def test_configuration_rejects_values_that_mean_nothing(fields):
    with pytest.raises(InputError):
        FourDThinkerConfig(**fields)


def test_rules_without_ids_say_how_to_get_them():
    with pytest.raises(InputError, match="from_backbone"):
        LatentRules.from_config(FourDThinkerConfig())
