"""Rows are loaded again when the files of a folder change."""

import pytest
from datasets import Dataset

from fourdthinker.modeling.dataset_files import load_split

CARD = """---
configs:
- config_name: grpo
  data_files:
  - split: train
    path: grpo/train-*.parquet
---
"""


@pytest.fixture
def write(tmp_path, monkeypatch):
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "cache")

    def make(folder, answer):
        (tmp_path / folder / "grpo").mkdir(parents=True, exist_ok=True)
        Dataset.from_dict({"answer": [answer]}).to_parquet(tmp_path / folder / "grpo" / "train-00000.parquet")
        (tmp_path / folder / "README.md").write_text(CARD)
        return tmp_path / folder

    return make


def test_a_folder_that_was_built_again_gives_its_new_rows(write):
    assert load_split(write("data", "A"), "grpo", "train")["answer"][:] == ["A"]
    assert load_split(write("data", "B"), "grpo", "train")["answer"][:] == ["B"]


def test_folders_of_one_name_and_card_are_not_confused(write):
    first, second = write("one/data", "A"), write("two/data", "B")
    assert [load_split(folder, "grpo", "train")["answer"][0] for folder in (first, second)] == ["A", "B"]


def test_a_bare_name_is_not_answered_from_the_cache(write, tmp_path, monkeypatch):
    from datasets import load_dataset

    load_dataset(str(write("data", "A")), "grpo", split="train")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    with pytest.raises(
        FileNotFoundError, match="there is no folder data, and a dataset of the Hub is named user/name"
    ):
        load_split("data", "grpo", "train")


@pytest.mark.parametrize("configuration,split,message", [("dift", "train", "dift"), ("grpo", "test", "'test'")])
def test_what_is_not_there_is_named(write, configuration, split, message):
    with pytest.raises(ValueError, match=message):
        load_split(write("data", "A"), configuration, split)
