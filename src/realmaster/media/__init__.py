"""Files and frames: reading, writing, colour and time. No learning here."""
