"""Tested and installed versions of the libraries, from package metadata."""

import logging
import os
from importlib.metadata import PackageNotFoundError, requires, version

from packaging.requirements import InvalidRequirement, Requirement
from packaging.version import Version

logger = logging.getLogger("fourdthinker")

# Set for child processes, such as data loaders and the other ranks, so that a run logs it once.
_CHECKED_VARIABLE = "FOURDTHINKER_VERSIONS_CHECKED"


def read_requirements() -> list[Requirement]:
    """What `setup.cfg` asks for, of the core and of every extra: package names and tested ranges.

    Returns:
        `list[Requirement]`: Sorted by name; empty where the package's metadata is not installed.
    """
    try:
        lines = requires("fourdthinker") or []
    except PackageNotFoundError:
        return []
    found = {}
    for line in lines:
        try:
            requirement = Requirement(line)
        except InvalidRequirement:  # metadata of another packaging standard: nothing to compare with
            continue
        if requirement.name != "fourdthinker":
            found[requirement.name.lower()] = requirement
    return [found[name] for name in sorted(found)]


def installed_version(name: str) -> str | None:
    """The version of an installed package, or None."""
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def is_tested(requirement: Requirement, installed: str) -> bool:
    """Whether `installed` lies in the tested range; a local build such as `2.14.1+cpu` counts as its release."""
    return requirement.specifier.contains(Version(installed).public, prereleases=True)


def warn_about_untested_versions() -> None:
    """Log one line that names the installed packages outside their tested range, once for a run."""
    if os.environ.get(_CHECKED_VARIABLE):
        return
    os.environ[_CHECKED_VARIABLE] = "1"
    untested = []
    for requirement in read_requirements():
        installed = installed_version(requirement.name)
        if installed is not None and not is_tested(requirement, installed):
            untested.append(f"{requirement.name} {installed} (tested: {requirement.specifier})")
    if untested:
        logger.warning("fourdthinker was not tested with %s; see `fourdthinker env`", ", ".join(untested))
