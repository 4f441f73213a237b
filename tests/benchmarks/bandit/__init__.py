"""`python -m tests.benchmarks.bandit --json`: the device's bandits beside Vowpal Wabbit, on a log and on sets."""
