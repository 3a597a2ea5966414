"""Metrics of recorded episodes, a module a subject; `catalogue` has them all."""
