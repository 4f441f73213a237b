"""Model runners behind one Protocol."""
