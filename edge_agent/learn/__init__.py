"""From feedback to examples, and from examples to a bounded update."""
