"""Where a run happened: the version and commit of this package, of the libraries, and the machine's kind."""

import datetime
import json
import os
import platform
import subprocess
from importlib.metadata import PackageNotFoundError, distribution, version
from pathlib import Path

LIBRARIES = ("torch", "transformers", "trl", "peft", "accelerate", "datasets", "av")
_ROOT = Path(__file__).resolve().parents[1]
_PACKAGE = "fourdthinker"
_CHANGES = "+changes"


def package_version() -> str | None:
    """The version of this package; `None` where its metadata is not installed."""
    try:
        return version(_PACKAGE)
    except PackageNotFoundError:
        return None


def code_commit() -> str | None:
    """The commit that this package runs from, with `+changes` after one whose files were edited; `None` if unknown.

    Known of an editable checkout, and of an installation that pip made from a repository.
    """
    try:
        installed = json.loads(distribution(_PACKAGE).read_text("direct_url.json") or "{}")
    except (PackageNotFoundError, ValueError):
        installed = {}
    if commit := installed.get("vcs_info", {}).get("commit_id"):
        return commit
    # Only where the package is the checkout itself, not where it is installed inside somebody's.
    if _git("rev-parse", "--show-toplevel") != str(_ROOT):
        return None
    commit = _git("rev-parse", "HEAD")
    changed = _git("status", "--porcelain", "--untracked-files=no")
    return f"{commit}{_CHANGES}" if commit and changed else commit


def short_commit(commit: str) -> str:
    """The beginning of a commit of [`code_commit`], and whether files were edited after it."""
    return commit[:7] + (" with changes" if commit.endswith(_CHANGES) else "")


def library_versions() -> dict[str, str]:
    """The versions of what a training depends on, Python's among them."""
    found = {"python": platform.python_version()}
    for name in LIBRARIES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def describe_machine(processes: int = 1) -> str:
    """What computed, such as `8 x NVIDIA H100 80GB HBM3` or `CPU, 2 threads`; no name of the machine.

    Args:
        processes (`int`, *optional*, defaults to 1): How many processes train, each on a device of its own.
    """
    import torch

    if torch.cuda.is_available():
        return f"{processes} x {torch.cuda.get_device_name()}"
    threads = os.cpu_count()
    return f"CPU, {threads} threads" + (f", {processes} processes" if processes > 1 else "")


def project_links() -> dict[str, str]:
    """Addresses from this package's metadata by label, such as `Documentation`; empty where it names none."""
    try:
        lines = distribution(_PACKAGE).metadata.get_all("Project-URL") or []
    except PackageNotFoundError:
        return {}
    pairs = (line.partition(", ") for line in lines)
    return {label: address for label, _, address in pairs if address.startswith("https://")}


def today() -> str:
    """The date, as `2026-11-27`."""
    return datetime.datetime.now(datetime.UTC).date().isoformat()


def _git(*arguments: str) -> str | None:
    try:
        done = subprocess.run(
            ["git", "-C", str(_ROOT), *arguments], capture_output=True, text=True, timeout=20, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()
