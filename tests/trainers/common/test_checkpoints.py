"""Complete checkpoints and torn ones, where several processes look for them."""

from pathlib import Path

import pytest
from accelerate import PartialState

from fourdthinker.trainers.common.checkpoints import find_checkpoint


@pytest.fixture
def checkpoints(tmp_path):
    """Two whole checkpoints, a torn one after them, and a folder that is none."""
    for name in ("checkpoint-9", "checkpoint-10", "checkpoint-11", "other"):
        (tmp_path / name).mkdir()
    for name in ("checkpoint-9", "checkpoint-10"):
        (tmp_path / name / "complete").touch()
    return tmp_path


def test_the_newest_whole_checkpoint_is_found_and_torn_ones_are_removed(checkpoints, capsys):
    assert Path(find_checkpoint(checkpoints, True)).name == "checkpoint-10"
    assert {path.name for path in checkpoints.iterdir()} == {"checkpoint-9", "checkpoint-10", "other"}
    assert "checkpoint-11 is not complete and is removed" in capsys.readouterr().err
    assert find_checkpoint(checkpoints / "nothing", True) is None


def test_what_this_trainer_did_not_begin_stays(checkpoints, capsys):
    """A copy under another name, a link, and the whole checkpoint of another trainer."""
    (checkpoints / "checkpoint-best").mkdir()
    (checkpoints / "checkpoint-last").symlink_to(checkpoints / "checkpoint-9")
    (checkpoints / "checkpoint-99").symlink_to(checkpoints / "checkpoint-9")
    (checkpoints / "checkpoint-12").mkdir()
    (checkpoints / "checkpoint-12" / "trainer_state.json").touch()
    assert Path(find_checkpoint(checkpoints, True)).name == "checkpoint-10"
    names = {"checkpoint-9", "checkpoint-10", "checkpoint-12", "checkpoint-99", "checkpoint-best", "checkpoint-last"}
    assert {path.name for path in checkpoints.iterdir()} == names | {"other"}
    assert "checkpoint-12 has no file `complete` and is left out" in capsys.readouterr().err


def test_other_processes_wait_and_remove_nothing(checkpoints, capsys, monkeypatch):
    seen = []
    monkeypatch.setattr(PartialState, "is_main_process", False)
    monkeypatch.setattr(PartialState, "wait_for_everyone", lambda state: seen.append(len(list(checkpoints.iterdir()))))
    assert Path(find_checkpoint(checkpoints, True)).name == "checkpoint-10"
    assert seen == [4] and (checkpoints / "checkpoint-11").is_dir() and not capsys.readouterr().err
