"""Results of stages on disk: what is torn counts as absent, and one build at a time writes a folder."""

import json
import subprocess
import sys

import pytest

from fourdthinker.dataset_builders.pipeline.stage_files import Fault, StageFiles, StageResult
from fourdthinker.modeling.errors import InputError

HOLD = """
import sys, time
from pathlib import Path
from fourdthinker.dataset_builders.pipeline.stage_files import StageFiles
with StageFiles(Path(sys.argv[1])).locked("clips"):
    print("held", flush=True)
    time.sleep(600)
"""
RESULT = StageResult("key", {"windows": [1.5, None], "text": "é"}, Fault("poses", "unclear", "0.6 px", "film it"), 2)


def test_a_result_comes_back_as_it_was_written(tmp_path):
    files = StageFiles(tmp_path)
    files.write("clip/000", "poses", RESULT)
    assert files.read("clip/000", "poses") == RESULT
    assert files.read("clip/001", "poses") is None and files.read("clip/000", "objects") is None


@pytest.mark.parametrize(
    "damage",
    [
        lambda text: "",
        lambda text: text[: len(text) // 2],
        lambda text: text.replace("1.5", "2.5"),
        lambda text: text.replace('"fault"', '"fate"'),
        lambda text: "[]",
        lambda text: json.dumps({"key": "key"}),
    ],
    ids=["empty", "cut off", "another number", "a key renamed", "another kind", "most is missing"],
)
def test_a_damaged_result_counts_as_absent(tmp_path, damage):
    files = StageFiles(tmp_path)
    files.write("clip", "shots", RESULT)
    (path,) = tmp_path.rglob("shots.json")
    path.write_text(damage(path.read_text()))
    assert files.read("clip", "shots") is None


def test_a_second_build_into_the_folder_is_refused_until_the_first_ends(tmp_path):
    holder = subprocess.Popen([sys.executable, "-c", HOLD, tmp_path], stdout=subprocess.PIPE, text=True)
    assert holder.stdout is not None and holder.stdout.readline() == "held\n"
    with pytest.raises(InputError, match="another build is writing"), StageFiles(tmp_path).locked("clips"):
        pass
    holder.kill()
    holder.wait()
    with StageFiles(tmp_path).locked("clips"):
        pass


def test_a_folder_belongs_to_one_source(tmp_path):
    with StageFiles(tmp_path).locked("clips"):
        pass
    with pytest.raises(InputError, match="holds a build from clips"), StageFiles(tmp_path).locked("others"):
        pass
