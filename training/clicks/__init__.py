"""Training of the net that tells clicks from what lips, strings and drums do."""
