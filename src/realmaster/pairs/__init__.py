"""The data engine: rendered footage in, a training set out, one resumable stage after the other."""
