"""Builds whose names and reasoning a language model words, behind real servers on loopback."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time

import pytest
from datasets import load_dataset

for needed in ("openai", "pycolmap", "cv2", "pycocotools", "scenedetect"):
    pytest.importorskip(needed, reason="rows of videos need the data extra")
from fourdthinker.cli.main import main  # noqa: E402

from ...made_clips import draw_masks, film_still_camera  # noqa: E402
from ...writer_server import MODEL, Reply, good_answer, serve  # noqa: E402
from ..geometry.test_depth_model import save_model  # noqa: E402

KEY = "sk-canary-9d41"


@pytest.fixture(scope="module")
def clips(tmp_path_factory):
    """Two videos: a camera that stands, and a thing that moves before one."""
    folder = tmp_path_factory.mktemp("clips")
    film_still_camera(folder / "still.mp4", seed=1)
    film_still_camera(folder / "mover.mp4", seed=2, step=8)
    draw_masks(folder / "mover.masks", step=8)
    return folder


@pytest.fixture(scope="module")
def built(clips, tmp_path_factory):
    """A build in the words of the template."""
    output = tmp_path_factory.mktemp("built") / "data"
    assert main(["build-data", "--source", str(clips), "--output", str(output)]) == 0
    return output


@pytest.fixture
def output(built, tmp_path, monkeypatch):
    """A copy of it to go on with."""
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    shutil.copytree(built, tmp_path / "data")
    return tmp_path / "data"


def command(clips, output, url, *arguments, model=MODEL):
    asked = ["--writer", "openai", "--writer-url", url, "--writer-model", model]
    return ["build-data", "--source", str(clips), "--output", str(output), *asked, *arguments]


def questions(output):
    """All questions by id."""
    files = sorted((output / ".stages").rglob("questions.json"))
    return {one["id"]: one for file in files for one in json.loads(file.read_text())["value"]["questions"]}


def contents(output):
    files = (path for path in output.rglob("*") if path.is_file() and ".stages" not in path.parts)
    return {path.relative_to(output).as_posix(): path.read_bytes() for path in files}


@pytest.mark.slow
def test_a_model_names_what_moves_and_words_the_reasoning(clips, output, tmp_path, capsys):
    with serve() as (url, requests):
        assert main(command(clips, output, url, "--writer-price", "1,100")) == 0
    rows = {
        row["id"]: row for row in load_dataset(str(output), "dift", split="train", cache_dir=str(tmp_path / "cache"))
    }
    assert len(requests) == len(rows) + 1 and all("<think>Let me think. " in row["response"] for row in rows.values())
    (moving,) = [row for row in rows.values() if row["task"] == "object_motion"]
    assert "the striped box" in moving["question"] and "the striped box" in moving["response"]
    assert json.loads(moving["facts"])["object"] == "striped box"
    assert json.loads(moving["facts"])["writer"] == {"reasoning": MODEL, "name": MODEL}
    assert all(json.loads(row["facts"])["writer"]["reasoning"] == MODEL for row in rows.values())
    printed = capsys.readouterr().out
    assert f"writer {MODEL}: 4 texts written (4 requests, 0 kept answers)" in printed
    assert "tokens: 400 read, 40 written; cost: $0.0044" in printed
    assert f"worded by {MODEL}" in (output / "README.md").read_text()


@pytest.mark.slow
def test_the_same_build_again_asks_nothing_and_the_template_comes_back(clips, built, output):
    with serve() as (url, requests):
        main(command(clips, output, url))
        asked, bytes_before = len(requests), contents(output)
        for file in (output / ".stages").rglob("questions.json"):
            file.unlink()
        shutil.rmtree(output / "dift")
        assert main(command(clips, output, url, "--writer-concurrency", "1")) == 0
        assert len(requests) == asked and contents(output) == bytes_before
        assert main(command(clips, output, url, "--stage", "questions", model="another")) == 0
        assert len(requests) == 2 * asked, "answers of one model are never those of another"
    main(["build-data", "--source", str(clips), "--output", str(output)])
    assert contents(output) == contents(built) != bytes_before


@pytest.mark.slow
def test_refused_answers_leave_the_template_and_the_row_says_so(clips, built, output, capsys):
    wrong = Reply(json.dumps({"reasoning": "Ignore all that. The answer is Moving Left.", "name": "camera pans left"}))
    with serve(lambda _: wrong) as (url, requests):
        assert main(command(clips, output, url, "--stage", "questions")) == 0
        assert re.search(r"whose answers were refused, for example: \w", capsys.readouterr().out)
        asked = len(requests)
        assert main(command(clips, output, url, "--stage", "questions")) == 0
        assert "nothing asked" in capsys.readouterr().out and len(requests) == asked
    before, after = questions(built), questions(output)
    assert len(requests) == 3 * (len(before) + 1) and before.keys() == after.keys()
    for name, question in after.items():
        facts = json.loads(question["facts"])
        assert facts.pop("writer") == {"reasoning": "template"}
        assert {**question, "facts": json.dumps(facts)} == before[name]


@pytest.mark.slow
def test_a_model_names_what_is_asked_about_in_space(clips, tmp_path, monkeypatch):
    """The same things are named whatever family asks about them, also where mask files give a number alone."""
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    source, output = tmp_path / "clips", tmp_path / "data"
    source.mkdir()
    shutil.copy(clips / "mover.mp4", source)
    shutil.copytree(clips / "mover.masks", source / "mover.masks")
    (source / "mover.masks" / "names.txt").unlink(missing_ok=True)
    asked = ["--objects", "files", "--questions", "dsr", "--depth", save_model(tmp_path / "model", flat=True)]
    with serve() as (url, requests):
        assert main(command(source, output, url, "--stage", "questions", *asked)) == 0
    assert len(requests) == 1 and requests[0].picture
    found = [one for one in questions(output).values() if "object" in json.loads(one["facts"])["object"]]
    assert not found, "no question calls it by its number"
    named = [json.loads(one["facts"]) for one in questions(output).values() if "striped box" in one["question"]]
    assert named and all(facts["writer"] == {"reasoning": "template", "name": MODEL} for facts in named)


@pytest.mark.parametrize("arguments", [("--names", "names.json"), ("--objects", "files")], ids=["user", "files"])
@pytest.mark.slow
def test_a_known_name_is_not_asked_for(clips, output, tmp_path, arguments, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "names.json").write_text(json.dumps({"mover.mp4": "blue square"}))
    with serve() as (url, requests):
        assert main(command(clips, output, url, "--stage", "questions", *arguments)) == 0
    assert not any(request.picture for request in requests)
    assert any("the blue square" in question["question"] for question in questions(output).values())


@pytest.mark.slow
def test_the_name_of_a_user_is_given_to_none_of_several_movers(tmp_path):
    source, output, names = tmp_path / "clips", tmp_path / "data", tmp_path / "names.json"
    source.mkdir()
    film_still_camera(source / "two.mp4", seed=2, step=8, others=1)
    names.write_text(json.dumps({"two.mp4": "the striped box"}))
    command = ["build-data", "--source", str(source), "--output", str(output), "--stage", "questions"]
    assert main([*command, "--names", str(names)]) == 0
    found = json.loads((output / ".stages/two/000/objects.json").read_text())["value"]["objects"]
    assert len(found) == 2
    asked = [question["question"] for question in questions(output).values()]
    assert asked and not any("striped" in said for said in asked)


@pytest.mark.slow
def test_a_model_gives_no_object_the_name_that_the_user_gives_another(clips, tmp_path, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    source, output, names = tmp_path / "clips", tmp_path / "data", tmp_path / "names.json"
    source.mkdir()
    film_still_camera(source / "two.mp4", seed=2, step=8, others=1)
    draw_masks(source / "two.masks", step=8, others=1)
    (source / "two.masks" / "names.txt").unlink()
    names.write_text(json.dumps({"two.mp4": "the striped box"}))
    with serve() as (url, requests):
        arguments = ["--stage", "questions", "--objects", "files", "--names", str(names)]
        assert main(command(source, output, url, *arguments)) == 0
    assert sum(request.picture is not None for request in requests) == 1, "the model says `Striped Box` of the other"
    asked = [(json.loads(question["facts"]), question["question"]) for question in questions(output).values()]
    called = {facts["object"]: said for facts, said in asked if "object" in facts}
    assert set(called) == {"striped box", "object 2"} and all(name in said for name, said in called.items())


@pytest.mark.slow
def test_what_an_endpoint_failed_to_answer_is_asked_by_the_next_build(clips, output, capsys):
    def fail_for_names(request):
        return Reply(status=500, headers={"retry-after-ms": "5"}) if request.picture else good_answer(request)

    with serve(fail_for_names) as (url, requests):
        assert main(command(clips, output, url, "--stage", "questions")) == 0
    printed = capsys.readouterr().out
    assert "the endpoint failed for 1 text (500" in printed and "the same command asks again" in printed
    with serve() as (url, requests):
        assert main(command(clips, output, url, "--stage", "questions")) == 0
    assert [bool(request.picture) for request in requests] == [True, False], "the name, and the reasoning with it"
    assert any("the striped box" in question["question"] for question in questions(output).values())
    with serve() as (url, requests):
        assert main(command(clips, output, url, "--stage", "questions")) == 0 and not requests


@pytest.mark.slow
def test_the_key_is_nowhere(clips, output, capfd):
    def repeat_key(request):
        sent = request.headers["Authorization"].removeprefix("Bearer ")
        if request.picture is None and request.attempt == 0:
            return Reply(json.dumps({"reasoning": f"{sent}. {request.draft}"}))
        return good_answer(request)

    with serve(repeat_key) as (url, requests):
        assert main(command(clips, output, url, "--preview", "3", "--verbose")) == 0
    refused = json.dumps({"error": {"message": f"wrong key {KEY}"}}).encode()
    with serve(lambda _: Reply(status=401, body=refused)) as (url, _):
        assert main(command(clips, output, url, "--verbose", model="another")) == 2
    said = capfd.readouterr()
    assert "answers 401" in said.err and "OPENAI_API_KEY" in said.err and "Traceback" not in said.err
    assert requests and KEY not in said.out + said.err
    files = [path for path in output.rglob("*") if path.is_file()]
    assert [path for path in files if KEY.encode() in path.read_bytes()] == []


@pytest.mark.medium
@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--writer-model", "m"], "--writer-model goes with --writer openai"),
        (["--writer", "openai"], "--writer openai needs --writer-model"),
        (["--writer", "openai", "--writer-model", "a\nb"], "--writer-model must be a name"),
        (["--writer", "openai", "--writer-model", "m", "--writer-url", "localhost:80"], "must be an address such as"),
        (["--writer", "openai", "--writer-model", "m", "--writer-url", "http://u:secret@h/v1"], "must hold no key"),
        (["--writer", "openai", "--writer-model", "m", "--writer-concurrency", "0"], "must be 1 to 1000, got 0"),
        (["--writer", "openai", "--writer-model", "m", "--writer-timeout", "0"], "must be positive"),
        (["--writer", "openai", "--writer-model", "m", "--writer-price", "free"], "two numbers such as 0.15,0.60"),
        (["--writer", "openai", "--writer-model", "m"], "needs a key in OPENAI_API_KEY, or --writer-url"),
    ],
)
def test_bad_options_end_in_one_line(clips, output, capsys, monkeypatch, arguments, said):
    monkeypatch.delenv("OPENAI_API_KEY")
    monkeypatch.delenv("OPENAI_BASE_URL", raising=False)
    before = contents(output)
    try:
        code = main(["build-data", "--source", str(clips), "--output", str(output), *arguments])
    except SystemExit as ended:
        code = ended.code
    error = capsys.readouterr().err
    assert code == 2 and said in error and "secret" not in error and contents(output) == before


def test_the_rendered_world_has_words_of_its_own(tmp_path, capsys):
    arguments = ["--source", "world", "--output", str(tmp_path / "data"), "--writer", "openai", "--writer-model", "m"]
    assert main(["build-data", *arguments]) == 2
    assert "--writer goes with videos: the rendered world has words of its own" in capsys.readouterr().err


def start(clips, output, url):
    return subprocess.Popen(
        [sys.executable, "-m", "fourdthinker.cli", *command(clips, output, url, "--writer-concurrency", "1")],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )


def wait_for(requests, count, seconds=60):
    limit = time.monotonic() + seconds
    while len(requests) < count and time.monotonic() < limit:
        time.sleep(0.02)
    assert len(requests) >= count


@pytest.mark.slow
def test_a_killed_build_asks_for_no_answer_twice(clips, output, tmp_path):
    with serve() as (url, requests):
        main(command(clips, output, url))
        undisturbed, asked = contents(output), len(requests)
    shutil.rmtree(output / ".stages" / "still" / "000")
    (output / ".stages" / "answers.sqlite").unlink()
    for file in (output / ".stages").rglob("questions.json"):
        file.unlink()
    with serve(lambda request: good_answer(request) if len(requests) < 3 else slow(request)) as (url, requests):
        process = start(clips, output, url)
        wait_for(requests, 3)
        process.send_signal(signal.SIGKILL)
        process.communicate()
    with serve() as (url, again):
        assert main(command(clips, output, url)) == 0
    assert len(again) == asked - 2 and contents(output) == undisturbed


def slow(request):
    return Reply(good_answer(request).text, wait=30)


@pytest.mark.slow
def test_ctrl_c_ends_a_build_that_waits_for_an_answer(clips, output):
    with serve(slow) as (url, requests):
        process = start(clips, output, url)
        wait_for(requests, 1)
        before = time.monotonic()
        process.send_signal(signal.SIGINT)
        _, error = process.communicate(timeout=20)
        assert process.returncode == 130 and time.monotonic() - before < 15
    assert "To go on:" in error and "Traceback" not in error


def test_a_missing_client_is_named_before_anything_is_done(clips, tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "openai", None)
    assert main(command(clips, tmp_path / "new", "http://127.0.0.1:1/v1")) == 2
    assert "openai is not installed: pip install" in capsys.readouterr().err
    assert not (tmp_path / "new" / ".stages").exists()


@pytest.mark.slow
def test_transformers_serve_answers(clips, built, output, tmp_path):
    """A stock server with a tiny model, which always gives a name: good for the object, refused as reasoning."""
    for package in ("fastapi", "uvicorn"):
        pytest.importorskip(package, reason="`transformers serve` needs it")
    from ...served_model import serve_model, write_parrot

    folder = tmp_path / "model"
    write_parrot(folder, '{"name": "kite"}')
    with serve_model(folder) as url:
        assert main(command(clips, output, url, "--stage", "questions", model=str(folder))) == 0
    before, after = questions(built), questions(output)
    assert before.keys() == after.keys()
    for name, question in after.items():
        assert json.loads(question["facts"])["writer"]["reasoning"] == "template"
        assert question["response"] == before[name]["response"].replace("moving object", "kite")
    assert any("the kite" in question["question"] for question in after.values())
