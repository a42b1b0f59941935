"""Publishing as a user meets it: what is sent, what is shown, what a second time does."""

import json

import pytest

from ...local_hub.repository import Repository
from .conftest import contents, write_model


@pytest.mark.medium
def test_makes_one_commit_that_holds_the_folder(client, model_folder, published):
    code, output = client.publish(model_folder, tag="v1")
    assert code == 0, output
    hub, repo = client.hub, client.hub.repo("model", "me/tiny")
    assert published(hub) == contents(model_folder)
    assert repo.private and len(repo.history()) == 2 and repo.refs["refs/tags/v1"] == repo.head()
    line = output.splitlines()[-1]
    assert line.startswith("published ") and repo.head() in line and "tag v1" in line
    record = json.loads((model_folder.parent / "publish.json").read_text())["tiny"]
    assert (record["repository"], record["commit"], record["tag"]) == ("me/tiny", repo.head(), "v1")


@pytest.mark.medium
def test_the_same_folder_again_makes_no_commit(client, model_folder):
    assert client.publish(model_folder)[0] == 0
    head, received = client.hub.repo("model", "me/tiny").head(), list(client.hub.received)
    code, output = client.publish(model_folder)
    assert code == 0 and "6 unchanged" in output
    assert client.hub.repo("model", "me/tiny").head() == head and client.hub.received == received


@pytest.mark.medium
def test_a_second_publish_sends_what_changed_and_deletes_what_is_gone(client, model_folder, published):
    (model_folder / "old.txt").write_text("old")
    assert client.publish(model_folder)[0] == 0
    (model_folder / "old.txt").unlink()
    (model_folder / "new.txt").write_text("new")
    write_model(model_folder, value=2.0)
    code, output = client.publish(model_folder)
    assert code == 0, output
    assert published(client.hub) == contents(model_folder)
    assert len(client.hub.repo("model", "me/tiny").history()) == 3
    shown = {tuple(line.split()[:2]) for line in output.splitlines() if line.startswith("  ")}
    assert {("new", "new.txt"), ("deleted", "old.txt"), ("changed", "model.safetensors")} <= shown


def test_what_tools_leave_behind_is_left_out_and_named(client, model_folder, published):
    for name in (".git", ".cache", ".stages", "__pycache__", "checkpoint-10"):
        (model_folder / name).mkdir()
        (model_folder / name / "optimizer.pt").write_bytes(b"x")
    expected = {name for name in contents(model_folder) if "optimizer" not in name}
    (model_folder / "quarantine.jsonl").write_text('{"clip": "/home/someone/clip.mp4"}\n')
    code, output = client.publish(model_folder)
    assert code == 0 and "left out: .cache, .git, .stages, __pycache__, checkpoint-10, quarantine.jsonl" in output
    assert published(client.hub).keys() == expected


def test_a_dry_run_shows_everything_and_sends_nothing(client, model_folder):
    code, output = client.publish(model_folder, dry_run=True)
    assert code == 0 and not client.hub.repositories
    assert not [path for method, path, _ in client.hub.requests if method != "GET"]
    for word in ("new and private", "model.safetensors", "licence: apache-2.0", "# Tiny", "dry run"):
        assert word in output
    client.hub.fail("ANY", "", "drop", times=100)
    code, output = client.publish(model_folder, dry_run=True)
    assert code == 0 and "not compared with the Hub" in output


def test_a_finding_is_let_pass_by_name_and_noted_in_the_commit(client, model_folder, published):
    (model_folder / "notes.txt").write_text("see /home/someone/notes")
    code, output = client.publish(model_folder)
    assert code == 2 and "notes.txt names a path of this machine (/home/someone)" in output
    assert not client.hub.requests, "refused before anything is asked"
    code, output = client.publish(model_folder, allow=["notes.txt"])
    assert code == 0, output
    _, commit = client.hub.repo("model", "me/tiny").history()[0]
    assert "notes.txt names a path" in commit.description
    code, output = client.publish(model_folder, allow=["notes.txt", "other.txt"])
    assert code == 2 and "--allow other.txt: nothing was found there" in output


