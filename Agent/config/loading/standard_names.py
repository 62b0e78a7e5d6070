"""The names in `LOGGING_CONFIG`: which handler is the file of which category, which logger its source."""

from __future__ import annotations

from Agent.event.kinds import Category

JSON_FORMATTER = {"()": "Agent.config.log_records.JsonLines"}
TEXT_FORMATTER = {"()": "Agent.config.log_records.TextLines"}
HANDLER_CATEGORIES = {
    "agent_file": Category.AGENTS,
    "learning_file": Category.LEARNING,
    "interaction_file": Category.INTERACTIONS,
    "performance_file": Category.PERFORMANCE,
    "system_file": Category.SYSTEM,
    "error_file": Category.ERRORS,
    "event_file": Category.EVENTS,
}
LOGGER_CATEGORIES = {name.removesuffix("_file"): category for name, category in HANDLER_CATEGORIES.items()}
