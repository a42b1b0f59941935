"""Templates of HTML pages."""

from pathlib import Path

import jinja2


def load_page_template(folder: Path, name: str) -> jinja2.Template:
    """A template of an HTML page: texts are escaped, and a value that is missing is an error.

    Args:
        folder (`Path`): Where the template is, and those that it includes.
        name (`str`): Its file.
    """
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(folder),
        undefined=jinja2.StrictUndefined,
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template(name)
