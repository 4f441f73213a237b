"""What the device remembers: profiles, features, consent."""
