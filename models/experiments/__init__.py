"""What an experiment's sums say, at any time and however often one looks: pure functions of numbers, numpy only.

`sums` (what a device keeps and sends), `sequences` (intervals that hold at every look), `effects` (comparisons from
sums, with CUPED and changing shares), `mismatch` (did assignment work?), `discoveries` (many comparisons at once),
`analysis` (all of it, in words), `allocation` (what to do with the traffic next).
"""
