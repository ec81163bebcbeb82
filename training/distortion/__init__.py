"""Fitting the net that hears what was done to sound."""
