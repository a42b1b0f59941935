"""Each row gets, at each of its latent pads and nowhere else, what its control feeds there."""

from types import SimpleNamespace

import pytest
import torch

from fourdthinker.eval_tasks.diagnosis.own_latents import OwnLatents
from fourdthinker.eval_tasks.diagnosis.replacement import LatentReplacement, build_source, choose_donors

P, S, E, T = 10, 11, 12, 1  # pad, start, end, any text
CONFIG = SimpleNamespace(latent_token_id=P, latent_start_token_id=S, latent_end_token_id=E, latent_size=2)


def known(vectors, targets=None):
    vectors = torch.tensor(vectors, dtype=torch.float)
    return OwnLatents(len(vectors) // 2, vectors, targets, None, [])


def test_rows_in_different_phases_get_their_own_vectors():
    fed = []
    replacement = LatentReplacement(
        CONFIG, 2, [7, 8, 9], lambda latent, row, place: fed.append((row, place)) or torch.full((3,), row + place / 10)
    )
    states = torch.zeros(3, 1, 3)
    assert replacement.transform(states.clone()).equal(states), "the prompt's end is no pad"
    # Prompts of two tokens. After these ids comes: a second block's first pad, text, a first block's second pad.
    ids = torch.tensor([[T, S, P, P, E, S], [T, T, S, P, P, E], [T, T, T, T, S, P]])
    assert not replacement(ids, None).any()
    got = replacement.transform(states.clone())
    assert fed == [(7, 2), (9, 1)]
    assert got[:, 0, 0].tolist() == pytest.approx([7.2, 0.0, 9.1])


LATENTS = [known([[1, 0], [0, 1], [3, 0], [0, 3]]), known([[5, 0], [0, 2]]), None, known(torch.zeros(0, 2).tolist())]
GROUPS = [("task", name) for name in "abcd"]


def source(name, latents=LATENTS, seed=0):
    embedding = torch.nn.Embedding(20, 2)
    torch.nn.init.constant_(embedding.weight, 4.0)
    return build_source(
        name, SimpleNamespace(config=CONFIG, get_input_embeddings=lambda: embedding), GROUPS, latents, seed
    )


def test_what_each_control_feeds():
    latent = torch.tensor([3.0, 4.0])
    assert source("zero")(latent, 0, 0).tolist() == [0.0, 0.0]
    assert source("pad")(latent, 0, 0).tolist() == [4.0, 4.0]
    # The mean of first and of second places, over the three blocks there are.
    assert [source("mean")(latent, 0, place).tolist() for place in (0, 1, 2)] == [[3.0, 0.0], [0.0, 2.0], [3.0, 0.0]]
    noise = source("noise")
    assert noise(latent, 0, 0).norm().item() == pytest.approx(5.0, rel=1e-5)
    assert noise(latent, 0, 0).equal(noise(latent, 0, 0))
    others = [noise(latent, 1, 0), noise(latent, 0, 1), source("noise", seed=1)(latent, 0, 0)]
    assert not any(noise(latent, 0, 0).equal(other) for other in others)
    # Row 1 has one block of its own and gets row 0's two, again from the start where they end.
    swap = source("other")
    assert [swap(latent, 1, place).tolist() for place in range(5)] == [*LATENTS[0].vectors.tolist(), [1.0, 0.0]]
    assert swap(latent, 0, 3).tolist() == [0.0, 2.0]
    assert source("markers") is source("blind") is None


def test_the_oracle_feeds_the_imagery_there_is():
    latent, targets = torch.tensor([3.0, 4.0]), torch.tensor([[1.0, 1.0], [2.0, 2.0]])
    oracle = source("oracle", [known([[1, 0], [0, 1]], targets), known([[1, 0], [0, 1]]), None, None])
    assert [oracle(latent, 0, place).tolist() for place in range(3)] == [[1.0, 1.0], [2.0, 2.0], [3.0, 4.0]]
    assert oracle(latent, 1, 0).equal(latent)


def test_a_block_repeats_its_first_latent():
    first, own = source("first"), torch.tensor([[1.0, 0.0], [2.0, 0.0], [3.0, 0.0]])
    # The first block's rows are interleaved, and the second block of row 0 begins anew.
    fed = [(0, 0, 0), (1, 1, 0), (2, 0, 1), (0, 1, 1), (2, 0, 2), (1, 0, 3)]
    found = [first(own[latent], row, place)[0].item() for latent, row, place in fed]
    assert found == [1.0, 2.0, 1.0, 2.0, 3.0, 3.0]


def test_without_any_latents_states_stay():
    latent = torch.tensor([3.0, 4.0])
    for name in ("mean", "other"):
        assert source(name, [None, None, None, LATENTS[3]])(latent, 0, 0).equal(latent)


def test_donors_have_latents_another_video_and_the_same_task_as_far_as_there_are_such():
    groups = [("a", number // 2) for number in range(8)] + [("b", number) for number in range(90, 94)] + [("c", 0)]
    imagining = [True] * 8 + [True, True, False, False] + [True]
    for seed in range(5):
        donors = choose_donors(groups, imagining, seed)
        assert donors.keys() == set(range(13)), "rows without latents may have some under control"
        for row, donor in donors.items():
            assert donor != row and imagining[donor] and groups[donor][1] != groups[row][1]
            assert groups[donor][0] == groups[row][0] or groups[row][0] == "c"
    assert choose_donors(groups, imagining, 0) != choose_donors(groups, imagining, 1)
    assert choose_donors([("a", 0)] * 2, [True, True], 0) == {0: 1, 1: 0}
    assert choose_donors([("a", 0), ("a", 1)], [True, False], 0) == {1: 0}
