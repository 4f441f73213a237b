"""What another policy would have been worth, from a log of the policy that ran: estimators, intervals, warnings.

Pure: numbers in, numbers out. `edge-agent evaluate` and the bandit benchmark ask the same functions.
"""
