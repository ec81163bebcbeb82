"""The net that sees corrupted blocks and coarse quantisation; see models/nets/corruption.py."""
