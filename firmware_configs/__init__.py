"""The device profile language, the shipped profiles, and the auditor that reads them."""
