"""Telemetry of the service: log lines, and the metrics that a process counts."""
