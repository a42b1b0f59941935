"""What is published loads as the folder does, in a process without this package; by the command, as users run it."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from fourdthinker.cli.main import main
from fourdthinker.hub_cards import write_model_card
from fourdthinker.hub_cards.example_answer import hash_weights

from ...local_hub import Repository, sha256
from .conftest import CARD, write_model

TRAINED = Path(__file__).parents[3] / "modeling/tiny/trained"


@pytest.fixture
def publish(hub, tmp_path):
    """Runs the command with the test's Hub."""

    def run(*arguments):
        return subprocess.run(
            [sys.executable, "-m", "fourdthinker.cli", "publish", *map(str, arguments)],
            cwd=tmp_path,
            env={**os.environ, **hub.environment(tmp_path / "hf"), "OMP_NUM_THREADS": "1"},
            capture_output=True,
            text=True,
            timeout=1200,
        )

    return run


@pytest.fixture
def with_card(tmp_path):
    """Copies a model folder and writes our card into it."""

    def copy(folder, name):
        place = tmp_path / name
        shutil.copytree(folder, place)
        write_model_card(place, license="apache-2.0", draw=False)
        return place

    return copy


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["qwen2_5_vl", "qwen3_vl"])
def test_a_model_gives_the_same_tokens(publish, hub, tiny_folders, with_card, kind):
    folder = with_card(tiny_folders(kind), "tiny")
    done = publish("model", folder, "--repo", "me/tiny", "--tag", "v1")
    assert done.returncode == 0, done.stdout[-500:] + done.stderr[-2000:]
    head = hub.repo("model", "me/tiny").head()
    assert f"tokens from {head[:7]} as from the folder" in done.stdout
    assert done.stdout.splitlines()[-1].startswith("published ") and done.stderr == ""
    card = hub.repo("model", "me/tiny").files()["README.md"].decode()
    assert 'from_pretrained("me/tiny", revision="v1", ' in card and str(folder) not in card


@pytest.mark.slow
def test_an_adapter_gives_the_same_tokens(client, tiny_folders, with_card, tmp_path):
    """On a base model that is published too."""
    import torch
    from peft import LoraConfig, get_peft_model

    from fourdthinker.modeling import load_model

    base = with_card(tiny_folders("qwen2_5_vl"), "base")
    assert client.publish(base, "me/base")[0] == 0
    model, processor = load_model(base)
    torch.manual_seed(0)
    settings = LoraConfig(r=2, target_modules=r".*language_model.*(q|down)_proj", init_lora_weights=False)
    folder = tmp_path / "adapter"
    get_peft_model(model, settings).save_pretrained(folder)
    model.save_configuration(folder)
    processor.save_pretrained(folder)
    (folder / "README.md").write_text("---\nlicense: apache-2.0\n---\n# Adapter\n")
    code, output = client.publish(folder, "me/adapter", check=True)
    assert code == 2 and "has a base model that is none of the Hub" in output
    file = folder / "adapter_config.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "base_model_name_or_path": "me/base"}))
    code, output = client.publish(folder, "me/adapter", check=True)
    assert code == 0 and "as from the folder" in output, output


@pytest.mark.slow
def test_the_picture_in_a_card_is_of_the_weights_that_are_published(client, tmp_path):
    """The example that lies there was answered by other weights."""
    from fourdthinker.modeling import load_model

    folder = tmp_path / "trained"
    shutil.copytree(TRAINED / "assets", folder / "assets")
    shutil.copyfile(TRAINED / "example.mp4", folder / "example.mp4")
    for part in load_model(TRAINED):
        part.save_pretrained(folder)
    record, picture = folder / "assets/example.json", folder / "assets/imagery.jpg"
    example = json.loads(record.read_text())
    record.write_text(json.dumps({**example, "answer": "of other weights", "weights": "0"}))
    picture.write_bytes(b"of other weights")
    write_model_card(folder, license="apache-2.0", draw=False)
    assert client.publish(folder, "me/trained", dry_run=True)[0] == 0
    assert picture.read_bytes() == b"of other weights", "a dry run writes nothing"
    code, output = client.publish(folder, "me/trained")
    assert code == 0, output
    files = client.hub.repo("model", "me/trained").files()
    sent = json.loads(files["assets/example.json"])
    assert sent["weights"] == hash_weights(folder) and sent["answer"] == example["answer"]
    assert files["assets/imagery.jpg"] == picture.read_bytes() != b"of other weights"
    assert "of other weights" not in files["README.md"].decode()


