"""A small fleet in a bad week: real agents, coordinator and broker, a network of the test's own, the books after."""
