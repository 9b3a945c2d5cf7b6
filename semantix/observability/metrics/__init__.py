"""The metrics of /metrics, in Prometheus' format. A test checks that docs/reference/metrics.md lists every name."""