@pytest.mark.slow
def test_the_page_about_a_model_is_written_and_published(publish, hub, tmp_path):
    pytest.importorskip("gradio", reason="the page needs the serve extra")
    about = ("space", "page", "--repo", "me/page", "--model")
    done = publish(*about, "me/tiny")
    assert done.returncode == 2 and "there is no model me/tiny that this token may see: publish it" in done.stderr
    model = hub.repositories["model", "me/tiny"] = Repository(private=True)
    model.refs["refs/tags/v1"] = model.commit("refs/heads/main", "made", {"config.json": b"{}"})
    done = publish(*about, "me/tiny", "--revision", "v9")
    assert done.returncode == 2 and "me/tiny has no revision v9 on the Hub" in done.stderr
    assert not (tmp_path / "page").exists() and ("space", "me/page") not in hub.repositories
    done = publish("space", "page", "--model", "me/tiny", "--revision", "v1", "--repo", "me/page", "--public")
    assert done.returncode == 0, done.stdout[-500:] + done.stderr[-2000:]
    assert "me/tiny is private: its page needs a secret HF_TOKEN" in done.stdout
    files = hub.repo("space", "me/page").files()
    assert {"app.py", "requirements.txt", "README.md", "fourdthinker/hub_cards/page/layout.py"} <= files.keys()
    for path in (tmp_path / "page").rglob("*"):
        assert not path.is_file() or files[path.relative_to(tmp_path / "page").as_posix()] == path.read_bytes()
    assert b'MODEL = "me/tiny"' in files["app.py"] and b'REVISION = "v1"' in files["app.py"]
    wrong = publish("space", "page", "--model", "tiny", "--repo", "me/page")
    assert wrong.returncode == 2 and wrong.stderr.count("\n") == 1


GUIDE = """
import shlex, sys
from fourdthinker.cli.main import main

for line in sys.stdin.read().splitlines():
    program, *arguments = shlex.split(line)
    assert program == "fourdthinker" and main([*arguments, "--no-check"]) == 0, line
"""


@pytest.mark.slow
def test_the_guide_runs_as_printed(hub, tmp_path):
    pytest.importorskip("gradio", reason="the page needs the serve extra")
    guide = (Path(__file__).parents[3] / "docs/publishing.md").read_text(encoding="utf-8")
    login, commands = re.findall(r"```console\n(.*?)```", guide, re.DOTALL)
    assert login == "hf auth login\n"
    write_model(tmp_path / "models/grpo")
    write_rows(tmp_path / "data")
    done = subprocess.run(
        [sys.executable, "-c", GUIDE],
        input=commands,
        cwd=tmp_path,
        env={**os.environ, **hub.environment(tmp_path / "hf")},
        capture_output=True,
        text=True,
        timeout=1200,
    )
    assert done.returncode == 0, done.stdout[-500:] + done.stderr[-2000:]
    assert set(hub.repositories) == {("model", "ORG/NAME"), ("dataset", "ORG/ROWS"), ("space", "ORG/PAGE")}
    assert "nothing was sent: this was a dry run" in done.stdout and done.stdout.count("published ") == 3
    repository = hub.repo("model", "ORG/NAME")
    assert repository.private and repository.refs["refs/tags/v1"] == repository.head()


