"""Metrics, the alignment of an output with its input, and the pages that show them."""
