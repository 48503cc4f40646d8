"""Monitoring of a running worker process over HTTP: health, readiness, and the metrics of the whole cluster."""
