"""Whatever request of a publication fails, and however: `main` is as before or as it should be, the line that the
user reads is true, and the same command again finishes."""

import copy
import os
import random
import signal
import time

import pytest

from .conftest import contents, write_model

pytestmark = pytest.mark.slow
FAULTS = ("drop", "lost", "cut", 403, 409, 500)


@pytest.fixture(scope="module")
def earlier(started_client, tmp_path_factory):
    """What a Hub holds after a publication."""
    folder = write_model(tmp_path_factory.mktemp("earlier") / "tiny")
    (folder / "stale.txt").write_text("stale")
    assert started_client.publish(folder)[0] == 0
    return started_client.hub.repositories.copy(), started_client.hub.stored.copy()


@pytest.fixture
def client(earlier, client):
    """A client whose Hub can be put back to that publication."""
    client.earlier = earlier
    return client


def start_over(client, folder, new):
    """A Hub with an earlier publication, or none, and a folder that differs from it."""
    hub = client.hub
    hub.heal()
    repositories, stored = ({}, {}) if new else client.earlier
    hub.repositories.clear()
    hub.repositories.update(copy.deepcopy(repositories))
    hub.stored.clear()
    hub.stored.update(stored)
    write_model(folder, value=random.random())
    hub.requests.clear()
    hub.received.clear()


def state(hub):
    """What is on `main`, or nothing where there is no repository."""
    repo = hub.repositories.get(("model", "me/tiny"))
    return None if repo is None else {name: data for name, data in repo.files().items() if name != ".gitattributes"}


def check_line(hub, line, before, after, tag):
    """The line says what is on the Hub now."""
    now = state(hub)
    holds = now == after
    said = {
        "is unchanged": now == before,
        "and nothing was sent": now in (before, {}) and not hub.received,
        "nothing was sent": now in (before, {}) and not hub.received,
        "holds the folder as commit": holds,
        "does not say what me/tiny holds now": now in (before, after),
    }
    matching = [true for words, true in said.items() if words in line]
    assert matching and all(matching), line
    assert line.count("\n") == 1 and line.startswith("error: ") and "Traceback" not in line
    assert holds or tag not in hub.repositories.get(("model", "me/tiny"), hub).__dict__.get("refs", {})


def check_broken(client, folder, new, request, how, **options):
    start_over(client, folder, new)
    hub = client.hub
    before, after = state(hub), contents(folder)
    hub.fail_request(request, how)
    code, output = client.publish(folder, tag="v1", **options)
    assert state(hub) in (before, after, *([{}] if new else [])), "main is never between"
    if code == 0:
        assert state(hub) == after and output.splitlines()[-1].startswith("published ")
        assert hub.repo("model", "me/tiny").refs["refs/tags/v1"] == hub.repo("model", "me/tiny").head()
        return
    assert code == 2, output
    check_line(hub, output[output.index("error: ") :], before, after, "refs/tags/v1")
    assert "published " not in output
    hub.heal()
    code, output = client.publish(folder, tag="v1", **options)
    assert code == 0 and state(hub) == after, output
    assert sum(pull["status"] != "merged" for pull in hub.repo("model", "me/tiny").pulls.values()) == 0
    assert hub.repo("model", "me/tiny").refs["refs/tags/v1"] == hub.repo("model", "me/tiny").head()
    assert len(hub.received) == len(set(hub.received)), "no file is sent twice"


def count_requests(client, folder, new, **options):
    """How many there are without a fault."""
    start_over(client, folder, new)
    assert client.publish(folder, tag="v1", **options)[0] == 0
    return len(client.hub.requests)


@pytest.mark.parametrize("how", FAULTS)
def test_each_request_of_a_second_publication_fails_once(client, model_folder, how):
    count = count_requests(client, model_folder, new=False)
    assert count >= 12
    for request in range(1, count + 1):
        check_broken(client, model_folder, False, request, how)


@pytest.mark.parametrize("how", FAULTS)
def test_each_request_up_to_a_new_repository_fails_once(client, model_folder, how):
    """Looking, creating, looking again; the others are those of a second publication."""
    for request in range(1, 6):
        check_broken(client, model_folder, True, request, how)


@pytest.mark.parametrize("how", ["drop", "lost", 500])
def test_each_request_of_a_pull_request_fails_once(client, model_folder, how):
    """A commit that is too large, twice, so that the second command takes up the pull request of the first."""

    def too_large(pid=None):
        client.hub.fail("POST", "/commit/main", 413, times=2)

    start_over(client, model_folder, new=False)
    too_large()
    assert client.publish(model_folder, tag="v1")[0] == 0
    count = len(client.hub.requests)
    assert count >= 20 and client.hub.repo("model", "me/tiny").pulls
    for request in range(8, count + 1):
        check_broken(client, model_folder, False, request, how, before=too_large)


def test_a_kill_at_any_moment_leaves_main_whole_and_the_same_command_goes_on(client, model_folder):
    """50 random moments: a request, before or after it is done, and up to 5 ms later."""
    draw = random.Random(0)
    killed = 0
    for _ in range(50):
        new = draw.random() < 0.3
        start_over(client, model_folder, new)
        hub, request, wait = client.hub, draw.randint(1, 12), draw.random() / 200
        how = draw.choice(["drop", None])
        before, after = state(hub), contents(model_folder)

        def kill_at_request(pid, how=how, wait=wait, request=request):
            def kill():
                time.sleep(wait)
                os.kill(pid, signal.SIGKILL)
                return how

            client.hub.fail_request(request, kill)

        code, _ = client.publish(model_folder, tag="v1", before=kill_at_request)
        killed += code == -signal.SIGKILL
        assert state(hub) in (before, after, *([{}] if new else []))
        hub.heal()
        code, output = client.publish(model_folder, tag="v1")
        assert code == 0 and state(hub) == after, output
        assert len(hub.received) == len(set(hub.received)), "no file is sent twice"
    assert killed == 50


@pytest.mark.parametrize("status,words", [(401, "hf auth login"), (403, "write access"), (404, "no such repository")])
def test_what_the_hub_refuses_throughout_ends_in_one_line(client, model_folder, status, words):
    client.hub.fail("ANY", "", status, times=100)
    code, output = client.publish(model_folder)
    assert code == 2 and words in output and "Traceback" not in output and not client.hub.repositories


@pytest.mark.parametrize("status,words", [(412, "someone else"), (429, "wait"), (400, "rejects"), (507, "full")])
def test_a_commit_that_is_refused_says_why(client, model_folder, status, words):
    client.hub.fail("POST", "/commit/main", status)
    code, output = client.publish(model_folder)
    assert code == 2 and words in output and "me/tiny is unchanged" in output and state(client.hub) == {}


def test_a_token_that_may_only_read_changes_nothing(client, model_folder):
    code, output = client.publish(model_folder, token="hf_read")
    assert code == 2 and "write access" in output and not client.hub.repositories


def test_a_file_that_changes_on_its_way_is_noticed(client, model_folder):
    """By its date before the commit, and by its hash after."""
    client.hub.fail("POST", "/repos/create", lambda: write_model(model_folder, value=7.0) and None)
    code, output = client.publish(model_folder)
    assert code == 2 and "was changed while it was published" in output
    assert state(client.hub) == {}
