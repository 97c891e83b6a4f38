"""Lists the packages; all else stands in pyproject.toml."""

from setuptools import find_packages, setup

setup(
    # twisted.plugins belongs to Twisted; this adds a file to it. Neither twisted/ nor twisted/plugins/ has
    # an __init__.py, by which Twisted finds plugins of several distributions.
    packages=[*find_packages(include=["twisted_appserver*"]), "twisted.plugins"],
    include_package_data=False,  # MANIFEST.in is for the source distribution only
    package_data={
        "twisted_appserver": ["py.typed"],
        "twisted_appserver.admin": ["static/*"],
        "twisted_appserver.queue.local": ["*.sql", "migrations/*.sql"],
        "twisted_appserver.queue.postgresql": ["*.sql", "migrations/*.sql"],
    },
    # So that an editable install is a path entry, which Twisted's plugin search sees.
    package_dir={"": "."},
)
