"""The Flower app of a round."""
