"""Several models in one command: each as alone, compared in pairs."""

import json

import pytest

from fourdthinker.cli.main import main


@pytest.fixture
def evaluate(world_folder, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("FOURD_WORLD_DATA", str(world_folder))

    def run(*arguments):
        output = tmp_path / "scores.json"
        settings = ("--max-new-tokens", "2", "--output", str(output))
        assert main(["eval", *map(str, arguments), *settings]) == 0
        return json.loads(output.read_text()), capsys.readouterr().out

    return run


@pytest.mark.medium
def test_each_model_scores_as_alone_and_pairs_are_compared(
    evaluate, talking_model_folder, tiny_model_folder, tmp_path
):
    models = [str(talking_model_folder), str(tiny_model_folder)]
    answers = tmp_path / "answers.jsonl"
    both, printed = evaluate("--models", *models, "--answers", answers)
    for model in models:
        alone, _ = evaluate("--model", model)
        report = {key: value for key, value in both["models"][model]["fourd_world"].items() if key != "against"}
        assert report == alone["tasks"]["fourd_world"]
    pair = both["models"][models[0]]["fourd_world"]["against"]
    assert pair.keys() == {models[1]} and pair[models[1]]["n"] == 8
    assert f"fourd_world: {models[0]} minus {models[1]}: " in printed
    assert len(list(tmp_path.glob("answers-*.jsonl"))) == 2, "a file for each model"


@pytest.mark.slow
def test_several_devices_give_the_same(evaluate, talking_model_folder, tiny_model_folder):
    models = [str(talking_model_folder), str(tiny_model_folder)]
    assert evaluate("--models", *models, "--device", "cpu,cpu") == evaluate("--models", *models)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--models", "MODEL", "MODEL"), "twice: name each model once"),
        (("--models", "MODEL", "nowhere"), "nowhere is no folder here"),
        (("--models", "MODEL", "--eval-results", "MODEL"), "belongs to one model"),
        (("--model", "MODEL", "--models", "MODEL"), "not allowed with argument"),
        ((), "one of the arguments --model --models --masks is required"),
    ],
)
def test_bad_arguments_are_one_line(arguments, words, talking_model_folder, capsys):
    arguments = [str(talking_model_folder) if word == "MODEL" else word for word in arguments]
    try:
        code = main(["eval", *arguments])
    except SystemExit as ended:
        code = ended.code
    assert code == 2 and words in capsys.readouterr().err.splitlines()[-1]
