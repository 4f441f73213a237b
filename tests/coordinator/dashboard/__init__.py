"""The dashboard: its rules by themselves, and its pages in a real browser on stores that the real code has filled."""
