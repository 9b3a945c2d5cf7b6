"""What /metrics tells, in Prometheus' format. Every name stands in docs/reference/metrics.md; a test holds that."""
