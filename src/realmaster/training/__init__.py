"""The training loop and its three steps: autoencoder, base, adapter."""
