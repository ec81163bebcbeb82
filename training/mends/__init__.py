"""Training of the net that tells what one of two frames has corrupt and the other has not."""
