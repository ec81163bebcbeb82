"""The one pass: everything that detectors know about pixels and samples is measured here, once."""

VERSION = "3"  # raised when the same pictures and sound give other figures
