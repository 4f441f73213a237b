"""The dashboard's rules: who may do what, what of a page has changed, and how a curve is drawn. No clock, no I/O."""