def test_a_public_repository_is_asked_for(client, model_folder):
    assert client.publish(model_folder, public=True)[0] == 0
    assert not client.hub.repo("model", "me/tiny").private


@pytest.mark.medium
def test_a_tag_is_not_moved(client, model_folder):
    assert client.publish(model_folder, tag="v1")[0] == 0
    first = client.hub.repo("model", "me/tiny").head()
    assert client.publish(model_folder, tag="v1")[0] == 0
    write_model(model_folder, value=2.0)
    code, output = client.publish(model_folder, tag="v1")
    assert code == 2 and "tag v1 of me/tiny is already at" in output
    repo = client.hub.repo("model", "me/tiny")
    assert repo.head() == repo.refs["refs/tags/v1"] == first


@pytest.mark.medium
def test_each_publication_may_have_a_tag(client, model_folder):
    """Of the same content too, which makes no commit."""
    repo = None
    for value, tag, commits in ((1.0, "v1", 2), (1.0, "v1.1", 2), (2.0, "v2", 3), (1.0, "20261127", 4)):
        write_model(model_folder, value=value)
        code, output = client.publish(model_folder, tag=tag)
        repo = client.hub.repo("model", "me/tiny")
        assert code == 0 and f"tag {tag}" in output and len(repo.history()) == commits, output
        assert repo.refs[f"refs/tags/{tag}"] == repo.head()
    assert repo.refs["refs/tags/v1"] == repo.refs["refs/tags/v1.1"] != repo.head()
    code, output = client.publish(model_folder, tag="v1")
    assert code == 2 and "tag v1 of me/tiny is already at" in output, "the same files, but an earlier commit"


def test_a_tag_that_would_not_be_found_is_refused(client, model_folder):
    assert client.publish(model_folder)[0] == 0
    repo = client.hub.repo("model", "me/tiny")
    repo.refs["refs/heads/dev"] = repo.head()
    for tag, words in (("dev", "has a branch dev"), ("a" * 40, "reads like a commit"), ("main", "a tag is letters")):
        code, output = client.publish(model_folder, tag=tag)
        assert code == 2 and words in output and f"refs/tags/{tag}" not in repo.refs


@pytest.mark.medium
def test_a_tag_that_somebody_makes_meanwhile_is_named(client, model_folder):
    assert client.publish(model_folder)[0] == 0
    repo = client.hub.repo("model", "me/tiny")
    first = repo.head()
    write_model(model_folder, value=2.0)
    client.hub.fail("POST", "/tag/", lambda: repo.refs.update({"refs/tags/v1": first}))
    code, output = client.publish(model_folder, tag="v1")
    assert code == 2 and f"holds the folder as commit {repo.head()[:7]}" in output
    assert f"tag v1 was put at {first[:7]} meanwhile: publish again with another tag" in output
    assert client.publish(model_folder, tag="v2")[0] == 0 and repo.refs["refs/tags/v2"] == repo.head() != first


def test_the_cards_code_loads_the_repository_at_the_tag(client, model_folder, published):
    code = 'p = AutoProcessor.from_pretrained("models/tiny", trust_remote_code=True)\nm = f("other/base")\n'
    card = (model_folder / "README.md").read_text() + f"\n```python\n{code}```\n"
    (model_folder / "README.md").write_text(card)
    assert client.publish(model_folder, tag="v1")[0] == 0
    text = published(client.hub)["README.md"].decode()
    assert 'AutoProcessor.from_pretrained("me/tiny", trust_remote_code=True, revision="v1")' in text
    assert 'f("other/base")' in text
    assert (model_folder / "README.md").read_text() == card, "the folder stays as it is"


