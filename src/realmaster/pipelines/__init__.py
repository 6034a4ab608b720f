"""Inference: translate a clip, in windows, at the size of the input."""
