"""Synthetic cohorts: people who resemble real ones and are none of them, drawn from a generator that is fitted once.

`people` (what is learned from), `tastes`, `following`, `rhythm`, `households` (the parts of a generator), `generator`
(its file), `fitting`, `sampling`, and what is asked of it: `resemblance`, `membership`, `usefulness`, and all together
in `checking`.
"""