def write_rows(folder):
    from datasets import Dataset, Features, Image, Value
    from PIL import Image as Picture

    features = Features({"id": Value("string"), "frames": [Image()]})
    picture = Picture.new("RGB", (4, 4), "red")
    rows = [{"id": f"row-{number}-of-three", "frames": [picture]} for number in range(3)]
    (folder / "dift").mkdir(parents=True)
    Dataset.from_list(rows, features=features).to_parquet(folder / "dift/train.parquet")
    configs = "configs:\n- config_name: dift\n  data_files: [{split: train, path: dift/train.parquet}]\n"
    code = '```python\nfrom datasets import load_dataset\n\nrows = load_dataset(".", "dift")\n```\n'
    (folder / "README.md").write_text(f"---\nlicense: apache-2.0\n{configs}---\n# Rows\n\n{code}")


@pytest.mark.slow
def test_a_dataset_gives_the_same_rows(publish, hub, tmp_path):
    folder = tmp_path / "rows"
    write_rows(folder)
    done = publish("dataset", folder, "--repo", "me/rows", "--tag", "v1")
    assert done.returncode == 0, done.stdout[-500:] + done.stderr[-2000:]
    assert "loaded back: the same 3 rows" in done.stdout
    card = hub.repo("dataset", "me/rows").files()["README.md"].decode()
    assert 'load_dataset("me/rows", "dift", revision="v1")' in card


@pytest.mark.slow
def test_what_comes_back_changed_is_not_called_published(publish, hub, tmp_path):
    """The library takes a changed download for good."""
    folder = tmp_path / "rows"
    write_rows(folder)
    content = (folder / "dift/train.parquet").read_bytes()
    changed = content.replace(b"row-0-of-three", b"row-9-of-three")
    assert changed != content

    def change():
        hub.stored[sha256(content)] = changed

    hub.fail("GET", "/_lfs/", change, times=100)
    done = publish("dataset", folder, "--repo", "me/rows")
    assert done.returncode == 2 and "published" not in done.stdout
    assert "me/rows holds the folder as commit" in done.stderr and "Traceback" not in done.stderr
    stored = hub.repo("dataset", "me/rows").files()["dift/train.parquet"]
    assert sha256(stored) == sha256((folder / "dift/train.parquet").read_bytes())


@pytest.mark.medium
def test_code_that_does_not_end_is_ended(client, model_folder):
    """The card's own, before anything is sent."""
    code = 'import time\n\ntime.sleep(600)\nAutoProcessor.from_pretrained("models/tiny")\nmodel.generate()\n'
    (model_folder / "README.md").write_text(f"{CARD}\n```python\n{code}```\n")
    code, output = client.publish(model_folder, check=True, check_seconds=1)
    assert code == 2 and "nothing was sent" in output and "was ended after 1 seconds" in output, output
    assert not client.hub.repositories


@pytest.mark.slow
def test_ctrl_c_ends_in_one_line_and_the_same_command_goes_on(publish, hub, model_folder, tmp_path):
    hub.fail("POST", "/commit/", "slow", times=5)
    arguments = ["publish", "model", str(model_folder), "--repo", "me/tiny", "--no-check"]
    process = subprocess.Popen(
        [sys.executable, "-m", "fourdthinker.cli", *arguments],
        cwd=tmp_path,
        env={**os.environ, **hub.environment(tmp_path / "hf")},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    while not hub.received:
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=120)
    assert process.returncode == 130 and errors.count("\n") == 1 and "To go on: " in errors, errors
    hub.heal()
    done = publish(*arguments[1:])
    assert done.returncode == 0, done.stderr
    assert len(hub.received) == len(set(hub.received))


@pytest.mark.parametrize(
    "options,words",
    [
        (["--repo", "me/tiny", "--model", "a/b"], "go with `publish space` only"),
        (["--repo", "me/tiny", "--max-size", "many"], "--max-size many"),
        (["--repo", "me/tiny", "--check-seconds", "0"], "--check-seconds must be above 0"),
    ],
)
def test_the_commands_own_rules(model_folder, capsys, options, words):
    assert main(["publish", "model", str(model_folder), *options]) == 2
    line = capsys.readouterr().err
    assert words in line and line.count("\n") == 1
