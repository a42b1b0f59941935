"""The folder of a Space: what it holds, and that it runs where our package is not installed."""

import ast
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from fourdthinker.hub_cards.page.shipped_examples import read_examples
from fourdthinker.hub_cards.page.space import write_space_folder
from fourdthinker.modeling import load_model
from fourdthinker.modeling.errors import InputError

TRAINED = Path(__file__).parents[3] / "modeling/tiny/trained"
COMMIT = "0123456789" * 4


@pytest.fixture(scope="module")
def space(tmp_path_factory):
    folder = tmp_path_factory.mktemp("space")
    write_space_folder(folder, model="me/trained", revision="v1")
    return folder


def test_header_names_what_the_hub_needs(space):
    header = yaml.safe_load((space / "README.md").read_text(encoding="utf-8").split("---\n")[1])
    assert header["sdk"] == "gradio" and header["app_file"] == "app.py"
    assert header["models"] == ["me/trained"] and header["license"] == "apache-2.0"
    assert len(header["short_description"]) <= 60
    lines = (space / "requirements.txt").read_text(encoding="utf-8").splitlines()
    assert f"gradio=={header['sdk_version']}" in lines
    assert not [line for line in lines if "fourdthinker" in line]


def test_app_is_pinned_and_every_import_of_ours_is_there(space):
    text = (space / "app.py").read_text(encoding="utf-8")
    assert 'MODEL = "me/trained"' in text and 'REVISION = "v1"' in text
    asked = {line.partition("==")[0].partition("<")[0].partition(">")[0] for line in open(space / "requirements.txt")}
    known = {name.strip() for name in asked} | {"PIL", "fourdthinker", "spaces"} | set(sys.stdlib_module_names)
    for path in [space / "app.py", *sorted((space / "fourdthinker").rglob("*.py"))]:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and not node.level:
                assert node.module.partition(".")[0] in known, (path, node.module)
                if node.module.startswith("fourdthinker"):
                    assert space.joinpath(*node.module.split(".")).with_suffix(".py").is_file()


def test_files_of_an_earlier_write_are_gone_and_others_stay(space, tmp_path):
    folder = shutil.copytree(space, tmp_path / "space")
    (folder / "fourdthinker" / "old.py").write_text("")
    (folder / "notes.txt").write_text("mine")
    written = write_space_folder(folder, model="me/other")
    assert not (folder / "fourdthinker" / "old.py").exists() and (folder / "notes.txt").exists()
    assert "REVISION = None" in (folder / "app.py").read_text(encoding="utf-8")
    assert all(path.is_file() for path in written)


def test_files_of_somebody_else_are_neither_replaced_nor_deleted(tmp_path):
    for name in ("README.md", "fourdthinker/work.py", "app.py"):
        folder = tmp_path / name.partition("/")[0]
        file = folder / name
        file.parent.mkdir(parents=True)
        file.write_text("mine")
        with pytest.raises(InputError, match="holds other files"):
            write_space_folder(folder, model="me/trained")
        assert [path for path in folder.rglob("*") if path.is_file()] == [file] and file.read_text() == "mine"


@pytest.mark.parametrize("name", ["fourdthinker", "README.md"])
def test_a_link_is_not_followed_when_a_space_is_written_again(space, tmp_path, name):
    folder, outside = shutil.copytree(space, tmp_path / "space"), tmp_path / "outside"
    (folder / name).rename(outside)
    (folder / name).symlink_to(outside)
    with pytest.raises(InputError, match=f"{name} is a link"):
        write_space_folder(folder, model="me/trained")


@pytest.mark.parametrize(
    "model,revision", [("trained", None), ('a/b"+x', None), ("a/b", "v1\nimport os"), ("../b", "")]
)
def test_names_that_are_none_on_the_hub_are_refused(tmp_path, model, revision):
    with pytest.raises(InputError):
        write_space_folder(tmp_path / "space", model=model, revision=revision)
    assert not (tmp_path / "space").exists()


