"""CEL as a tree: for what the library that evaluates it does not tell: what an expression costs, and what it says."""
