"""Questions about space on rendered scenes: true with noise, in words that follow from facts, as rows and as files."""

import json
import re
from collections import Counter
from dataclasses import replace
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest

for needed in ("pybullet", "pycocotools", "cv2"):
    pytest.importorskip(needed, reason="needs the extras `data` and `world`")
from fourdthinker.dataset_builders.geometry.object_places import DEFAULT_NOISE, measure_places, place_noise  # noqa: E402
from fourdthinker.dataset_builders.questions import dsr, mllm4d  # noqa: E402
from fourdthinker.dataset_builders.questions.claims import check_claims  # noqa: E402
from fourdthinker.dataset_builders.questions.clip_questions import (  # noqa: E402
    ask_about_clip,
    design_options,
    list_candidates,
)
from fourdthinker.dataset_builders.questions.spatial_facts import objects_of, spatial_facts  # noqa: E402
from fourdthinker.dataset_builders.sources.dsr_files import shift_times, write_dsr_files  # noqa: E402
from fourdthinker.dataset_builders.sources.world_space import open_world, render_clip, space_rows  # noqa: E402
from fourdthinker.dataset_builders.world.scene import WORLD_SOURCE  # noqa: E402
from fourdthinker.eval_tasks.benchmarks.dsr_bench import read_dsr_bench  # noqa: E402
from fourdthinker.eval_tasks.tasks import find_benchmark  # noqa: E402
from fourdthinker.eval_tasks.videos import read_row_clip  # noqa: E402
from fourdthinker.modeling.errors import InputError  # noqa: E402
from fourdthinker.modeling.tokens import OPTION_LETTERS  # noqa: E402
from fourdthinker.trainers.rewards.answer_rewards import spatiotemporal_reward  # noqa: E402

SCENES = 4


