"""`python -m tests.benchmarks.bandit --json` holds the device's bandits beside Vowpal Wabbit: on a log, on classic sets."""
