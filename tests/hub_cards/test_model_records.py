"""What a model's folder tells its card: stages, scores beside their controls, a verdict, somebody's own words."""

import json
import re
from dataclasses import replace

import pytest
import yaml
from huggingface_hub import ModelCard
from transformers import TrainingArguments

from fourdthinker.eval_tasks.scores import score
from fourdthinker.hub_cards import model_card, write_model_card
from fourdthinker.hub_cards.diagnosis import store_diagnosis
from fourdthinker.hub_cards.licences import choose_licence, describe_terms
from fourdthinker.hub_cards.lineage import Material, Stage, describe_data, read_lineage, write_lineage
from fourdthinker.hub_cards.publishing.folder import find_files
from fourdthinker.hub_cards.publishing.preparation import find_location, find_snippet, point_card, prepare_files
from fourdthinker.hub_cards.scores import store_scores
from fourdthinker.hub_cards.settings import describe_settings
from fourdthinker.modeling.errors import InputError

BASE = "Qwen/Qwen3-VL-4B-Instruct"


@pytest.fixture
def folder(tmp_path):
    path = tmp_path / "thinker"
    path.mkdir()
    (path / "config.json").write_text(json.dumps({"latent_size": 4, "dtype": "bfloat16"}))
    return path


def report(letters: str) -> dict:
    options = ["left", "right", "up", "down"]
    return score(
        [
            {"task": task, "options": options, "answer": "B", "response": letter}
            for task in ("camera", "object")
            for letter in letters
        ]
    )


def head(latents: str = "own") -> dict:
    settings = {"decoding": "greedy", "max_new_tokens": 176, "latents": latents}
    versions = {"torch": "2.14.1"}
    return {"model": "/home/me/models/thinker", "settings": settings, "versions": versions, "date": "2026-11-20"}


def stages(licence: str = "cc-by-nc-sa-4.0", configuration: str = "dift") -> list[Stage]:
    data = Material("org/4d-cot", "a" * 40, [licence], configuration)
    first = Stage("DIFT", Material(BASE, "b" * 40, ["apache-2.0"]), [data], {"learning_rate": 1e-5}, 300)
    second = Stage(
        "4DRL",
        Material("dift"),
        [data],
        {"beta": 0.0},
        20,
        "2026-11-27",
        "0.1.0",
        "c" * 40 + "+changes",
        {"python": "3.11.7", "torch": "2.14.1"},
        "CPU, 2 threads",
    )
    return [first, second]


def test_scores_stand_beside_the_base_the_text_only_control_and_zeroed_latents(folder):
    store_scores(folder, {"bench": report("BBBA")}, head())
    store_scores(folder, {"bench": report("BBBA")}, head("zero"), "latents zeroed")
    store_scores(folder, {"bench": report("AAAA")}, head(), "base model")
    store_scores(folder, {"bench": report("BAAA")}, head(), "text only")
    card = model_card(folder)
    table = [line for line in str(card).splitlines() if line.startswith("|")]
    assert table[0] == "| task | n | chance | this model | latents zeroed | text only | base model |"
    assert table[-1].startswith("| all | 8 | 25.0 % | 75.0 % (")
    assert [re.match(r"\S+ %", cell.strip())[0] for cell in table[-1].split("|")[4:8]] == [
        "75.0 %", "75.0 %", "25.0 %", "0.0 %"
    ]  # fmt: skip
    assert "Zeroing the latents costs nothing that these questions could show" in str(card)
    assert "greedy; at most 176 new tokens; measured on 2026-11-20; torch 2.14.1" in str(card)
    assert {entry.metric_value for entry in card.data.eval_results} == {0.75}, "its own scores alone"
    assert "/home/me" not in "".join(path.read_text() for path in (folder / "scores").iterdir())


def test_zeroed_latents_that_cost_something_are_said_to(folder):
    store_scores(folder, {"bench": report("B" * 20)}, head())
    store_scores(folder, {"bench": report("A" * 20)}, head("zero"), "latents zeroed")
    assert "accuracy falls from 100.0 % to 0.0 %" in str(model_card(folder))


def test_how_answers_were_read_is_said(folder):
    scores = head()
    scores["settings"]["reading"] = "choice"
    store_scores(folder, {"bench": report("BBBA")}, scores)
    assert "greedy; at most 176 new tokens; answers by restricted choice: the likeliest" in str(model_card(folder))


