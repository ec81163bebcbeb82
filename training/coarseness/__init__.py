"""Fitting the net that tells how coarsely a picture was quantised."""