@pytest.mark.medium
def test_someone_elses_commit_is_noticed(client, model_folder, published):
    """Between looking and committing."""
    assert client.publish(model_folder)[0] == 0
    repo = client.hub.repo("model", "me/tiny")

    def commit_meanwhile():
        repo.commit("refs/heads/main", "theirs", {**repo.files(), "theirs.txt": b"t"})

    write_model(model_folder, value=2.0)
    client.hub.fail("POST", "/preupload/", commit_meanwhile)
    code, output = client.publish(model_folder)
    assert code == 2 and "newer commit of someone else" in output
    assert repo.history()[0][1].title == "theirs"


@pytest.mark.medium
def test_more_files_than_one_commit_takes_go_through_a_pull_request(client, model_folder, published):
    for number in range(520):
        (model_folder / f"assets/{number}.txt").write_text(str(number))
    code, output = client.publish(model_folder)
    assert code == 0, output
    assert published(client.hub) == contents(model_folder)
    repo = client.hub.repo("model", "me/tiny")
    assert repo.pulls[1]["status"] == "merged" and len(repo.history()) == 2


@pytest.mark.medium
def test_a_commit_that_is_too_large_goes_through_a_pull_request(client, model_folder, published):
    client.hub.fail("POST", "/commit/main", 413)
    code, output = client.publish(model_folder)
    assert code == 0, output
    assert published(client.hub) == contents(model_folder) and client.hub.repo("model", "me/tiny").pulls


@pytest.mark.medium
def test_a_pull_request_of_somebody_else_is_never_merged(client, model_folder, published):
    for request in ("/commit/main", "/merge"):
        client.hub.fail("POST", request, 413)
    assert client.publish(model_folder)[0] == 2
    pulls = client.hub.repo("model", "me/tiny").pulls
    pulls[1]["author"] = {"name": "mallory"}
    client.hub.fail("POST", "/commit/main", 413)
    code, output = client.publish(model_folder)
    assert code == 0, output
    assert published(client.hub) == contents(model_folder)
    assert [pulls[number]["status"] for number in (1, 2)] == ["open", "merged"]


def test_a_repository_that_somebody_creates_meanwhile_gets_nothing(client, model_folder):
    theirs = Repository(private=False)
    theirs.commit("refs/heads/main", "theirs", {})
    client.hub.fail("POST", "/repos/create", lambda: client.hub.repositories.update({("model", "me/tiny"): theirs}))
    code, output = client.publish(model_folder)
    assert code == 2 and "created by someone else meanwhile, and nothing was sent" in output
    assert len(theirs.history()) == 1


@pytest.mark.medium
def test_a_gitignore_in_the_repository_hides_nothing(client, model_folder, published):
    (model_folder / ".gitignore").write_text("model.safetensors\n")
    assert client.publish(model_folder)[0] == 0
    write_model(model_folder, value=2.0)
    code, output = client.publish(model_folder)
    assert code == 0, output
    assert published(client.hub) == contents(model_folder)


def test_a_space_is_published_as_it_lies(client, tmp_path, published):
    folder = tmp_path / "page"
    folder.mkdir()
    (folder / "README.md").write_text("---\ntitle: Page\nlicense: apache-2.0\nsdk: gradio\n---\n")
    (folder / "app.py").write_text("import gradio\n")
    (folder / "requirements.txt").write_text("gradio\n")
    code, output = client.publish(folder, "me/page", "space", check=True)
    assert code == 0 and "not loaded back: a Space runs on the Hub" in output, output
    assert published(client.hub, "me/page", "space").keys() == {"README.md", "app.py", "requirements.txt"}


@pytest.mark.medium
def test_listings_of_several_pages_are_read_whole(client, model_folder, monkeypatch):
    assert client.publish(model_folder)[0] == 0
    monkeypatch.setattr(client.hub, "page", 2)
    code, output = client.publish(model_folder)
    assert code == 0 and "6 unchanged" in output and len(client.hub.repo("model", "me/tiny").history()) == 2


def test_without_a_token_nothing_is_sent(client, model_folder):
    code, output = client.publish(model_folder, token=False)
    assert code == 2 and "hf auth login" in output and not client.hub.repositories
