"""The one pass: everything that detectors know about pixels and samples is measured here, once."""
