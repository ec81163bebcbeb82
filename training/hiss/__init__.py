"""Fitting the net that hears hiss."""
