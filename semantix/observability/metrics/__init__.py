"""What /metrics tells, in Prometheus' format. Every name stands in docs/operations/metrics.md; a test holds that."""
