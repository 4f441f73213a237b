"""A fleet that is lived through before there is one: stated behaviours in, rounds, rollouts and their figures out."""