@pytest.mark.parametrize("change", [{"settings": {"reading": "choice"}}, {"n": 10}, {"data": {"sha256": "0" * 64}}])
def test_runs_on_other_questions_or_by_another_reading_are_not_compared(folder, change):
    own, zeroed = ({**report(letters), "data": {"sha256": "f" * 64}} for letters in ("B" * 20, "A" * 20))
    store_scores(folder, {"bench": own}, head())
    store_scores(folder, {"bench": zeroed}, head("zero"), "latents zeroed")
    assert "With zeros in place of its latents" in str(model_card(folder))
    store_scores(folder, {"bench": {**zeroed, **change}}, head("zero"), "latents zeroed")
    assert "With zeros in place of its latents" not in str(model_card(folder))


def test_a_limited_run_replaces_no_scores_of_more_questions(folder):
    (path,) = store_scores(folder, {"bench": report("BBBA")}, head())
    before, limited = path.read_text(), head()
    limited["settings"]["limit"] = 4
    with pytest.raises(InputError, match="has scores of 8 questions, and these are of the first 4"):
        store_scores(folder, {"other": report("AA"), "bench": report("AA")}, limited)
    assert path.read_text() == before and [one.name for one in path.parent.iterdir()] == [path.name]
    limited["settings"]["limit"] = 8
    store_scores(folder, {"bench": report("BBBA")}, limited)


def test_scores_name_no_path_of_another_file(folder):
    scores = {**report("BBBA"), "against": {"/data/alice/secret/b.jsonl": {"gain": 0.1}}}
    (path,) = store_scores(folder, {"bench": scores}, head())
    assert list(json.loads(path.read_text())["tasks"]["bench"]["against"]) == ["b.jsonl"]


def test_every_stage_is_in_the_card_with_its_data_and_commits(folder):
    write_lineage(folder, stages())
    card = model_card(folder, repo_id="org/thinker", revision="v1", space="org/demo")
    text, data = str(card), card.data
    assert f"| DIFT | [{BASE}](https://huggingface.co/{BASE}) at bbbbbbb |" in text
    assert "| 4DRL | dift | [org/4d-cot](https://huggingface.co/datasets/org/4d-cot) (dift) at aaaaaaa | 20 |" in text
    assert "| 2026-11-27 | 0.1.0 ccccccc with changes | CPU, 2 threads |" in text
    assert "| --- | --- | --- | ---: | --- | --- | --- |" in text, "of numbers the steps alone"
    assert "beta: 0.0" in text and "learning_rate" not in text, "the settings of the last stage"
    assert "torch 2.14.1" in text and "(https://huggingface.co/spaces/org/demo)" in text.replace("<", "").replace(
        ">", ""
    )
    assert (data.base_model, data.base_model_relation, data.datasets) == (BASE, "finetune", ["org/4d-cot"])
    assert data.license == "cc-by-nc-sa-4.0", "the base allows anything, the data do not"
    assert "no commercial use, what is made from it stays under cc-by-nc-sa-4.0" in text
    assert '.from_pretrained("org/thinker", revision="v1", trust_remote_code=True' in text
    assert read_lineage(folder) == stages()


def test_a_data_set_without_a_licence_leaves_the_model_without_one(folder):
    data = Material("rows", licences=[])
    write_lineage(folder, [*stages("apache-2.0"), replace(stages("apache-2.0")[-1], data=[data])])
    card = model_card(folder)
    assert card.data.license is None and "rows: licence not recorded" in str(card)


@pytest.mark.parametrize(("configuration", "cited"), [("dift", False), ("mllm4d_sft", True)])
def test_mllm_4d_is_cited_where_its_recipe_was_used(folder, configuration, cited):
    write_lineage(folder, stages("apache-2.0", configuration))
    text = str(model_card(folder))
    assert ("@article{yin2026mllm4d," in text) == cited
    assert "@article{chen2026fourdthinker," in text and "@software{fourdthinker_software," in text


def test_a_record_that_is_none_is_named(folder):
    (folder / "lineage.json").write_text('{"stages": [{"nme": "DIFT"}]}')
    with pytest.raises(InputError, match=r"lineage\.json is no record of training stages"):
        model_card(folder)
    (folder / "lineage.json").unlink()
    (folder / "scores").mkdir()
    (folder / "scores" / "bench.json").write_text("[]")
    with pytest.raises(InputError, match=r"bench\.json holds no scores"):
        model_card(folder)


def test_the_verdict_of_a_diagnosis_is_in_the_card_in_words(folder):
    verdict = {"name": "none", "sentence": "no effect of 4 points or more", "reason": "every interval lies within 4"}
    store_diagnosis(
        folder, {"/home/me/bench": {"n": 400, "controls": {"zero": {}, "other": {}}, "verdict": verdict}}, {}
    )
    text = str(model_card(folder))
    assert re.search(r"- bench \(400 questions, 2 controls, 20\d\d-.*\): no effect of 4 points or more \(every", text)
    assert "Not diagnosed" not in text


