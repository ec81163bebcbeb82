"""Fitting the net that hears lost packets."""