@pytest.fixture(scope="module")
def truth():
    """The script with the scenes' own truth, which is no part of the package."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(Path(__file__).parents[3] / "benchmarks"))
        yield import_module("spatial_truth")


@pytest.fixture(scope="module")
def scenes():
    """Rendered clips with their exact records."""
    with open_world() as world:
        return [render_clip(world, seed) for seed in range(SCENES)]


@pytest.fixture(scope="module")
def records(scenes):
    found = [replace(record) for _, record in scenes]
    for record in found:
        record.facts = {"space": spatial_facts(record)}
    return found


def ask(records):
    counts: dict[str, Counter] = {}
    for record in records:
        for candidate in list_candidates(record.facts):
            counts.setdefault(candidate.kind, Counter())[candidate.answer] += 1
    designs = design_options(counts)
    return [one for record in records for one in ask_about_clip(record, list_candidates(record.facts), designs)]


@pytest.fixture(scope="module")
def questions(records):
    return ask(records)


def right(row):
    return row["options"][OPTION_LETTERS.index(row["answer"])]


@pytest.mark.medium
def test_answers_are_those_of_the_scene(scenes, records, truth):
    found = [
        (truth.is_true(clip, fact), fact)
        for (clip, _), record in zip(scenes, records, strict=True)
        for fact in record.facts["space"]
    ]
    assert len(found) > 12 * SCENES and {fact["family"] for _, fact in found} == {"mllm4d", "dsr"}
    assert np.mean([is_true for is_true, _ in found]) >= 0.97, [fact for is_true, fact in found if not is_true]


@pytest.mark.medium
def test_answers_stay_right_with_the_noise_of_estimated_depth(scenes, truth):
    found, noises = [], []
    for number, (clip, record) in enumerate(scenes):
        noisy = truth.add_noise(record, np.random.default_rng(number))
        noises.append((place_noise(record).single, place_noise(noisy).single))
        found += [(truth.is_true(clip, fact), fact) for fact in spatial_facts(noisy)]
    assert all(exact < 0.03 < noisy < 0.1 for exact, noisy in noises[:2]), noises
    assert len(found) > 6 * SCENES
    assert np.mean([is_true for is_true, _ in found]) >= 0.97, [fact for is_true, fact in found if not is_true]


@pytest.mark.medium
def test_nothing_is_asked_without_metres(scenes):
    _, record = scenes[0]
    assert spatial_facts(record)
    assert spatial_facts(replace(record, depth=None)) == []
    assert spatial_facts(replace(record, depth=replace(record.depth, metric=False))) == []
    assert spatial_facts(replace(record, camera=replace(record.camera, kind="up_to_scale"))) == []


@pytest.mark.medium
def test_two_things_of_one_name_are_not_asked_about(scenes):
    _, record = scenes[0]
    same = replace(record, objects=[replace(track, name="moving object") for track in record.objects])
    assert {fact["object"] for fact in spatial_facts(same)} <= {None, dsr.CAMERA}


@pytest.mark.medium
def test_places_lie_in_the_middle_of_things(scenes, truth):
    for clip, record in scenes[:3]:
        for number, track in enumerate(record.objects):
            places = measure_places(track, record.camera, record.depth, record.size)
            error = np.linalg.norm(places.centres - clip.centres[:, number], axis=1)[places.known]
            assert not len(error) or np.median(error) < 0.2, "a quarter of a thing's width"
    for number, (_, record) in enumerate(scenes[:2]):  # the background alone tells the noise of depth as well
        alone = replace(truth.add_noise(record, np.random.default_rng(number)), resting=[])
        exact, noisy = (place_noise(one) for one in (replace(record, resting=[]), alone))
        assert exact.single < 0.01 < 0.02 < noisy.single < 0.08
        assert noisy.smoothed < noisy.single == noisy.camera, "without a resting region all may be the camera's"
    unknown = replace(record, resting=[], depth=replace(record.depth, maps=record.depth.maps * np.nan))
    assert set(place_noise(unknown)) == {DEFAULT_NOISE}


@pytest.mark.medium
def test_noise_of_depth_is_not_taken_for_noise_of_poses(scenes, truth):
    shares = []
    for number, (_, record) in enumerate(scenes):
        flicker = place_noise(truth.add_noise(record, np.random.default_rng(number), pose=0))
        shaken = place_noise(truth.add_noise(record, np.random.default_rng(number), depth=0, pose=0.03))
        shares.append((flicker.smoothed / flicker.single, flicker.camera / flicker.single, shaken.camera))
    calm, still, shaken = np.median(shares, axis=0)
    assert calm < 0.8 and still < 0.5 and 0.03 < shaken < 0.08, shares


@pytest.mark.medium
def test_every_fact_becomes_a_question(records, questions):
    asked = {question["id"] for question in questions}
    facts = [(record.clip, fact["family"], n) for record in records for n, fact in enumerate(record.facts["space"])]
    assert len(asked) >= 0.9 * len(facts)
    for question in questions:
        facts = json.loads(question["facts"])
        assert right(question) == facts["answer"] and facts["noise_share"] < 0.05
        assert len(set(question["options"])) == len(question["options"]) in (3, 4)
        if "camera_centers" in question:
            assert question["imagined"] == [] and question["task"] in mllm4d.KINDS
            numbers = [int(number) for number in re.findall(r"frame (\d+) \(", question["question"])]
            assert numbers == facts["frames"] and max(numbers) < len(question["shown"])
        else:
            assert len(question["options"]) == 4 and question["task"] in dsr.KINDS
            assert {one["frame"] for one in question["imagined"]} <= set(question["shown"])
            assert all(re.fullmatch(r"(\(\d\) [^.()]+\. ?)+", option) for option in question["options"])


@pytest.mark.medium
def test_the_reward_pays_the_reasoning_in_full(questions):
    rows = [question for question in questions if "camera_centers" in question]
    columns = {name: [row[name] for row in rows] for name in ("answer", "options", "camera_centers", "object_centers")}
    assert min(spatiotemporal_reward([row["response"] for row in rows], **columns)) > 0.99


@pytest.mark.medium
def test_a_region_that_is_seen_twice_alone_tells_of_noise(scenes):
    _, record = scenes[0]
    seen = np.isin(np.arange(len(record.resting[0].masks)), [3, 20])
    twice = replace(record.resting[0], sure=seen & record.resting[0].sure)
    assert 0 < place_noise(replace(record, resting=[twice])).camera < 0.03


@pytest.mark.medium
@pytest.mark.parametrize("family", ["mllm4d", "dsr"])
def test_a_name_with_markup_is_in_no_question(records, family, caplog):
    record = records[0]
    tracks = [replace(track, name="dog<|im_end|>") for track in record.objects]
    about = [fact for fact in record.facts["space"] if fact["family"] == family and objects_of(fact)]
    candidates = [one for one in list_candidates(record.facts, [family]) if record.facts["space"][one.fact] in about]
    designs = design_options({one.kind: {one.answer: 1} for one in candidates})
    assert candidates and ask_about_clip(replace(record, objects=tracks), candidates, designs) == []
    assert "must be plain words" in caplog.text


@pytest.mark.medium
def test_two_things_of_one_name_are_not_compared(records, caplog):
    record = next(one for one in records if any(len(objects_of(fact)) == 2 for fact in one.facts["space"]))
    tracks = [replace(track, name="red ball") for track in record.objects]
    candidates = list_candidates(record.facts)
    designs = design_options({one.kind: {one.answer: 1} for one in candidates})
    asked = ask_about_clip(replace(record, objects=tracks), candidates, designs)
    assert asked and "two objects are called 'red ball'" in caplog.text
    assert all(json.loads(one["facts"]).get("other") != "the red ball" for one in asked)


@pytest.mark.medium
def test_a_prediction_shows_nothing_of_what_it_asks_for(records):
    found = 0
    for record in records:
        for number, fact in enumerate(record.facts["space"]):
            if fact["task"].endswith("_pred"):
                found += 1
                (question,) = [one for one in ask([record]) if one["id"] == f"{record.clip}-dsr-{number}"]
                assert max(question["shown"]) == fact["frames"][-1] < fact["until"]
                assert "After" in question["question"]
    if not found:
        pytest.skip("none of the scenes has one")


@pytest.mark.medium
@pytest.mark.parametrize(
    ("said", "changed"),
    [
        (r"\d+\.\d\d m\b", "9.87 m"),
        (r"\[-?\d+\.\d\d, -?\d+\.\d\d, -?\d+\.\d\d\]", "[9.87, 0.00, 0.00]"),
        (r"frame \d", "frame 9"),
        (r"\d+ degrees to the (left|right)", "77 degrees to the left"),
        (r"In between:", "In between, to the upper left of it:"),
    ],
)
def test_a_text_that_says_something_else_is_refused(records, monkeypatch, said, changed):
    """The checker reads the same texts, of which one claim is changed."""
    from fourdthinker.dataset_builders.questions import draft

    texts = []

    def remember(text, *arguments):
        texts.append((text, arguments))
        check_claims(text, *arguments)

    monkeypatch.setattr(draft, "check_claims", remember)
    ask(records[1:2])
    wrong = [
        (re.sub(said, changed, text, count=1), arguments)
        for text, arguments in texts
        # Where the facts tell of a left and of an upper place, the checker lets a text say both.
        if re.search(said, text)
        and not ("upper left" in changed and all(way in str(arguments[2]).lower() for way in ("left", "upper")))
    ]
    assert wrong
    for text, arguments in wrong:
        with pytest.raises(InputError, match="the facts"):
            check_claims(text, *arguments)


@pytest.mark.slow
def test_rows_become_files_that_dsr_bench_reads(tmp_path):
    rows = [row for row in space_rows("train", 2, ("dsr",)) if row["task"] in dsr.KINDS]
    assert rows == list(space_rows("train", 2, ("dsr",), workers=2)), "whatever the number of workers"
    # By this name the gates know that each row is of a scene of its own, and would test none of them otherwise.
    assert {row["source"] for row in rows} == {WORLD_SOURCE}
    from fourdthinker.modeling.images import decode_image

    shown = [{**row, "frames": [decode_image(frame) for frame in row["frames"]]} for row in rows]
    assert write_dsr_files(tmp_path / "dsr", shown) == len(rows)
    read = read_dsr_bench(tmp_path / "dsr")
    for row, back in zip(rows, read, strict=True):
        assert (back["options"], back["answer"], back["task"]) == (row["options"], row["answer"], row["task"])
        clip = read_row_clip(back, find_benchmark("dsr_bench").frames)
        assert len(clip.frames) == len(row["frames"])
        times = np.array(row["timestamps"]) - row["timestamps"][0]
        assert np.allclose(clip.timestamps, times, atol=0.002)


def test_times_are_shifted():
    assert shift_times("Between 4.0 s and 6.5 s, at 4.0 s", -4.04) == "Between 0.0 s and 2.5 s, at 0.0 s"


def test_seeds_whose_clips_would_be_those_of_the_test_are_refused():
    with pytest.raises(InputError, match="the seeds 0 to 65535, not for 65536"):
        next(space_rows("train", 2, ("dsr",), seed=2**16))
