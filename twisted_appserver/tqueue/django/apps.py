"""The application for C{INSTALLED_APPS}, which adds the command C{manage.py tqueue_work}."""

from django.apps import AppConfig

from .version import require_django

require_django()


class TqueueConfig(AppConfig):  # type: ignore[misc]
    """The application. It has no models."""

    name = "twisted_appserver.tqueue.django"
    label = "tqueue"
    verbose_name = "TQueueSrv"
