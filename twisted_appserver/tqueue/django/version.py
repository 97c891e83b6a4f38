"""The version of Django."""

PACKAGE = __name__.rpartition(".")[0]


def require_django() -> None:
    """
    Check that Django is recent enough.

    @raise ImportError: when it has no tasks.
    """
    import django

    if django.VERSION < (6,):
        raise ImportError(f"{PACKAGE} needs Django 6 or later, not {django.__version__}")
