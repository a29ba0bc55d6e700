"""Logs: one JSON object a line on standard error, a line a request. No request's text, unless asked for."""

from __future__ import annotations

import json
import logging
import sys
from datetime import UTC, datetime
from typing import Any

from fastapi import Request

TEXT = "text"
"""The field that holds what a person wrote."""

log = logging.getLogger("hogwild.server")


class JsonLines(logging.Formatter):
    """A record as one JSON object: time, level, what, and the fields that it was given."""

    def format(self, record: logging.LogRecord) -> str:
        """One line."""
        line: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "what": record.getMessage(),
        }
        line |= getattr(record, "fields", {})
        if record.exc_info and record.exc_info[0] is not None:
            line["error"] = record.exc_info[0].__name__
        return json.dumps(line, ensure_ascii=False, default=str).encode("utf-8", "replace").decode()


def write_to_stderr() -> None:
    """Send this server's lines, and uvicorn's, to standard error."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLines())
    for name in ("hogwild.server", "uvicorn", "uvicorn.error"):
        logger = logging.getLogger(name)
        logger.handlers, logger.propagate = [handler] if "." not in name or name == "hogwild.server" else [], True
        logger.setLevel(logging.INFO)
    logging.getLogger("uvicorn").propagate = log.propagate = False


def note(request: Request, **fields: Any) -> None:
    """Remember something for the log line of this request. `TEXT` is kept only where texts may be logged."""
    if not request.app.state.service.settings.log_text:
        fields.pop(TEXT, None)
    request.scope.setdefault("hogwild.fields", {}).update(
        {name: value for name, value in fields.items() if value is not None}
    )
