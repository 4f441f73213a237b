"""What a stranger may send: seeded damage at the agent's doors."""
