"""Changes the options of a queue, and reads stored ones."""

from __future__ import annotations

from typing import Any

import msgspec
from twisted.logger import Logger

from twisted_appserver.core.conversions.msgspec_converter import MsgspecConverter
from twisted_appserver.queue.config import Config

log = Logger()
CONFIG = MsgspecConverter(Config, finite=False)


def replace(config: Config, changes: dict[str, Any]) -> Config:
    """
    Return the options with some of them changed.

    @param changes: JSON values or text, by name.
    @raise ConversionError: when an option does not exist, or its value is wrong.
    """
    options = {**msgspec.structs.asdict(config), **changes}
    return CONFIG.convert(options, False)  # type: ignore[no-any-return]


def read_config(name: str, text: str | bytes) -> Config:
    """
    Read the stored options of a queue. Options of other versions are ignored, with a warning.

    @param name: the name of the queue, for messages.
    @raise ValueError: when the options cannot be used.
    """
    try:
        fields = msgspec.json.decode(text, type=dict[str, Any])
        unknown = sorted(fields.keys() - set(Config.__struct_fields__))
        config = msgspec.convert({key: fields[key] for key in fields if key not in unknown}, Config)
    except ValueError as error:
        raise ValueError(f"the stored options of the queue {name!r} cannot be used: {error}") from None
    if unknown:
        log.warn("the queue {name!r} has stored options of another version, which are ignored: {unknown}",
                 name=name, unknown=", ".join(unknown))  # fmt: skip
    return config