def test_a_card_is_pinned_anew_and_keeps_what_somebody_added(folder):
    path = write_model_card(folder, draw=False)
    assert ModelCard.load(path).data.license == "unknown", "nothing says what it was made from"
    path.write_text(path.read_text().replace("license: unknown", "license: mit") + "\n## Thanks\n\nTo you.\n")
    write_model_card(folder, "v2", "org/thinker", draw=False)
    text = path.read_text()
    assert ModelCard.load(path).data.license == "mit" and 'revision="v2"' in text
    assert (
        text.endswith("<!-- end of the generated card -->\n\n## Thanks\n\nTo you.\n") and text.count("## Thanks") == 1
    )
    assert str(folder) not in text
    write_model_card(folder, "v2", "org/thinker", draw=False)
    assert path.read_text() == text
    write_model_card(folder, "v2", "org/thinker", space="org/demo", draw=False)
    write_model_card(folder, "v3", "org/thinker", draw=False)
    assert "- [Space](<https://huggingface.co/spaces/org/demo>)" in path.read_text()


@pytest.mark.parametrize(
    "given", [{"datasets": "org/rows"}, {"base_model": BASE}, {"recipe": {"seed": 1}}, {"scores": {}}]
)
def test_what_no_file_holds_is_not_lost_when_a_card_is_published(folder, given):
    card = str(model_card(folder, license="mit", repo_id="models/thinker", **given))
    (folder / "README.md").write_text(card)
    (folder / "model.safetensors").write_bytes(b"")
    write_model_card(folder, "v1", "org/thinker", draw=False)
    assert (folder / "README.md").read_text() == card
    sent = prepare_files(find_files(folder), "org/thinker", "v1").text("README.md")
    assert sent == point_card(card, "org/thinker", "v1") != card


def test_a_card_of_somebody_else_is_left_alone(folder):
    (folder / "README.md").write_text("---\nlicense: mit\n---\n# My model\n")
    write_model_card(folder, "v2", "org/thinker")
    assert (folder / "README.md").read_text() == "---\nlicense: mit\n---\n# My model\n"


def test_publishing_finds_what_the_snippet_loads(folder):
    card = str(model_card(folder))
    assert find_location(card) == str(folder) and "generate" in find_snippet(card, "generate")
    pointed = point_card(card, "org/thinker", "v1")
    assert pointed.count('"org/thinker", ') == 2 and pointed.count('revision="v1"') == 2
    assert str(folder) not in pointed


def test_settings_hold_no_places_and_no_secrets(tmp_path):
    arguments = TrainingArguments(
        str(tmp_path / "out"), learning_rate=3e-4, hub_token="hf_secret", run_name="machine-7", use_cpu=True
    )
    found = describe_settings(arguments)
    assert found["learning_rate"] == 3e-4 and found["seed"] == 42, "what was set, and the usual ones at their default"
    text = yaml.safe_dump(found)
    assert not any(word in text for word in (str(tmp_path), "hf_secret", "machine-7", "logging", "hub_"))


def test_a_data_set_of_this_machine_is_known_by_its_card(tmp_path):
    (tmp_path / "rows").mkdir()
    configs = [{"config_name": "dift", "data_files": "dift/*", "description": "sha256 abc"}]
    header = yaml.safe_dump({"license": ["apache-2.0", "cc-by-4.0"], "pretty_name": "Walks", "configs": configs})
    (tmp_path / "rows" / "README.md").write_text(f"---\n{header}---\n")
    found = describe_data(str(tmp_path / "rows"), "dift")
    assert found == Material("rows", None, ["apache-2.0", "cc-by-4.0"], "dift", "sha256 abc", "Walks")


@pytest.mark.parametrize(
    ("licences", "chosen"),
    [
        (["apache-2.0"], "apache-2.0"),
        (["apache-2.0", "cc-by-nc-4.0"], "cc-by-nc-4.0"),
        (["apache-2.0", "cc-by-nc-sa-4.0"], "cc-by-nc-sa-4.0"),
        (["cc-by-sa-4.0", "cc-by-nc-sa-4.0"], None),
        (["apache-2.0", "qwen-research"], "qwen-research"),
        (["apache-2.0", "other"], None),
        (["apache-2.0", "unknown"], None),
        (["apache-2.0", "our-own-terms"], None),
        (["gemma"], "gemma"),
    ],
)
def test_the_licence_is_the_one_that_keeps_what_all_ask_for(licences, chosen):
    found = choose_licence(licences)
    assert (found and found.key) == chosen
    assert (found is None or found.id != "other") or found.link


def test_what_follows_from_a_licence_is_said():
    assert describe_terms(["apache-2.0"]) == []
    assert describe_terms(["cc-by-4.0"]) == ["cc-by-4.0: its authors must be named."]
