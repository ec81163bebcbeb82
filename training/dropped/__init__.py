"""Training of the net that tells missing frames from what else leaps."""
