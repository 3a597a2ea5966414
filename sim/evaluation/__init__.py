"""Closed-loop evaluation: drivers are run over fixed lists of seeds and judged with intervals."""
