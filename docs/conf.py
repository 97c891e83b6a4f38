"""The documentation as a site: C{sphinx-build -W docs site}.

Pages are Markdown (MyST), so they can be read in the repository too. pydoctor makes the reference from the
docstrings.
"""

import sys
from pathlib import Path

from sphinx.application import Sphinx

ROOT = Path(__file__).resolve().parent.parent

sys.path.insert(0, str(ROOT / "docs"))

project = "twisted_appserver"
author = "The twisted_appserver developers"
extensions = [
    "myst_parser",
    "sphinx_copybutton",
    "sphinx.ext.intersphinx",
    "pydoctor.sphinx_ext.build_apidocs",
]
exclude_patterns = ["images"]
html_static_path = ["_static"]
html_css_files = ["site.css"]
myst_heading_anchors = 3
myst_links_external_new_tab = False
# Links to examples and other files of the repository become downloads. Links to folders lead nowhere.
suppress_warnings = ["myst.xref_missing"]

intersphinx_mapping: dict[str, tuple[str, None]] = {}  # the site builds offline
# Of a session, the commands are copied, without prompts and output.
copybutton_prompt_text = "$ "
copybutton_line_continuation_character = "\\"
html_theme = "furo"
html_title = project

pydoctor_args = [
    f"--project-name={project}",
    "--docformat=epytext",
    f"--project-base-dir={ROOT}",
    "--html-output={outdir}/api",
    "--system-class=api_reference.System",
    "--privacy=PRIVATE:**.*.__*",
    str(ROOT / "twisted_appserver"),
]
pydoctor_url_path = "/en/{rtd_version}/api/"


def setup(app: Sphinx) -> None:
    """Link the page of public names to the reference that pydoctor makes."""

    def add_links(app: Sphinx, name: str, source: list[str]) -> None:
        if name == "reference/python":
            from api_reference import with_links  # it imports pydoctor, which registers directives of its own

            source[0] = with_links(source[0])

    app.connect("source-read", add_links)
