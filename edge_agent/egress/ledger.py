"""The egress ledger: nothing leaves that was not entered here first."""
