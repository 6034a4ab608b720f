"""The mathematics of sampling and of the loss: pure functions on tensors."""
