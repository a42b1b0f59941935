"""What a failed request is called, whatever exception it comes as."""

import errno

import pytest
from huggingface_hub.errors import OfflineModeIsEnabled
from huggingface_hub.utils import httpx

from fourdthinker.hub_cards.publishing.hub_access import check_name, describe_failure, status_of
from fourdthinker.modeling.errors import InputError


def refusal(status):
    """A refused upload as huggingface_hub raises it: its cause holds the answer."""
    request = httpx.Request("PUT", "http://hub/x")
    cause = httpx.HTTPStatusError("refused", request=request, response=httpx.Response(status, request=request))
    error = RuntimeError("Error while uploading")
    error.__cause__ = cause
    return error


@pytest.mark.parametrize(
    "error,words",
    [
        (refusal(403), "write access"),
        (refusal(413), "too large for one request"),
        (refusal(418), "the Hub refused (418)"),
        (refusal(503), "the Hub had an error (503)"),
        (OSError(errno.ENOSPC, "No space left on device", "weights"), "the disk is full (weights): make room"),
        (httpx.ConnectError("refused"), "the connection to the Hub broke"),
        (OfflineModeIsEnabled("offline"), "HF_HUB_OFFLINE is set"),
        (ValueError("first\nsecond"), "first"),
    ],
    ids=str,
)
def test_a_failure_is_described_in_one_line(error, words):
    assert words in describe_failure(error) and "\n" not in describe_failure(error)


def test_the_status_is_found_in_the_cause():
    assert status_of(refusal(403)) == 403 and status_of(ValueError("x")) is None


@pytest.mark.parametrize("name", ["tiny", "a/b/c", "a b/c", "", "-a/b", "a/b.git"])
def test_names_of_no_repository(name):
    with pytest.raises(InputError, match="ORG/NAME"):
        check_name(name)
