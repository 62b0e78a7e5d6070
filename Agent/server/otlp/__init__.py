"""Spans of OpenTelemetry as runs with steps."""
