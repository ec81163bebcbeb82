"""Accuracy of the detectors on clean media that was damaged by a recorded plan."""
