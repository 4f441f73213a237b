"""From a round's reports to the next shared parameters, by the name of a strategy: rules as values, without I/O."""
