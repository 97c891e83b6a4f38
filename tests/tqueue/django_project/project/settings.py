"""The settings of the project."""

import json
import os

SECRET_KEY = "not secret"
USE_TZ = True
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
DATABASES = json.loads(os.environ["DATABASES"])

INSTALLED_APPS = ["shop", "twisted_appserver.tqueue.django"]
TASKS = {
    "default": {
        "BACKEND": "twisted_appserver.tqueue.django.Backend",
        "QUEUES": ["urgent", "default"],
        "OPTIONS": {"url": os.environ.get("TQUEUE_URL", "http://localhost:8082")},
    }
}

if "postgresql" in DATABASES["default"]["ENGINE"]:  # it has the queues of TQueueSrv too
    TASKS["default"]["OPTIONS"]["database"] = "default"
