"""Three checkpoints whose latents are known by construction are told apart; few questions name none of them."""

import numpy as np
import pytest

from fourdthinker.eval_tasks.diagnosis.controls import CONTROLS
from fourdthinker.eval_tasks.diagnosis.diagnosis import compare_answers, diagnose
from fourdthinker.eval_tasks.predict import predict
from fourdthinker.modeling import load_model
from fourdthinker.modeling.tokens import LATENT_START

from ...built_checkpoints import KINDS, build_checkpoint, make_questions

VERDICTS = {
    "carry": "the latents carry the answer",
    "markers": "only the markers matter",
    "ignore": "no effect of 4 points or more",
}
SEEDS, QUESTIONS, FEW = 20, 100, 10


@pytest.fixture(scope="module", params=KINDS)
def kind(request):
    return request.param


@pytest.fixture(scope="module")
def pool(kind):
    """Questions, their diagnosis and all answers of a checkpoint."""
    rows = make_questions(150, seed=0, imagery=True)
    return rows, *diagnose(*build_checkpoint(kind), rows, batch_size=150, max_new_tokens=12, progress=False)


@pytest.mark.slow
def test_the_checkpoint_is_recognised(kind, pool):
    _, diagnosis, _ = pool
    assert diagnosis["verdict"]["sentence"] == VERDICTS[kind]
    assert list(diagnosis["controls"]) == list(CONTROLS) and not diagnosis["left_out"]
    numbers = diagnosis["controls"]
    assert 0.8 < diagnosis["own"]["accuracy"] < 0.97
    for name in ("half", "double"):
        assert numbers[name]["changed_answers"] == 0
    assert numbers["blind"]["accuracy"] < 0.4
    assert numbers["forbidden"]["changed_answers"] == (0 if kind == "ignore" else pytest.approx(0.75, abs=0.1))
    for name in ("zero", "noise", "mean", "other", "pad", "markers"):
        assert numbers[name]["changed_answers"] == (pytest.approx(0.75, abs=0.1) if kind == "carry" else 0)


@pytest.mark.slow
@pytest.mark.parametrize(("count", "named"), [(QUESTIONS, True), (FEW, False)])
def test_it_is_recognised_from_any_hundred_questions_and_never_from_ten(kind, pool, count, named):
    rows, _, answers = pool
    found = []
    for seed in range(SEEDS):
        places = np.random.default_rng(seed).choice(len(rows), count, replace=False)
        responses = {name: [given[place] for place in places] for name, given in answers.responses.items()}
        found.append(compare_answers([rows[place] for place in places], responses)["verdict"]["sentence"])
    if named:
        assert found.count(VERDICTS[kind]) >= 19
    else:
        assert set(found) == {"too few questions to tell"}


def test_a_video_that_cannot_be_decoded_is_left_out_of_all_comparisons(caplog):
    rows = make_questions(4, seed=2)
    rows[2]["frames"][1] = {"bytes": b"no image", "path": None}
    diagnosis, answers = diagnose(*build_checkpoint("carry"), rows, ["zero"], 4, 12, progress=False)
    assert (diagnosis["n"], diagnosis["missing"], diagnosis["own"]["parse_failures"]) == (3, 1, 0)
    for given in answers.responses.values():
        assert [response is None for response in given] == [False, False, True, False]
    assert caplog.text.count("row 2 was not asked") == 1


@pytest.mark.slow
@pytest.mark.parametrize("family", ["qwen2_5_vl", "qwen3_vl"])
def test_own_answers_are_those_of_an_evaluation_and_batches_do_not_matter(tiny_folders, family, only_letters):
    model, processor = load_model(tiny_folders(family))
    only_letters(model, processor, also=[LATENT_START])
    rows = make_questions(6, seed=4)
    controls = [name for name in CONTROLS if name != "oracle"]
    found = [
        diagnose(model, processor, rows, controls, batch_size, 14, progress=False)[1].responses
        for batch_size in (6, 2)
    ]
    assert found[0] == found[1]
    assert found[0]["own"] == predict(model, processor, rows, 6, 14, progress=False)
    assert not any(LATENT_START in response for response in found[0]["forbidden"])


@pytest.mark.slow
def test_another_seed_gives_other_noise_and_other_donors():
    rows = make_questions(30, seed=5)
    both = [
        diagnose(*build_checkpoint("carry"), rows, ["noise", "other", "zero"], 30, 12, seed=seed, progress=False)[1]
        for seed in (0, 1)
    ]
    for name, same in (("own", True), ("zero", True), ("noise", False), ("other", False)):
        assert (both[0].responses[name] == both[1].responses[name]) is same, name
