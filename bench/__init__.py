"""Accuracy, speed, scale and cost, side by side with peers, in one run."""
