"""Training the net that tells by how much sound and lips are apart."""
