"""Fitting the nets that hear steps of gain."""
