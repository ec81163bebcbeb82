"""Long assets, cut at key frames: ranges measured in parallel, joined to the result of the whole.

What is measured of a frame (pipeline/measure/) depends on it and on the one before it, and on
nothing else from one key frame a minute to the next (see PictureLine). What detectors find depends
on everything before. So pictures are decoded and measured in ranges, by as many processes as there
are, and what was measured goes through the clock and the detectors of one process, in order, with
the sound, which costs little to decode. Nothing has to be stitched together.

    measure.py   one range: from a key frame to the next range's, measured into a piece
    piece.py     the file that holds it: statistics and what the decoder said, no pictures
    join.py      the pieces in order take the decoder's place; whatever does not fit is a SeamError

A seam fits if both sides saw the same packets and decoded the same picture from the key frame
between them, and if the decoder gives its frames as late after it as before it. Then the result is
that of one piece, bit by bit; else there is none, and the asset is inspected in one piece.
"""
