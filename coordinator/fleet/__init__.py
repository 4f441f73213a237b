"""The rules of the fleet, as values: what is wanted and what runs, who is meant, what is wrong, who may say what."""
