"""The layouts of one rendered clip, each written once."""

from functools import cache

import pytest


@pytest.fixture(scope="session")
def scene():
    """The rendered clip and its truth."""
    pytest.importorskip("scipy", reason="layouts need the data extra")
    from .written_layouts import make_scene

    return make_scene()


@pytest.fixture(scope="session")
def layouts(scene, tmp_path_factory):
    """Gives the folder of a layout, which tests may only read."""
    from .written_layouts import WRITERS

    @cache
    def write(name):
        root = tmp_path_factory.mktemp(name) / name
        WRITERS[name](root, scene)
        return root

    return write
