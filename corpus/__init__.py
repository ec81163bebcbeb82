"""Clean media: what there is, whose it is, and clips made of it, split by source.

For what learns (`training`) and what measures (`bench`), so that neither sees the other's sources.
"""
