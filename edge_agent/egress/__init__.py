"""Nothing is sent that the ledger has not entered."""
