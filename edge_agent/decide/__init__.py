"""From event and profile to one decision with a logged propensity."""
