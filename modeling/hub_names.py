"""Tell names of repositories on the Hub from paths. Pure Python."""

import re

_HUB_NAME = re.compile(r"[\w.-]+(/[\w.-]+)?")


def may_be_hub_name(name: str) -> bool:
    """Whether a name can be of a repository on the Hub, such as `someone/model`; any other is a path."""
    return not name.startswith((".", "~")) and _HUB_NAME.fullmatch(name) is not None


def may_be_dataset_name(name: str) -> bool:
    """Whether a name can be of a dataset on the Hub, which is `user/name`.

    `datasets` keeps a local folder's rows under its last name, and would answer that name alone with them anywhere.
    """
    return "/" in name and may_be_hub_name(name)
