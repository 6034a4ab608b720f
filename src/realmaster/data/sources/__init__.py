"""Where rendered footage comes from: datasets, engines' image sequences, video files; one protocol for all."""