def test_three_small_examples_ship():
    examples = read_examples()
    assert len(examples) == 3 and all(len(one.options) == 4 for one in examples)
    assert sum(one.video.stat().st_size for one in examples) < 300_000


# Drops the package, as where it is not installed, and answers one question by what `app.py` made: as it is, and with
# a `spaces` as ZeroGPU has it.
RUN = """
import json, runpy, sys
from pathlib import Path
from types import SimpleNamespace
sys.meta_path[:] = [one for one in sys.meta_path if "editable" not in repr(one).lower()]
sys.path_hooks[:] = [one for one in sys.path_hooks if "editable" not in repr(one).lower()]
sys.path[:] = [str(Path.cwd()), *(one for one in sys.path if one and "__editable__" not in one)]
sys.path_importer_cache.clear()
plain = runpy.run_path("app.py", run_name="app")
from fourdthinker.hub_cards.page.shipped_examples import FOLDER, read_examples
from fourdthinker.hub_cards.serving.events import ImageryBlock, TextDelta
from fourdthinker.hub_cards.serving.settings import GenerationSettings
from fourdthinker.modeling.video_decoding import read_frames
example = read_examples()[0]
clip = read_frames(example.video, max_frames=8)
settings = GenerationSettings(imagery=True)
lent = []
def GPU(duration):
    def lend(function):
        def run(*arguments):
            lent.append(duration)
            yield from function(*arguments)
        return run
    return lend
sys.modules["spaces"] = SimpleNamespace(GPU=GPU)
events = [list(app["ask"](clip, example.question, example.options, settings))
          for app in (plain, runpy.run_path("app.py", run_name="app"))]
print(json.dumps({
    "texts": ["".join(one.text for one in each if isinstance(one, TextDelta)) for each in events],
    "maps": [sum(len(one.maps) for one in each if isinstance(one, ImageryBlock)) for each in events],
    "lent": lent, "folder": str(FOLDER), "model": type(plain["model"]).__module__}))
"""


@pytest.fixture(scope="module")
def published(tmp_path_factory):
    """A cache of the Hub that holds the shipped model with its code, at the tag `v1`."""
    home = tmp_path_factory.mktemp("home")
    repository = home / "hub" / "models--me--trained"
    (repository / "refs").mkdir(parents=True)
    (repository / "refs" / "v1").write_text(COMMIT)
    model, processor = load_model(TRAINED)
    model.save_pretrained(repository / "snapshots" / COMMIT)
    processor.save_pretrained(repository / "snapshots" / COMMIT)
    return home


@pytest.mark.slow
def test_app_answers_as_the_endpoint_does_without_our_package(space, published):
    pytest.importorskip("gradio", reason="the page needs the serve extra")
    environment = {**os.environ, "HF_HOME": str(published), "HF_HUB_OFFLINE": "1"}
    done = subprocess.run(
        [sys.executable, "-c", RUN], cwd=space, env=environment, capture_output=True, text=True, timeout=1800
    )
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout.splitlines()[-1])
    assert answer["folder"].startswith(str(space / "fourdthinker"))
    assert answer["model"].startswith("transformers_modules.")
    assert answer["lent"] == [120]
    assert {squeeze(text) for text in answer["texts"]} == {squeeze(answer_here())}
    assert min(answer["maps"]) >= 4


def answer_here() -> str:
    from fourdthinker.hub_cards.serving.engine import Engine
    from fourdthinker.hub_cards.serving.events import TextDelta
    from fourdthinker.modeling.video_decoding import read_frames

    engine, example = Engine(*load_model(TRAINED)), read_examples()[0]
    clip = read_frames(example.video, max_frames=8)
    try:
        events = list(engine.ask(clip, example.question, example.options))
    finally:
        engine.close()
    return "".join(one.text for one in events if isinstance(one, TextDelta))


def squeeze(text: str) -> str:
    return "".join(text.split())
