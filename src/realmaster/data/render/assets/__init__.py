"""What every scene draws from: tileable textures and human bodies, generated once into the user's cache."""
