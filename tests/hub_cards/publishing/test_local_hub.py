"""The tests' own Hub, as huggingface_hub meets it."""

import os
import subprocess
import sys

import pytest

ROUND = """
from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi, hf_hub_download

api = HfApi()
api.create_repo("me/x", private=True)
first = api.create_commit("me/x", [CommitOperationAdd("a/b.txt", b"b"), CommitOperationAdd("w.bin", b"w" * 9)],
                          commit_message="one").oid
api.create_tag("me/x", tag="v1")
api.create_commit("me/x", [CommitOperationDelete("a/b.txt")], commit_message="two", parent_commit=first)
assert {file.path for file in api.list_repo_tree("me/x", recursive=True)} == {".gitattributes", "w.bin"}
assert open(hf_hub_download("me/x", "a/b.txt", revision="v1")).read() == "b"
assert open(hf_hub_download("me/x", "w.bin")).read() == "w" * 9
pull = api.create_pull_request("me/x", title="p")
api.create_commit("me/x", [CommitOperationAdd("c.txt", b"c")], commit_message="three", revision=pull.git_reference)
assert not api.file_exists("me/x", "c.txt")
api.change_discussion_status("me/x", pull.num, new_status="open")
api.merge_pull_request("me/x", pull.num)
assert api.file_exists("me/x", "c.txt")
"""


@pytest.mark.medium
def test_serves_commits_tags_and_pull_requests(hub, tmp_path):
    environment = {**os.environ, **hub.environment(tmp_path)}
    done = subprocess.run([sys.executable, "-c", ROUND], env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr[-2000:]
    assert hub.repo("model", "me/x").private
    assert [commit.title for _, commit in hub.repo("model", "me/x").history()][::-1][1:3] == ["one", "two"]


@pytest.mark.medium
@pytest.mark.parametrize("token,error", [(None, "401"), ("hf_read", "403"), ("hf_wrong", "401")])
def test_writes_for_tokens_that_may_write_only(hub, tmp_path, token, error):
    script = "from huggingface_hub import HfApi; HfApi().create_repo('me/x')"
    environment = {**os.environ, **hub.environment(tmp_path, token)}
    done = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 1 and error in done.stderr
    assert not hub.repositories
