"""The folder of a build's stages: what a killed build left beside its files goes."""

import signal
import subprocess
import sys

from fourdthinker.dataset_builders.pipeline.stage_files import StageFiles, StageResult

KILLED_WRITE = """
import os, signal, sys
from pathlib import Path
from fourdthinker.modeling.atomic import atomic_path
with atomic_path(Path(sys.argv[1])) as temporary:
    temporary.write_text("half")
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_killed_write_leaves_nothing_once_the_next_build_has_the_folder(tmp_path):
    files = StageFiles(tmp_path)
    for clip in ("walk", "walk/000"):
        files.write(clip, "shots", StageResult("key", {"windows": []}))
        done = subprocess.run(
            [sys.executable, "-c", KILLED_WRITE, str(files.folder / clip / "shots.json")], timeout=60
        )
        assert done.returncode == -signal.SIGKILL
    assert len(list(tmp_path.rglob("*.tmp"))) == 2
    with files.locked("videos"):
        assert not list(tmp_path.rglob("*.tmp"))
        assert files.read("walk", "shots").value == {"windows": []}
